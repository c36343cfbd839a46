"""Gemini's generateContent."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.lab.clients.apis.parts import (
    Answer,
    Body,
    Event,
    Json,
    Output,
    Tool,
    Usage,
    declared,
    texts,
)


class Gemini:
    """`POST /v1beta/models/NAME:generateContent`. Its signatures bind nothing before them."""

    member = "contents"
    binds = False
    shape = "gemini"
    vendor = "google"

    def head(self, body: Body) -> Iterator[Json]:
        """Yield tools and the system instruction."""
        yield from body.get("tools") or ()
        if body.get("systemInstruction"):
            yield body["systemInstruction"]

    def blocks(self, item: Json) -> list[Json]:
        """The content's parts."""
        return _parts(item)

    def outputs(self, item: Json) -> Iterator[Output]:
        """Yield the strings of function responses."""
        for index, part in enumerate(_parts(item)):
            response = part.get("functionResponse")
            if isinstance(response, dict):
                path = ("parts", index, "functionResponse", "response")
                call = str(response.get("id") or response.get("name"))
                for place, text in texts(path, response.get("response")):
                    yield Output(place, call, text)

    def signatures(self, item: Json) -> Iterator[str]:
        """Yield the signatures of thoughts."""
        for part in _parts(item):
            if part.get("thoughtSignature"):
                yield part["thoughtSignature"]

    def said(self, item: Json) -> list[str]:
        """The texts of a user's content."""
        if item.get("role") != "user":
            return []
        return [part["text"] for part in _parts(item) if isinstance(part.get("text"), str)]

    def tools(self, body: Body) -> dict[str, Tool]:
        """The functions, by name."""
        found = {}
        for tool in body.get("tools") or ():
            for function in tool.get("functionDeclarations") or ():
                schema = function.get("parametersJsonSchema") or function.get("parameters")
                fields, required = declared(schema)
                found[str(function.get("name"))] = Tool(fields, required, declaration=function)
        return found

    def schema(self, body: Body) -> Json:
        """The schema of a structured answer."""
        config = body.get("generationConfig") or {}
        return config.get("responseJsonSchema") or config.get("responseSchema")

    def stream(self, body: Body, answer: Answer, usage: Usage) -> list[Event]:
        """Thought, text and calls, one part an event."""
        parts = list(_answered(body, answer))
        counted = {
            "promptTokenCount": usage.input,
            "cachedContentTokenCount": usage.cached,
            "candidatesTokenCount": usage.output,
            "totalTokenCount": usage.input + usage.output,
        }
        events: list[Event] = []
        for index, part in enumerate(parts):
            candidate: Body = {"content": {"role": "model", "parts": [part]}, "index": 0}
            if index == len(parts) - 1:
                candidate["finishReason"] = "STOP"
            chunk = {"candidates": [candidate], "usageMetadata": counted, "modelVersion": "gemini"}
            events.append(("", chunk))
        return events

    def whole(self, events: list[Event]) -> Json:
        """All parts in one candidate."""
        last = events[-1][1]
        parts = [event["candidates"][0]["content"]["parts"][0] for _, event in events]
        content = {"role": "model", "parts": parts}
        return {**last, "candidates": [{**last["candidates"][0], "content": content}]}


def _parts(item: Json) -> list[Json]:
    parts = item.get("parts")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _answered(body: Body, answer: Answer) -> Iterator[Body]:
    asked = (body.get("generationConfig") or {}).get("thinkingConfig") is not None
    if asked and answer.thinking:
        yield {"text": answer.thinking[:120], "thought": True}
    if answer.text or not answer.calls:
        yield {"text": answer.text or "ok"}
    for index, call in enumerate(answer.calls):
        function = {"name": call.tool, "args": call.arguments, "id": call.id}
        part: Body = {"functionCall": function}
        if index == 0 and answer.thinking:
            part["thoughtSignature"] = answer.signature
        yield part
