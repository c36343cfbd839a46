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
    output,
    text,
    texts,
    tool_use,
)
from tsheadroom.texts import wrappers

_OUTPUTS = frozenset(
    {
        "apply_patch_call_output",
        "custom_tool_call_output",
        "function_call_output",
        "local_shell_call_output",
        "shell_call_output",
    }
)
_CALLS = frozenset({"function_call", "custom_tool_call"})
_NOT_THE_MODEL = frozenset({"system", "developer", "user"})
# Items that clients make, beside messages and the outputs of tools. An `item_reference` is none:
# clients put it where an item of an answer stood that the provider has kept.
_BY_CLIENT = frozenset(
    {
        "additional_tools",
        "agent_message",
        "compaction_trigger",
        "configuration_update",
        "mcp_approval_response",
    }
)
# Outputs of what ran at the provider.
_BY_PROVIDER = frozenset({"multi_agent_call_output", "program_output"})


class Responses:
    """Items are messages, tool calls, their outputs, and reasoning, side by side in one list."""

    key = "input"

    def by_model(self, role: str, kind: str, *, at_provider: bool = False) -> bool:
        """True for the assistant's messages, calls and reasoning; not for outputs of tools.

        What ran at the provider is a part of the answer, its output as well. A kind that is not
        known is the model's: a provider adds kinds of answers more often than a client adds kinds
        of requests.
        """
        if role in _NOT_THE_MODEL:
            return False
        if kind in ("", "message"):
            return role == "assistant"
        if kind in _BY_CLIENT:
            return False
        return not kind.endswith("_output") or kind in _BY_PROVIDER or at_provider

    def role(self, item: Json) -> str:
        """The item's role: tool for outputs, assistant for calls and reasoning."""
        if not isinstance(item, dict):
            return "user"
        kind, role = str(item.get("type") or ""), str(item.get("role") or "")
        if kind in _OUTPUTS:
            return "tool"
        if role in ("system", "developer"):
            return "system"
        at_provider = item.get("execution") == "server"
        return "assistant" if self.by_model(role, kind, at_provider=at_provider) else "user"

    def parts(self, item: Json) -> Iterator[Part]:
        """Yield texts, calls with their arguments, and outputs."""
        if not isinstance(item, dict):
            return
        kind = item.get("type") or "message"
        if not isinstance(kind, str):
            return
        if kind == "message":
            yield from (
                text(slot, value) for slot, value in texts(("content",), item.get("content"))
            )
        elif kind in _OUTPUTS:
            yield from _output(kind, item)
        elif kind in COMPACTIONS:
            yield forget()
        else:
            yield from _call(kind, item)


def _call(kind: str, item: dict[str, Json]) -> Iterator[Part]:
    call = item.get("call_id")
    if kind in _CALLS:
        given = arguments(item.get("arguments")) if "arguments" in item else item.get("input")
        yield tool_use(call, item.get("name"), given)
    elif kind == "local_shell_call":
        yield tool_use(call or item.get("id"), "local_shell", item.get("action"))
    elif kind == "shell_call":
        yield tool_use(call, "shell", _command(item.get("action")))
    elif kind == "apply_patch_call":
        yield tool_use(call, "apply_patch", item.get("operation"))
    elif kind == "mcp_call":  # the provider made the call, and its output stands in the same item
        yield tool_use(item.get("id"), item.get("name"), arguments(item.get("arguments")))
        failed = bool(item.get("error")) or item.get("status") == "failed"
        yield from output(
            texts(("output",), item.get("output")), Result(str(item.get("id")), failed)
        )


def _command(action: Json) -> Json:
    """The input of a shell call, its commands as the one command line that they come to."""
    commands = action.get("commands") if isinstance(action, dict) else None
    if not isinstance(commands, list) or not all(isinstance(line, str) for line in commands):
        return action
    return {"command": "\n".join(commands)}


def _output(kind: str, item: dict[str, Json]) -> Iterator[Part]:
    call = str(item.get("call_id") or item.get("id") or "")
    if kind == "shell_call_output":
        yield from output(_streams(item), Result(call, _shell_failed(item)))
        return
    said = list(texts(("output",), item.get("output")))
    failed = item.get("status") == "failed"
    if len(said) > 1 and wrappers.is_header(said[0][1]):
        _, header = said.pop(0)
        failed |= wrappers.says_failed(header)
    yield from output(said, Result(call, failed))


def _streams(item: dict[str, Json]) -> Iterator[tuple[Slot, str]]:
    """What the commands of a shell call printed."""
    for index, chunk in _chunks(item):
        for name in ("stdout", "stderr"):
            if isinstance(chunk.get(name), str):
                yield ("output", index, name), chunk[name]


def _shell_failed(item: dict[str, Json]) -> bool:
    """True if one of the commands was given up or ended with another code than 0."""
    outcomes = (chunk.get("outcome") for _, chunk in _chunks(item))
    return any(
        outcome.get("type") == "timeout" or bool(outcome.get("exit_code"))
        for outcome in outcomes
        if isinstance(outcome, dict)
    )


def _chunks(item: dict[str, Json]) -> Iterator[tuple[int, dict[str, Json]]]:
    chunks = item.get("output")
    for index, chunk in enumerate(chunks if isinstance(chunks, list) else []):
        if isinstance(chunk, dict):
            yield index, chunk


RESPONSES = Responses()
