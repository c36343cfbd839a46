"""What the measurement of cold conversations rests on: all is asked for, and bounds are bounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.lab import traffic
from scripts.lab.cold import Asked, Call, at_best, by_calls, cold_call
from tsheadroom.aperture.call import HookCall, read
from tsheadroom.aperture.names import Digests
from tsheadroom.conversations.recognise import unknown
from tsheadroom.economy.account import Account
from tsheadroom.settings import Settings
from tsheadroom.simulate import recordings
from tsheadroom.turns.rules import Rules

TRACE = recordings.read(traffic.DATA / "subagent-0.jsonl")


def undecided(data: bytes) -> tuple[HookCall, tuple[int, ...]]:
    call = read(data)
    assert isinstance(call, HookCall)
    rules = Rules.of(call, Digests.of(call), Settings(), Account().model_of(call))
    return call, unknown(rules.request).undecided


@pytest.mark.parametrize("size", [20_000, 200_000])
def test_of_a_cold_conversation_all_may_be_decided(size: int) -> None:
    call, items = undecided(cold_call([TRACE], size))
    assert call.conversation[1] - call.conversation[0] >= size
    assert items == tuple(i for i, made in enumerate(call.by_model) if not made)


def test_signed_thinking_does_not_settle_what_stands_before_it(tmp_path: Path) -> None:
    rows = [
        {"trace": "thinks"},
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "y"}]},
        {"role": "user", "content": "on"},
    ]
    path = tmp_path / "thinks.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    _, items = undecided(cold_call([recordings.read(path)], 120))
    assert items[:2] == (0, 2)


def test_a_variety_has_other_words_and_calls_that_still_have_their_outputs() -> None:
    usual, varied = (cold_call([TRACE], 50_000, variety) for variety in (0, 7))
    assert usual != varied
    blocks = [
        block
        for message in json.loads(varied)["request_body"]["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
    ]
    calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
    outputs = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    assert outputs
    assert set(outputs) <= set(calls)


def test_arguments_in_other_words_are_still_json(tmp_path: Path) -> None:
    given = {"type": "function_call", "call_id": "c", "arguments": '{"cmd":"cat something"}'}
    path = tmp_path / "codex.jsonl"
    path.write_text(json.dumps({"shape": "responses"}) + "\n" + json.dumps(given))
    item = json.loads(cold_call([recordings.read(path)], 10, 3))["request_body"]["input"][0]
    assert json.loads(item["arguments"]) == {"cmd": "cat something3"}
    assert item["call_id"] == "c_3"


COLD = [Call(coded=1, worked=99, passed_on=2, helped=3)] * 4
WARM = [Call(coded=1, worked=19)] * 4


def test_one_call_is_not_spread() -> None:
    assert by_calls(COLD[:1], WARM[:1], 2) == 100


def test_two_workers_share_what_there_is() -> None:
    # The first call, and of the others their work and what it costs to send it on.
    assert by_calls(COLD, WARM, 2) == (100 + 3 * 105) / 2
    assert at_best(COLD, WARM, 2) == 400 / 2


def test_however_many_workers_there_are_folds_stay_in_order() -> None:
    assert by_calls(COLD, WARM, 100) == 100 + 3 * (20 + 2)
    assert at_best(COLD, WARM, 100) == 4 * 20


def test_requests_are_counted_as_their_client_sends_them_and_as_if_nothing_were_cached() -> None:
    asked = Asked()
    asked.add(TRACE)
    assert len(asked.usual) == len(TRACE.answers)
    assert asked.usual[0] == asked.uncached[0]  # in a first request all is new
    assert asked.uncached == sorted(asked.uncached)
    assert max(asked.usual) < asked.uncached[-1]
