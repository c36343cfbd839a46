"""Pointers where a provider, or a compaction, takes away what they could lead to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.answered import answered
from tests.turns.inprocess import InProcess
from tsheadroom.aperture.call import HookCall, read
from tsheadroom.aperture.names import Digests
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.telemetry.events import Event
from tsheadroom.telemetry.record import Figures
from tsheadroom.turns.items import Items
from tsheadroom.turns.turns import Turns

FILE = "\n".join(f"line {n} of a file that is read more than once" for n in range(60))
POINTER = "same output as"


class Agent:
    """Reads the same text in every turn, over Anthropic Messages or OpenAI Responses."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.items: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
        self.calls = 0
        ledger = Conversations(directory=None)
        ledger.open()
        self.turns = Turns(ledger, InProcess(), deadline=60.0)

    def read(self) -> None:
        call = f"c{self.calls}"
        self.calls += 1
        path = {"file_path": f"/src/{self.calls}.py"}  # copies: once more, one file comes in full
        if self.key == "messages":
            use = {"type": "tool_use", "id": call, "name": "Read", "input": path}
            done = {"type": "tool_result", "tool_use_id": call, "content": FILE}
            self.items += [
                {"role": "assistant", "content": [use]},
                {"role": "user", "content": [done]},
            ]
        else:
            use = {"type": "function_call", "call_id": call, "name": "Read"}
            done = {"type": "function_call_output", "call_id": call, "output": FILE}
            self.items += [{**use, "arguments": json.dumps(path)}, done]

    async def send(self, **more: object) -> tuple[list[str], Figures]:
        """The items as forwarded, each as JSON."""
        body = {self.key: self.items, **more}
        sent = {"metadata": {"login_name": "a@b"}, "request_body": body}
        answer, figures = await answered(self.turns, json.dumps(sent).encode())
        got = json.loads(answer).get("request_body", body)
        assert {k: v for k, v in got.items() if k != self.key} == more
        return [json.dumps(item) for item in got[self.key]], figures

    async def pointers(self, **more: object) -> list[int]:
        """Which outputs went out as pointers, by their number."""
        items, _ = await self.send(**more)
        outputs = [item for item in items if "line 3 of" in item or POINTER in item]
        return [number for number, item in enumerate(outputs) if POINTER in item]


CLEARS = {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}
THINKS = {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}}


async def test_a_provider_that_may_delete_in_mid_session_stops_new_pointers_only() -> None:
    agent = Agent("messages")
    await agent.send()
    found = []
    for asked in (THINKS, THINKS, CLEARS, THINKS):
        agent.read()
        found.append(await agent.pointers(**asked))
    # The second output stays a pointer; the third gets none, and is left alone for good.
    assert found == [[], [1], [1], [1, 3]]


async def test_it_is_counted() -> None:
    agent = Agent("messages")
    assert (await agent.send(**THINKS))[1].events[Event.PROVIDER_MAY_DELETE] == 0
    agent.read()
    assert (await agent.send(**CLEARS))[1].events[Event.PROVIDER_MAY_DELETE] == 1


@pytest.mark.parametrize("kind", ["compaction", "compaction_summary", "context_compaction"])
async def test_nothing_points_behind_a_compaction_and_folding_goes_on_after_it(kind: str) -> None:
    agent = Agent("input")
    await agent.send()
    found = []
    for turn in range(4):
        if turn == 2:
            agent.items.append({"type": kind, "encrypted_content": "what is left"})
        agent.read()
        found.append(await agent.pointers())
    assert found == [[], [1], [1], [1, 3]]


async def test_a_block_of_anthropics_is_a_compaction_too() -> None:
    agent = Agent("messages")
    await agent.send()
    found = []
    for turn in range(4):
        agent.read()
        if turn == 2:
            agent.items[-2]["content"].insert(0, {"type": "compaction", "content": "so far"})
        found.append(await agent.pointers())
    assert found == [[], [1], [1], [1, 3]]


def first_seen(*items: dict[str, Any]) -> int:
    called = read(json.dumps({"request_body": {"input": items}}).encode())
    assert isinstance(called, HookCall)
    return Items(called, Digests.of(called)).first_seen


def test_the_last_compaction_is_where_what_is_seen_begins() -> None:
    said = {"role": "user", "content": "x"}
    compaction = {"type": "compaction", "encrypted_content": "e"}
    older = {"type": "compaction_summary", "encrypted_content": "e"}
    quoted = {"role": "user", "content": [{"type": "input_text", "text": "compaction"}]}
    assert first_seen(said, quoted) == 0
    assert first_seen(said, compaction, quoted, said) == 1
    assert first_seen(older, said, compaction, compaction, quoted, quoted) == 3
    assert first_seen(compaction, said, older, quoted) == 2
