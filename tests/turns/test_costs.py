"""Where the steps of a large call are done: not on the event loop, however much of it is known."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from tests.answered import answered
from tests.conversation import Body, call
from tsheadroom.aperture.call import HookCall, read
from tsheadroom.aperture.names import Digests, outline_of
from tsheadroom.aperture.outline import LEAST_BYTES, Outlines
from tsheadroom.conversations.forms import Form
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.conversations.prefixes import Prefixes
from tsheadroom.offload import LARGE_BYTES
from tsheadroom.turns import costs
from tsheadroom.turns.turns import Turns
from tsheadroom.workers import Job, NoWorker

MANY = LARGE_BYTES // costs.ITEM_COST
Places = list[tuple[str, bool]]


class NoWorkers:
    """There is none."""

    def submit(self, job: Job) -> Any:
        raise NoWorker("none")


def asked_anew(outlines: Outlines | None = None) -> Turns:
    """Turns that know no conversation, and only the bytes of these."""
    ledger = Conversations(directory=None)
    ledger.open()
    turns = Turns(ledger, NoWorkers(), deadline=60.0)
    turns.outlines = outlines or turns.outlines
    return turns


@pytest.fixture
def places() -> Iterator[Places]:
    """The steps that go through all of a call's items, and whether each was done on the loop."""
    found: Places = []
    named_earlier, names_of = Prefixes._named_earlier, Digests.of

    def note(step: str) -> None:
        found.append((step, threading.current_thread() is threading.main_thread()))

    def prefixes(*args: Any, **kwargs: Any) -> Prefixes:
        note("prefixes")
        return Prefixes(*args, **kwargs)

    def earlier(self: Prefixes) -> list[tuple[int, bytes]]:
        note("earlier prefixes")
        return named_earlier(self)

    def names(called: HookCall, *, as_of_0_1: bool = False) -> Digests:
        if as_of_0_1:
            note("older names")
        return names_of(called, as_of_0_1=as_of_0_1)

    with (
        mock.patch("tsheadroom.turns.finding.Prefixes", prefixes),
        mock.patch.object(Prefixes, "_named_earlier", earlier),
        mock.patch.object(Digests, "of", names),
    ):
        yield found


def talk(messages: int, text: str, *roles: str) -> bytes:
    """A conversation whose roles take turns."""
    said: list[Body] = [
        {"role": roles[at % len(roles)], "content": "x"} for at in range(messages - 1)
    ]
    return call({"messages": [{"role": "user", "content": text}, *said]})


@pytest.mark.parametrize("roles", [("user",), ("assistant", "user")])
async def test_many_small_items_are_gone_through_off_the_loop(
    places: Places, roles: tuple[str, ...]
) -> None:
    turns = asked_anew()
    await answered(turns, talk(MANY, "x" * LEAST_BYTES, *roles))
    places.clear()
    more = talk(MANY + 2, "x" * LEAST_BYTES, *roles)
    found = turns.outlines.find(more)
    assert found is not None
    assert found.items == MANY
    await answered(turns, more)
    assert {name for name, _ in places} >= {"prefixes", "earlier prefixes"}
    assert not any(on_loop for _, on_loop in places)


async def test_few_items_are_named_on_the_loop_and_no_earlier_prefix_without_need(
    places: Places,
) -> None:
    turns = asked_anew()
    await answered(turns, talk(3, "x" * LEAST_BYTES, "assistant", "user"))
    places.clear()
    await answered(turns, talk(5, "x" * LEAST_BYTES, "assistant", "user"))
    assert places == [("prefixes", True)]


async def test_what_is_known_gets_its_older_names_off_the_loop(places: Places) -> None:
    point = {"role": "user", "content": [{"cachePoint": {"type": "default"}}, {"text": "x"}]}
    first = {"role": "user", "content": "x" * LARGE_BYTES}
    body = call({"messages": [point, first]})
    before = asked_anew()
    await answered(before, body)
    found = before.outlines.find(body)
    assert found is not None
    assert costs.of_rest(body, found) < LARGE_BYTES
    places.clear()
    await answered(asked_anew(before.outlines), body)
    assert ("older names", False) in places
    assert ("older names", True) not in places


def test_what_is_known_costs_a_share() -> None:
    outlines = Outlines()
    body = talk(2, "x" * 80_000, "user")
    called = read(body)
    assert isinstance(called, HookCall)
    outlines.keep(outline_of(called, Digests.of(called)), None)
    found = outlines.find(body)
    assert found is not None
    assert costs.of_all(body) == len(body)
    assert 10_000 < costs.of_rest(body, found) < 11_000


def test_forms_cost_what_their_items_do_where_these_are_spelled_otherwise() -> None:
    text = [{"type": "text", "text": "x" * 10_000}]
    called = read(call({"messages": [{"role": "user", "content": at} for at in ("x", text, text)]}))
    assert isinstance(called, HookCall)
    form = Form(b"", (), (), 0)
    digests = Digests.of(called)
    assert costs.of_forms(called, digests, {}) == 0
    assert costs.of_forms(called, digests, {0: form}) == 0
    one = costs.of_forms(called, digests, {0: form, 1: form})
    assert 10_000 + costs.RESPELLED_COST < one < 10_200 + costs.RESPELLED_COST
    assert costs.of_forms(called, digests, {1: form, 2: form}) == 2 * one
