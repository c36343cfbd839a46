"""`messages`: Anthropic Messages, OpenAI Chat Completions and Bedrock Converse."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tsheadroom.providers.shapes.parts import (
    COMPACTIONS,
    Json,
    Part,
    Result,
    Slot,
    forget,
    output,
    strings,
    text,
    texts,
    tool_use,
)

_ROLES = {"system": "system", "developer": "system", "assistant": "assistant", "tool": "tool"}
_TEXT_TYPES = frozenset({"text", "input_text", "output_text"})


class Messages:
    """Items are messages with a `role` and a `content` of a string or a list of blocks."""

    key = "messages"

    def by_model(self, role: str, kind: str, *, at_provider: bool = False) -> bool:
        """True if the role is "assistant"."""
        del kind, at_provider
        return role == "assistant"

    def role(self, item: Json) -> str:
        """The item's role. OpenAI's "developer" counts as system, an unknown role as user."""
        return _ROLES.get(str(item.get("role")), "user") if isinstance(item, dict) else "user"

    def parts(self, item: Json) -> Iterator[Part]:
        """Yield texts, tool calls and tool results, of any of the three APIs."""
        if not isinstance(item, dict):
            return
        content = item.get("content")
        if item.get("role") in ("tool", "function"):
            call = item.get("tool_call_id") or item.get("name") or ""
            yield from output(texts(("content",), content), Result(str(call)))
        elif isinstance(content, str):
            yield text(("content",), content)
        elif isinstance(content, list):
            for index, block in enumerate(content):
                if isinstance(block, dict):
                    yield from _block(("content", index), block)
        yield from _openai_calls(item.get("tool_calls"))


def _block(slot: Slot, block: dict[str, Json]) -> Iterator[Part]:
    kind = block.get("type")
    if not isinstance(kind, str | None):
        return
    if kind == "tool_use":
        yield tool_use(block.get("id"), block.get("name"), block.get("input"))
    elif kind == "tool_result":
        result = Result(str(block.get("tool_use_id")), bool(block.get("is_error")))
        yield from output(texts((*slot, "content"), block.get("content")), result)
    elif isinstance(block.get("text"), str) and (kind in _TEXT_TYPES or kind is None):
        yield text((*slot, "text"), block["text"])
    elif kind in COMPACTIONS:
        yield forget()
    elif isinstance(block.get("toolUse"), dict):
        use = block["toolUse"]
        yield tool_use(use.get("toolUseId"), use.get("name"), use.get("input"))
    elif isinstance(block.get("toolResult"), dict):
        result = block["toolResult"]
        status = Result(str(result.get("toolUseId")), result.get("status") == "error")
        yield from output(_converse_texts((*slot, "toolResult", "content"), result), status)


def _converse_texts(slot: Slot, result: dict[str, Json]) -> Iterator[tuple[Slot, str]]:
    content = result.get("content")
    for index, block in enumerate(content if isinstance(content, list) else []):
        if isinstance(block, dict):
            said = {name: block[name] for name in ("text", "json") if name in block}
            yield from strings((*slot, index), said)


def _openai_calls(calls: Json) -> Iterator[Part]:
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield tool_use(
                call.get("id"), function.get("name"), arguments(function.get("arguments"))
            )


def arguments(value: Json) -> Json:
    """Decode a call's arguments, which OpenAI sends as JSON in a string.

    If they cannot be decoded, they are returned as they are.
    """
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return value


MESSAGES = Messages()
