"""OpenAI Responses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator

from scripts.lab.clients.apis.parts import (
    Answer,
    Body,
    Event,
    Json,
    Output,
    Tool,
    Usage,
    declared,
    text_parts,
)


class Responses:
    """`POST /v1/responses`. Items that are sealed may come back behind another prefix."""

    member = "input"
    binds = False
    shape = "responses"
    vendor = "openai"

    def head(self, body: Body) -> Iterator[Json]:
        """Yield tools and instructions."""
        yield from body.get("tools") or ()
        if body.get("instructions"):
            yield body["instructions"]

    def blocks(self, item: Json) -> list[Json]:
        """The item itself."""
        return [item]

    def outputs(self, item: Json) -> Iterator[Output]:
        """Yield the texts of an item that is a tool's output."""
        if str(item.get("type")).endswith("_output"):
            for place, text in text_parts(("output",), item.get("output")):
                yield Output(place, str(item.get("call_id")), text)

    def signatures(self, item: Json) -> Iterator[str]:
        """Yield what sealed reasoning holds."""
        if item.get("type") == "reasoning" and item.get("encrypted_content"):
            yield item["encrypted_content"]

    def said(self, item: Json) -> list[str]:
        """The texts of a user's message."""
        if item.get("role") != "user" or item.get("type", "message") != "message":
            return []
        return [text for _, text in text_parts((), item.get("content"))]

    def tools(self, body: Body) -> dict[str, Tool]:
        """The tools, by name; also those that an item of the conversation adds."""
        tools = list(body.get("tools") or ())
        conversation = body.get("input")
        for item in conversation if isinstance(conversation, list) else ():
            if item.get("type") == "additional_tools":
                tools += item.get("tools") or ()
        return dict(_named(tools, ""))

    def schema(self, body: Body) -> Json:
        """The schema of a structured answer."""
        return ((body.get("text") or {}).get("format") or {}).get("schema")

    def stream(self, body: Body, answer: Answer, usage: Usage) -> list[Event]:
        """Reasoning, message and calls as output items."""
        output = list(_answered(body, answer))
        response: Body = {
            "id": f"resp_{answer.id}",
            "object": "response",
            "created_at": int(time.time()),
            "model": body.get("model"),
            "status": "in_progress",
            "output": [],
        }
        events = [_event("response.created", response=response, sequence_number=0)]
        for index, item in enumerate(output):
            here = {"output_index": index}
            opened = item
            if item["type"] == "message":
                opened = {**item, "content": [], "status": "in_progress"}
            events.append(_event("response.output_item.added", **here, item=opened))
            events += _inner(item, here)
            events.append(_event("response.output_item.done", **here, item=item))
        counted = {
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.input + usage.output,
        }
        done = {**response, "status": "completed", "output": output, "usage": counted}
        events.append(_event("response.completed", response=done))
        return events

    def whole(self, events: list[Event]) -> Json:
        """The completed response."""
        return events[-1][1]["response"]


def _named(tools: Iterable[Json], namespace: str) -> Iterator[tuple[str, Tool]]:
    for tool in tools:
        kind = tool.get("type")
        if kind == "namespace":
            yield from _named(tool.get("tools") or (), str(tool.get("name")))
        elif kind == "custom":
            free = Tool(free=True, namespace=namespace, declaration=tool)
            yield str(tool.get("name")), free
        elif kind == "function":
            fields, required = declared(tool.get("parameters"))
            found = Tool(fields, required, namespace=namespace, declaration=tool)
            yield str(tool.get("name")), found


def _event(kind: str, **data: Json) -> Event:
    return kind, {"type": kind, **data}


def _answered(body: Body, answer: Answer) -> Iterator[Body]:
    if body.get("reasoning") is not None and answer.thinking:
        summary = [{"type": "summary_text", "text": answer.thinking[:80]}]
        sealed = {"summary": summary, "encrypted_content": answer.signature}
        yield {"type": "reasoning", "id": f"rs_{answer.id}", **sealed}
    if answer.text:
        text = {"type": "output_text", "text": answer.text, "annotations": []}
        said = {"role": "assistant", "status": "completed", "content": [text]}
        yield {"type": "message", "id": f"msg_{answer.id}", **said}
    for call in answer.calls:
        item: Body = {"call_id": f"call_{call.id}", "name": call.tool, "status": "completed"}
        if call.namespace:
            item["namespace"] = call.namespace
        if call.free:
            custom = {"type": "custom_tool_call", "id": f"ctc_{call.id}"}
            yield {**custom, **item, "input": call.arguments}
        else:
            function = {"type": "function_call", "id": f"fc_{call.id}"}
            yield {**function, **item, "arguments": json.dumps(call.arguments)}


def _inner(item: Body, here: Body) -> Iterator[Event]:
    """Yield what happens between an item's first event and its last."""
    if item["type"] == "message":
        text = item["content"][0]
        place = {"item_id": item["id"], **here, "content_index": 0}
        empty = {**text, "text": ""}
        yield _event("response.content_part.added", **place, part=empty)
        yield _event("response.output_text.delta", **place, delta=text["text"])
        yield _event("response.output_text.done", **place, text=text["text"])
    elif item["type"] == "function_call":
        place = {"item_id": item["id"], **here}
        arguments = item["arguments"]
        yield _event("response.function_call_arguments.delta", **place, delta=arguments)
        yield _event("response.function_call_arguments.done", **place, arguments=arguments)
