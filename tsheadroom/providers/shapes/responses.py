"""`input`: OpenAI Responses."""

from __future__ import annotations

from collections.abc import Iterator

from tsheadroom.providers.shapes.messages import arguments
from tsheadroom.providers.shapes.parts import (
    COMPACTIONS,
    Json,
    Part,
    Result,
    Slot,
    forget,
    text,
    tool_result,
    tool_use,
)

_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output", "local_shell_call_output"})
_CALLS = frozenset({"function_call", "custom_tool_call"})


class Responses:
    """Items are messages, tool calls, their outputs, and reasoning, side by side in one list."""

    key = "input"

    def by_model(self, role: str, kind: str) -> bool:
        """True for the assistant's messages, calls and reasoning; not for outputs of tools."""
        if kind in ("", "message"):
            return role == "assistant"
        return kind not in _OUTPUTS and not kind.endswith("_output") and kind != "item_reference"

    def role(self, item: Json) -> str:
        """The item's role: tool for outputs, assistant for calls and reasoning."""
        if not isinstance(item, dict):
            return "user"
        kind, role = item.get("type"), item.get("role")
        if kind in _OUTPUTS:
            return "tool"
        if role in ("system", "developer"):
            return "system"
        return "assistant" if self.by_model(str(role or ""), str(kind or "")) else "user"

    def parts(self, item: Json) -> Iterator[Part]:
        """Yield texts, calls with their arguments, and outputs."""
        if not isinstance(item, dict):
            return
        kind = item.get("type") or "message"
        if kind == "message":
            yield from (text(slot, value) for slot, value in _texts(("content",), item))
        elif kind in _CALLS:
            given = arguments(item.get("arguments")) if "arguments" in item else item.get("input")
            yield tool_use(item.get("call_id"), item.get("name"), given)
        elif kind in COMPACTIONS:
            yield forget()
        elif kind == "local_shell_call":
            yield tool_use(item.get("call_id"), "local_shell", item.get("action"))
        elif kind in _OUTPUTS:
            result = Result(str(item.get("call_id")))
            for slot, value in _texts(("output",), item):
                yield tool_result(slot, value, result)


def _texts(slot: Slot, item: dict[str, Json]) -> Iterator[tuple[Slot, str]]:
    value = item.get(str(slot[-1]))
    if isinstance(value, str):
        yield slot, value
    elif isinstance(value, list):
        for index, part in enumerate(value):
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield (*slot, index, "text"), part["text"]


RESPONSES = Responses()
