"""Events that come to the hook's own path: they are no calls, and change nothing of a turn."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from tests.turns.test_turns import Desk, conversation, shorten, texts
from tsheadroom.economy.billing import TREATED, UNASKED, BillOutcome
from tsheadroom.settings import Settings
from tsheadroom.telemetry.events import Event
from tsheadroom.turns import answered
from tsheadroom.turns.answered import Answered
from tsheadroom.turns.turns import OpenTurn

PRICED = {"dollars": 0.5, "usage": {"input_tokens": 3, "output_tokens": 4}}


class Gateway:
    """Sends calls and events as Aperture does, and takes the answer or leaves it."""

    def __init__(self) -> None:
        self.desk = Desk(shorten)
        self.turn: OpenTurn

    async def send(
        self,
        results: int,
        request_id: str,
        *,
        taken: bool = True,
        settings: Settings | None = None,
        body: Any = None,
        cost: Any = None,
        **members: Any,
    ) -> list[str]:
        """Send a message about a conversation; which of its results the answer shortens."""
        message = {**json.loads(conversation(results)), **members}
        message["metadata"] |= {"request_id": request_id, "model": "m"}
        message["metadata"] |= {} if cost is None else {"estimated_cost": cost}
        message["request_body"] = body or message["request_body"]
        raw = json.dumps(message).encode()
        with self.desk.turns.open(raw, settings or Settings()) as self.turn:
            self.answer = await self.turn.answer()
            if taken:
                self.turn.arrived()
        return texts(self.answer, results)

    @property
    def events(self) -> dict[BillOutcome, int]:
        return dict(self.desk.turns.account.billing.events)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


async def test_an_event_without_a_price_leaves_a_lost_turn_lost(gateway: Gateway) -> None:
    assert await gateway.send(1, "r1", taken=False) == ["short"]  # the original is forwarded
    assert await gateway.send(1, "r1") == ["as it was"]
    assert gateway.turn.is_event
    assert gateway.events == {BillOutcome.UNPRICED: 1}
    assert await gateway.send(2, "r2") == ["as it was", "short"]
    assert gateway.turn.figures().events[Event.TURN_GAP] == 1


@pytest.mark.parametrize("taken", [True, False])
async def test_an_event_about_an_answer_that_arrived_does_not_lose_it(
    gateway: Gateway, taken: bool
) -> None:
    assert await gateway.send(1, "r1") == ["short"]
    forwarded = gateway.answer
    assert await gateway.send(1, "r1", taken=taken) == ["short"]
    assert gateway.answer == forwarded
    assert gateway.turn.is_event
    assert len(gateway.desk.workers.jobs) == 1
    assert await gateway.send(2, "r2") == ["short", "short"]


async def test_what_is_asked_again_under_another_id_is_a_call(gateway: Gateway) -> None:
    await gateway.send(1, "r1", taken=False)
    assert await gateway.send(1, "r2") == ["short"]  # the client's own retry
    assert not gateway.turn.is_event
    assert gateway.turn.figures().events[Event.TURN_REPEATED] == 1
    assert await gateway.send(2, "r3") == ["short", "short"]


@pytest.mark.parametrize(("first", "second"), [("", ""), ("r1", "")])
async def test_without_an_id_a_repetition_is_a_call(
    gateway: Gateway, first: str, second: str
) -> None:
    await gateway.send(1, first)
    assert await gateway.send(1, second) == ["short"]
    assert not gateway.turn.is_event


async def test_another_request_under_the_same_id_is_a_call(gateway: Gateway) -> None:
    await gateway.send(1, "r1")
    assert await gateway.send(2, "r1") == ["short", "short"]
    assert not gateway.turn.is_event


@pytest.mark.parametrize("settings", [Settings(mode="off"), Settings(mode="observe")])
async def test_an_event_about_a_call_that_was_only_looked_at_is_one(
    gateway: Gateway, settings: Settings
) -> None:
    await gateway.send(1, "r1", settings=settings)
    assert await gateway.send(1, "r1", settings=settings) == ["as it was"]
    assert gateway.turn.is_event


@pytest.mark.parametrize(
    "members",
    [{"response_body": {"content": []}}, {"tool_calls": [{"name": "Bash"}]}, {"cost": PRICED}],
    ids=str,
)
async def test_an_event_is_known_though_its_call_is_not(
    gateway: Gateway, members: dict[str, Any]
) -> None:
    assert await gateway.send(1, "r0", **members) == ["as it was"]
    assert gateway.turn.is_event
    assert gateway.desk.workers.jobs == []
    assert len(gateway.desk.ledger) == 0
    # Nothing was decided for its items.
    assert await gateway.send(1, "r1") == ["short"]


async def test_two_events_of_one_request_are_one_bill(gateway: Gateway) -> None:
    await gateway.send(1, "r1")
    for hook in ("entire_request", "tool_call_entire_request"):
        await gateway.send(1, "r1", cost=PRICED, hook=hook, response_body={})
        assert gateway.turn.is_event
    assert gateway.events == {BillOutcome.COUNTED: 1, BillOutcome.REPEATED: 1}
    sums = {key[2]: total.turns for key, total in gateway.desk.turns.account.billing}
    assert sums == {TREATED: 1}


async def test_an_event_of_a_request_that_brought_nothing_is_told_by_its_id(
    gateway: Gateway,
) -> None:
    await gateway.send(1, "r1")
    await gateway.send(1, "r1", cost={"usage": {}})
    assert gateway.turn.is_event
    assert gateway.events == {BillOutcome.COUNTED: 1}


@pytest.mark.parametrize("cost", [{"dollars": 0.1}, {"usage": {"input_tokens": 7}}, {}])
async def test_a_call_that_carries_an_estimate_is_a_turn(gateway: Gateway, cost: Any) -> None:
    assert await gateway.send(1, "r1", cost=cost) == ["short"]
    assert gateway.turn.figures().events[Event.TURN_UNKNOWN] == 1
    assert gateway.events == {}


async def test_an_event_with_the_body_as_it_was_forwarded_changes_no_form(
    gateway: Gateway,
) -> None:
    """It cannot be told from a call, and need not be."""
    await gateway.send(1, "r1")
    forwarded = json.loads(gateway.answer)["request_body"]
    await gateway.send(1, "r1", body=forwarded)
    assert await gateway.send(2, "r2") == ["short", "short"]


async def test_a_bill_for_a_call_that_is_not_remembered_has_its_own_arm(gateway: Gateway) -> None:
    await gateway.send(1, "r0", cost=PRICED)
    assert [key[2] for key, _ in gateway.desk.turns.account.billing] == [UNASKED]


async def test_the_operator_is_told_once_where_events_belong(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await gateway.send(1, "r0", cost=PRICED)
    assert caplog.text.count("/bills") == 1


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answered, "MAX_ANSWERED", 2)
    lately = Answered()
    for name in (b"a", b"b", b"c", b""):
        lately.note(name, arrived=name == b"b")
    assert [lately.arrived(name) for name in (b"a", b"b", b"c", b"")] == [None, True, False, None]
