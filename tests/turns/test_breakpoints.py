"""Clients move their breakpoints from turn to turn; what was forwarded stays as it was.

One conversation for each way of marking a breakpoint. Each turn adds a call and its output, and
marks the newest one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.answered import answered
from tests.turns.test_turns import OUTPUT, Workers
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.telemetry.events import Event
from tsheadroom.turns.turns import Turns
from tsheadroom.workers import EditMessage, FormMessage, Job, Reply

Items = list[dict[str, Any]]
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}
EXPLICIT = {"prompt_cache_breakpoint": {"mode": "explicit"}}
POINT = {"cachePoint": {"type": "default"}}


def anthropic(turn: int) -> tuple[str, Items]:
    items: Items = [{"role": "user", "content": "go"}]
    for n in range(turn):
        use = {"type": "tool_use", "id": f"t{n}", "name": "Bash", "input": {"command": f"c{n}"}}
        done = {"type": "tool_result", "tool_use_id": f"t{n}", "content": f"{n}{OUTPUT}"}
        mark = EPHEMERAL if n == turn - 1 else {}
        items += [
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [{**done, **mark}]},
        ]
    return "messages", items


def converse(turn: int, *, before: bool = False) -> tuple[str, Items]:
    items: Items = [{"role": "user", "content": [{"text": "go"}]}]
    for n in range(turn):
        use = {"toolUseId": f"t{n}", "name": "Bash", "input": {"command": f"c{n}"}}
        done = {"toolResult": {"toolUseId": f"t{n}", "content": [{"text": f"{n}{OUTPUT}"}]}}
        mark = [POINT] if n == turn - 1 else []
        items += [
            {"role": "assistant", "content": [{"toolUse": use}]},
            {"role": "user", "content": [*mark, done] if before else [done, *mark]},
        ]
    return "messages", items


def converse_before(turn: int) -> tuple[str, Items]:
    """The breakpoint stands before the output, so it counts as one block more there."""
    return converse(turn, before=True)


def chat(turn: int) -> tuple[str, Items]:
    items: Items = [{"role": "user", "content": [{"type": "text", "text": "go"}]}]
    for n in range(turn):
        function = {"name": "Bash", "arguments": "{}"}
        part = {"type": "text", "text": f"{n}{OUTPUT}"}
        mark = EXPLICIT if n == turn - 1 else {}
        items += [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"t{n}", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": f"t{n}", "content": [{**part, **mark}]},
        ]
    return "messages", items


def responses(turn: int) -> tuple[str, Items]:
    items: Items = [{"role": "user", "content": [{"type": "input_text", "text": "go"}]}]
    for n in range(turn):
        part = {"type": "input_text", "text": f"{n}{OUTPUT}"}
        mark = EXPLICIT if n == turn - 1 else {}
        items += [
            {"type": "function_call", "call_id": f"t{n}", "name": "Bash", "arguments": "{}"},
            {"type": "function_call_output", "call_id": f"t{n}", "output": [{**mark, **part}]},
        ]
    return "input", items


def shorten_all(job: Job) -> Reply:
    """Every output that may get a form becomes a word."""
    payload = json.loads(job.payload)
    first = payload["base"]
    forms = [
        FormMessage(first + at, [EditMessage(part["slot"], "short")], 9)
        for at, item in enumerate(payload["messages"])
        if not item["context"]
        for part in item["parts"]
        if part["kind"] == "tool_result" and OUTPUT in part["text"]
    ]
    return Reply(forms=forms, slot=0)


def calls(shape: Callable[[int], tuple[str, Items]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The conversation's key and the hook's call, turn by turn."""
    for turn in range(4):
        key, items = shape(turn)
        said = {"provider": "corp", "model": "some-claude", "login_name": "a@b"}
        system = [{"text": "s", **EPHEMERAL}] if shape is anthropic else [{"text": "s"}, POINT]
        yield key, {"metadata": said, "request_body": {"system": system, key: items}}


@pytest.mark.parametrize("shape", [anthropic, converse, converse_before, chat, responses])
async def test_a_breakpoint_that_moves_changes_nothing(
    shape: Callable[[int], tuple[str, Items]],
) -> None:
    ledger = Conversations(directory=None)
    ledger.open()
    turns = Turns(ledger, Workers(shorten_all), deadline=60.0)
    for turn, (key, sent) in enumerate(calls(shape)):
        answer, figures = await answered(turns, json.dumps(sent).encode())
        expected = json.dumps(sent["request_body"])
        for n in range(turn):
            expected = expected.replace(json.dumps(f"{n}{OUTPUT}"), '"short"')
        got = json.loads(answer)
        assert got["action"] == ("modify" if turn else "allow")
        assert not turn or got["request_body"] == json.loads(expected), key
        assert figures.events[Event.TURN_CONTINUED if turn else Event.TURN_NEW] == 1
