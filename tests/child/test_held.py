"""What a child holds: chains that match the daemon's, originals put back, a bound on it all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workers.standin import Compressor
from tests.workers.support import item
from tsheadroom.child.held import BYTES_A_CONVERSATION, Conversations
from tsheadroom.child.protocol import EMPTY_CHAIN, UnknownBaseError, chain, form_token


def payload(*texts: str, **more: Any) -> dict[str, Any]:
    return {"conversation": "c", "messages": [item(text) for text in texts], **more}


def chained(*texts: str, refused: tuple[int, ...] = ()) -> str:
    """The chain of these items, each in the form that the stand-in gives it."""
    value = EMPTY_CHAIN
    for index, text in enumerate(texts):
        changed = text != text.upper() and index not in refused
        token = form_token([(["content"], text.upper())]) if changed else b""
        value = chain(value, item(text)["digest"], token)
    return value.hex()


@pytest.fixture
def held() -> Conversations:
    return Conversations(Compressor({}))


def test_turns_continue_each_other(held: Conversations) -> None:
    first = held.turn(payload("one", "TWO"))
    assert [form["item"] for form in first["forms"]] == [0]
    second = held.turn(payload("three", base=2, prefix=chained("one", "TWO")))
    assert [form["item"] for form in second["forms"]] == [2]
    third = held.turn(payload("four", base=3, prefix=chained("one", "TWO", "three")))
    assert third["notes"]["length"] == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"base": 1, "prefix": chained("one", "TWO")},
        {"base": 2, "prefix": chained("one", "two")},
        {"base": 2, "prefix": ""},
        {"base": 0, "prefix": chained("one", "TWO")},
        {"base": 2, "prefix": chained("one", "TWO"), "frozen": 1},
        {"base": 2, "prefix": chained("one", "TWO"), "conversation": "another"},
        {"base": 2, "prefix": chained("one", "TWO"), "refused": [2]},
    ],
)
def test_any_other_prefix_is_unknown(held: Conversations, wrong: dict[str, Any]) -> None:
    held.turn(payload("one", "TWO"))
    with pytest.raises(UnknownBaseError):
        held.turn(payload("three") | wrong)


def test_frozen_items_are_context_and_take_the_given_prefix(held: Conversations) -> None:
    result = held.turn(payload("old", "older", "new", frozen=2, prefix="ab" * 16))
    assert [form["item"] for form in result["forms"]] == [2]
    token = form_token([(["content"], "NEW")])
    after = chain(bytes.fromhex("ab" * 16), item("new")["digest"], token)
    assert held.turn(payload("next", base=3, prefix=after.hex()))["notes"]["length"] == 4


def test_a_refused_form_is_put_back(held: Conversations) -> None:
    held.turn(payload("zero"))
    held.turn(payload("one", "two", base=1, prefix=chained("zero")))
    prefix = chained("zero", "one", "two", refused=(2,))
    result = held.turn(payload("three", base=3, prefix=prefix, refused=[2]))
    assert [form["item"] for form in result["forms"]] == [3]


def test_a_new_conversation_replaces_what_was_held(held: Conversations) -> None:
    held.turn(payload("one"))
    assert held.turn(payload("two"))["notes"]["length"] == 1


def test_an_error_forgets_the_conversation(held: Conversations) -> None:
    held.turn(payload("one"))
    with pytest.raises(ValueError, match="what it says"):
        held.turn(payload("two", base=1, prefix=chained("one"), model="raise"))
    with pytest.raises(UnknownBaseError):
        held.turn(payload("two", base=1, prefix=chained("one")))


def test_the_least_recently_used_go_first() -> None:
    held = Conversations(Compressor({}), limit=3 * (BYTES_A_CONVERSATION + 3))
    for key in "abc":
        held.turn(payload("ONE", conversation=key))
    held.turn(payload("", base=1, prefix=chained("ONE"), conversation="a"))
    held.turn(payload("ONE", conversation="d"))
    with pytest.raises(UnknownBaseError):
        held.turn(payload("", base=1, prefix=chained("ONE"), conversation="b"))
    for key in "cd":
        held.turn(payload("", base=1, prefix=chained("ONE"), conversation=key))


def test_a_form_that_no_line_can_carry_is_taken_back(held: Conversations) -> None:
    result = held.turn(payload("good", "half \ud800 pair"))
    assert [form["item"] for form in result["forms"]] == [0]
    prefix = chained("good", "half \ud800 pair", refused=(1,))
    assert held.turn(payload("next", base=2, prefix=prefix))["notes"]["length"] == 3
