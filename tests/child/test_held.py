"""What a child holds: chains that match the daemon's, and a bound on it all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.workers.standin import Compressor
from tests.workers.support import item
from tsheadroom.child.held import BYTES_A_CONVERSATION, HeldConversations
from tsheadroom.child.protocol import EMPTY_CHAIN, UnknownBaseError, chain, form_token


def payload(*texts: str, **more: Any) -> dict[str, Any]:
    return {"conversation": "c", "messages": [item(text) for text in texts], **more}


def chained(*texts: str) -> str:
    """The chain of these items, each in the form that the stand-in gives it."""
    value = EMPTY_CHAIN
    for text in texts:
        changed = text != text.upper()
        token = form_token([(["content"], text.upper())]) if changed else b""
        value = chain(value, item(text)["digest"], token)
    return value.hex()


@pytest.fixture
def held() -> HeldConversations:
    return HeldConversations(Compressor({}))


def test_turns_continue_each_other(held: HeldConversations) -> None:
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
    ],
)
def test_any_other_prefix_is_unknown(held: HeldConversations, wrong: dict[str, Any]) -> None:
    held.turn(payload("one", "TWO"))
    with pytest.raises(UnknownBaseError):
        held.turn(payload("three") | wrong)


def test_frozen_items_are_context_and_take_the_given_prefix(held: HeldConversations) -> None:
    result = held.turn(payload("old", "older", "new", frozen=2, prefix="ab" * 16))
    assert [form["item"] for form in result["forms"]] == [2]
    token = form_token([(["content"], "NEW")])
    after = chain(bytes.fromhex("ab" * 16), item("new")["digest"], token)
    assert held.turn(payload("next", base=3, prefix=after.hex()))["notes"]["length"] == 4


def test_a_new_conversation_replaces_what_was_held(held: HeldConversations) -> None:
    held.turn(payload("one"))
    assert held.turn(payload("two"))["notes"]["length"] == 1


def test_an_error_forgets_the_conversation(held: HeldConversations) -> None:
    held.turn(payload("one"))
    with pytest.raises(ValueError, match="what it says"):
        held.turn(payload("two", base=1, prefix=chained("one"), model="raise"))
    with pytest.raises(UnknownBaseError):
        held.turn(payload("two", base=1, prefix=chained("one")))


def test_the_least_recently_used_go_first() -> None:
    held = HeldConversations(Compressor({}), limit=3 * (BYTES_A_CONVERSATION + 3))
    for key in "abc":
        assert held.turn(payload("ONE", conversation=key))["dropped"] == []
    held.turn(payload("", base=1, prefix=chained("ONE"), conversation="a"))
    assert held.turn(payload("ONE", conversation="d"))["dropped"] == ["b"]
    with pytest.raises(UnknownBaseError):
        held.turn(payload("", base=1, prefix=chained("ONE"), conversation="b"))
    for key in "cd":
        held.turn(payload("", base=1, prefix=chained("ONE"), conversation=key))
