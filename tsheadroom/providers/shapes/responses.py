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
_NOT_THE_MODEL = frozenset({"system", "developer", "user"})
# Items that clients make, beside messages and the outputs of tools.
_BY_CLIENT = frozenset(
    {
        "additional_tools",
        "agent_message",
        "compaction_trigger",
        "configuration_update",
        "item_reference",
        "mcp_approval_response",
    }
)
_BY_PROVIDER = frozenset({"program_output"})  # outputs of what ran at the provider


class Responses:
    """Items are messages, tool calls, their outputs, and reasoning, side by side in one list."""

    key = "input"

    def by_model(self, role: str, kind: str) -> bool:
        """True for the assistant's messages, calls and reasoning; not for outputs of tools.

        A kind that is not known is the model's: a provider adds kinds of answers more often than
        a client adds kinds of requests.
        """
        if role in _NOT_THE_MODEL:
            return False
        if kind in ("", "message"):
            return role == "assistant"
        if kind in _BY_CLIENT:
            return False
        return not kind.endswith("_output") or kind in _BY_PROVIDER

    def role(self, item: Json) -> str:
        """The item's role: tool for outputs, assistant for calls and reasoning."""
        if not isinstance(item, dict):
            return "user"
        kind, role = str(item.get("type") or ""), str(item.get("role") or "")
        if kind in _OUTPUTS:
            return "tool"
        if role in ("system", "developer"):
            return "system"
        return "assistant" if self.by_model(role, kind) else "user"

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
