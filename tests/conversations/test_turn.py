"""A turn's states: lost unless it arrived, whatever comes first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conversations.asking import begin
from tests.conversations.test_ledger import form, request
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.conversations.recognise import Status
from tsheadroom.conversations.turn import State


@pytest.fixture(params=[True, False], ids=["disk", "memory"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Conversations]:
    opened = Conversations(directory=tmp_path if request.param else None)
    opened.open()
    yield opened
    opened.close()


def next_status(ledger: Conversations) -> Status:
    """What the next request of the conversation is, whose answer was made meanwhile."""
    return begin(ledger, request("a B c")).status


def test_from_beginning_to_arrival(ledger: Conversations) -> None:
    turn = begin(ledger, request("a"))
    states = [turn.state]
    turn.decide({0: form("f")})
    states.append(turn.state)
    statuses = [next_status(ledger)]  # on its way is not arrived
    turn.arrived()
    states.append(turn.state)
    statuses.append(next_status(ledger))
    assert states == [State.BEGUN, State.DECIDED, State.ARRIVED]
    assert statuses == [Status.GAP, Status.CONTINUED]


def test_lost_after_the_decision(ledger: Conversations) -> None:
    turn = begin(ledger, request("a"))
    turn.decide({0: form("f")})
    turn.lost()
    assert turn.state is State.LOST
    assert next_status(ledger) is Status.GAP


def test_lost_before_the_decision(ledger: Conversations) -> None:
    turn = begin(ledger, request("a"))
    turn.lost()
    turn.decide({0: form("f")})
    assert turn.state is State.LOST
    assert next_status(ledger) is Status.GAP


def test_a_decision_taken_back_is_left_alone(ledger: Conversations) -> None:
    turn = begin(ledger, request("a"))
    turn.decide({0: form("f")})
    turn.take_back()
    turn.arrived()
    again = begin(ledger, request("a B c"))
    assert (again.status, again.forms, again.undecided) == (Status.CONTINUED, {}, [2])


def test_a_decision_that_others_build_on_is_not_taken_back(ledger: Conversations) -> None:
    turn = begin(ledger, request("a"))
    turn.decide({0: form("f")})
    other = begin(ledger, request("a b"))
    other.decide({})
    turn.take_back()
    assert turn.forms == {0: form("f")}
    assert begin(ledger, request("a b")).forms == {0: form("f")}


def test_branches_made_meanwhile_learn_how_it_ended(ledger: Conversations) -> None:
    """A client that goes back and on has a branch of its own, with the same turn in it."""
    turn = begin(ledger, request("a"))
    turn.decide({0: form("f")})
    aside = begin(ledger, request("a X y"))
    aside.decide({})
    turn.arrived()
    assert next_status(ledger) is Status.CONTINUED
