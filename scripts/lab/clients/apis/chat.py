"""OpenAI Chat Completions, as many providers of other models offer it, too."""

from __future__ import annotations

import json
import time
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
    text_parts,
)

_END = "[DONE]"


class Chat:
    """`POST /v1/chat/completions`. No thinking comes back."""

    member = "messages"
    binds = False
    shape = "chat"
    vendor = "openai"

    def head(self, body: Body) -> Iterator[Json]:
        """Yield tools. The system prompt is a message."""
        yield from body.get("tools") or ()

    def blocks(self, item: Json) -> list[Json]:
        """The message itself."""
        return [item]

    def outputs(self, item: Json) -> Iterator[Output]:
        """Yield the texts of a tool's message."""
        if item.get("role") == "tool":
            for place, text in text_parts(("content",), item.get("content")):
                yield Output(place, str(item.get("tool_call_id")), text)

    def signatures(self, item: Json) -> Iterator[str]:
        """Yield nothing."""
        del item
        yield from ()

    def said(self, item: Json) -> list[str]:
        """The texts of a user's message."""
        if item.get("role") != "user":
            return []
        return [text for _, text in text_parts((), item.get("content"))]

    def tools(self, body: Body) -> dict[str, Tool]:
        """The functions, by name."""
        found = {}
        for tool in body.get("tools") or ():
            function = tool.get("function") or {}
            fields, required = declared(function.get("parameters"))
            found[str(function.get("name"))] = Tool(fields, required, declaration=tool)
        return found

    def schema(self, body: Body) -> Json:
        """The schema of a structured answer."""
        return ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")

    def stream(self, body: Body, answer: Answer, usage: Usage) -> list[Event]:
        """Text and calls as deltas, then the usage."""
        base = {
            "id": f"chatcmpl-{answer.id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": body.get("model"),
        }
        deltas: list[Body] = [{"role": "assistant", "content": ""}]
        if answer.text:
            deltas.append({"content": answer.text})
        for index, call in enumerate(answer.calls):
            function = {"name": call.tool, "arguments": json.dumps(call.arguments)}
            made = {"id": f"call_{call.id}", "type": "function", "function": function}
            deltas.append({"tool_calls": [{"index": index, **made}]})
        choices: list[Body] = [
            {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
        ]
        reason = "tool_calls" if answer.calls else "stop"
        choices.append({"index": 0, "delta": {}, "finish_reason": reason})
        counted = {
            "prompt_tokens": usage.input,
            "prompt_tokens_details": {"cached_tokens": usage.cached},
            "completion_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
        }
        events: list[Event] = [("", {**base, "choices": [choice]}) for choice in choices]
        return [*events, ("", {**base, "choices": [], "usage": counted}), ("", _END)]

    def whole(self, events: list[Event]) -> Json:
        """The completion with its message."""
        *chunks, last = [data for _, data in events if data != _END]
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        text = "".join(delta.get("content") or "" for delta in deltas)
        calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
        message: Body = {"role": "assistant", "content": text or None}
        if calls:
            message["tool_calls"] = [{k: v for k, v in c.items() if k != "index"} for c in calls]
        reason = chunks[-1]["choices"][0]["finish_reason"]
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return {**last, "object": "chat.completion", "choices": [choice]}
