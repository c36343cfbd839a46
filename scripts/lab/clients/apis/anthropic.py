"""Anthropic Messages."""

from __future__ import annotations

import json
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

_PIECE = 2000  # characters of a call's arguments in one event


class Anthropic:
    """`POST /v1/messages`. Its signatures of thinking bind what stands before them."""

    member = "messages"
    binds = True
    shape = "messages"
    vendor = "anthropic"

    def head(self, body: Body) -> Iterator[Json]:
        """Yield tools, but those that are loaded only when searched for, and the system prompt."""
        yield from (t for t in body.get("tools") or () if not t.get("defer_loading"))
        yield from _blocks(body.get("system"))

    def blocks(self, item: Json) -> list[Json]:
        """The content's blocks."""
        return _blocks(item.get("content"))

    def outputs(self, item: Json) -> Iterator[Output]:
        """Yield the texts of tool results."""
        for index, block in enumerate(_blocks(item.get("content"))):
            if block.get("type") == "tool_result":
                path = ("content", index, "content")
                for place, text in text_parts(path, block.get("content")):
                    yield Output(place, str(block.get("tool_use_id")), text)

    def signatures(self, item: Json) -> Iterator[str]:
        """Yield the signatures of thinking blocks."""
        for block in self.blocks(item):
            if block.get("type") == "thinking" and block.get("signature"):
                yield block["signature"]

    def said(self, item: Json) -> list[str]:
        """The text blocks of a user's message."""
        if item.get("role") != "user":
            return []
        return [b["text"] for b in self.blocks(item) if isinstance(b.get("text"), str)]

    def tools(self, body: Body) -> dict[str, Tool]:
        """The tools, by name."""
        found = {}
        for tool in body.get("tools") or ():
            fields, required = declared(tool.get("input_schema"))
            found[str(tool.get("name"))] = Tool(fields, required, declaration=tool)
        return found

    def schema(self, body: Body) -> Json:
        """The schema of a structured answer."""
        return ((body.get("output_config") or {}).get("format") or {}).get("schema")

    def stream(self, body: Body, answer: Answer, usage: Usage) -> list[Event]:
        """Thinking, text and calls as content blocks."""
        opened = {
            "input_tokens": usage.input - usage.cached,
            "cache_read_input_tokens": usage.cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": 1,
        }
        message: Body = {
            "id": f"msg_{answer.id}",
            "type": "message",
            "role": "assistant",
            "model": body.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": opened,
        }
        events = [_event({"type": "message_start", "message": message})]
        for index, (start, deltas) in enumerate(_answered(body, answer)):
            here = {"index": index}
            events.append(_event({"type": "content_block_start", **here, "content_block": start}))
            events += (_event({"type": "content_block_delta", **here, "delta": d}) for d in deltas)
            events.append(_event({"type": "content_block_stop", **here}))
        stop = {"stop_reason": "tool_use" if answer.calls else "end_turn", "stop_sequence": None}
        closed = {"output_tokens": usage.output}
        events.append(_event({"type": "message_delta", "delta": stop, "usage": closed}))
        events.append(_event({"type": "message_stop"}))
        return events

    def whole(self, events: list[Event]) -> Json:
        """The message with its blocks."""
        message = dict(events[0][1]["message"])
        blocks: list[Body] = []
        for _, event in events:
            if event["type"] == "content_block_start":
                blocks.append(dict(event["content_block"]))
            elif event["type"] == "content_block_delta":
                _add(blocks[-1], event["delta"])
            elif event["type"] == "message_delta":
                message |= event["delta"]
                message["usage"] = message["usage"] | event["usage"]
        for block in blocks:
            if isinstance(block.get("input"), str):
                block["input"] = json.loads(block["input"])
        return {**message, "content": blocks}


def _blocks(content: Json) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []


def _event(data: Body) -> Event:
    return data["type"], data


def _answered(body: Body, answer: Answer) -> Iterator[tuple[Body, list[Body]]]:
    """Yield each block as it is opened, and what is added to it."""
    asked = (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    if asked and answer.thinking:
        thought = {"type": "thinking_delta", "thinking": answer.thinking}
        sealed = {"type": "signature_delta", "signature": answer.signature}
        yield {"type": "thinking", "thinking": "", "signature": ""}, [thought, sealed]
    if answer.text:
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": answer.text}]
    for call in answer.calls:
        text = json.dumps(call.arguments)
        pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
        use = {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.tool, "input": {}}
        yield use, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


def _add(block: Body, delta: Body) -> None:
    for name in ("text", "thinking", "signature"):
        if name in delta:
            block[name] += delta[name]
    if "partial_json" in delta:
        block["input"] = (block["input"] or "") + delta["partial_json"]
