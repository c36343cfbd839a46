"""What is forecast when a call goes out, and what is counted of the events about it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conversation import Body, call
from tsheadroom.aperture.call import HookCall, read
from tsheadroom.aperture.post_response import PostResponse, Usage, read_event
from tsheadroom.economy import billing
from tsheadroom.economy.account import Account
from tsheadroom.economy.billing import TREATED, UNASKED, BillOutcome

SUMMED = ("turns", "input_tokens", "cached_tokens", "written_tokens", "output_tokens")
USAGE = {"input_tokens": 3, "output_tokens": 4}


def event(request_id: str, usage: Any = USAGE, **metadata: Any) -> PostResponse | None:
    cost = {} if usage is None else {"estimated_cost": {"dollars": 0.5, "usage": usage}}
    said = {"provider": "corp", "model": "m", "request_id": request_id, **cost, **metadata}
    return read_event(json.dumps({"metadata": said}).encode())


def forward(account: Account, body: Body | None = None, known: int = 0, **metadata: str) -> None:
    called = read(call(body or {"messages": [{"role": "user", "content": "go"}]}, **metadata))
    assert isinstance(called, HookCall)
    account.forwarded(called, "c", TREATED, known, 0, 0)


def test_each_event_has_one_outcome() -> None:
    account = Account()
    forward(account, provider="corp", model="m", request_id="r1")
    for one in (event("r1"), event("r1"), event("r2", None), None):
        account.take(one)
    assert dict(account.billing.events) == dict.fromkeys(BillOutcome, 1)
    assert [total.turns for _, total in account.billing] == [1]


def test_what_is_forecast_follows_what_was_forwarded() -> None:
    account = Account()
    body = {"messages": [{"role": "user", "content": "x" * 4000}]}
    forward(account, body, request_id="first")
    body["messages"] += [{"role": "assistant", "content": "y"}, {"role": "user", "content": "z"}]
    forward(account, body, 1, request_id="second")
    first, second = account.billing.waiting.values()
    assert first.cached_tokens == 0
    assert first.new_tokens > 1000
    assert second.cached_tokens > 1000
    assert second.new_tokens < 50


@pytest.mark.parametrize(
    ("cost", "outcome", "sums"),
    [
        ({"dollars": 1e308, "usage": USAGE}, BillOutcome.COUNTED, (0.0, 3, 4)),
        ({"dollars": 2, "usage": {"output_tokens": 10**400}}, BillOutcome.COUNTED, (2.0, 0, 0)),
        ({"dollars": -3, "usage": {"output_tokens": -5}}, BillOutcome.UNREADABLE, None),
        ({"usage": "7"}, BillOutcome.UNREADABLE, None),
        (7, BillOutcome.UNREADABLE, None),
    ],
)
def test_an_amount_that_no_request_can_have_is_left_out_of_its_bill(
    cost: Any, outcome: BillOutcome, sums: tuple[float, int, int] | None
) -> None:
    account = Account()
    account.take(event("r", None, estimated_cost=cost))
    assert dict(account.billing.events) == {outcome: 1}
    assert account.billing.refused_amounts > 0
    totals = [(s.dollars, s.input_tokens, s.output_tokens) for _, s in account.billing]
    assert totals == ([] if sums is None else [sums])
    # One that was not counted takes nothing from the bill that comes after it.
    account.take(event("r"))
    assert account.billing.events[BillOutcome.COUNTED] == 1


NUMBERS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([10**18, 10**400, -(10**400), 1e308, -0.0]),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.text(max_size=5), NUMBERS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@given(st.lists(st.tuples(JSON, JSON, JSON, JSON), max_size=5))
def test_no_bill_makes_a_sum_odd(bills: list[tuple[Any, Any, Any, Any]]) -> None:
    account = Account()
    for number, (dollars, tokens, basis, cost) in enumerate(bills):
        usage = dict.fromkeys(Usage.__struct_fields__, tokens)
        for odd in (
            {"dollars": dollars, "usage": usage, "cost_basis": basis},
            {"usage": tokens},
            cost,
        ):
            account.take(event(f"{number}{odd!r}", None, estimated_cost=odd))
    for _, total in account.billing:
        for amount in (total.dollars, *(getattr(total, name) for name in SUMMED)):
            assert 0 <= float(amount) < 1e12
    outcomes = account.billing.events
    assert outcomes.total() == 3 * len(bills)


def test_what_a_worker_says_it_saved_is_bounded() -> None:
    account = Account()
    called = read(call({"messages": [{"role": "user", "content": "go"}]}, request_id="r"))
    assert isinstance(called, HookCall)
    for saved in (10**400, -(10**400)):
        account.forwarded(called, "c", TREATED, 0, 0, saved)
        (forecast,) = account.billing.waiting.values()
        assert math.isfinite(float(forecast.saved_tokens))


def test_labels_that_are_shown_alike_are_one_sum() -> None:
    """Two series of the same labels would make a page that no scraper takes."""
    account = Account()
    for provider in ("", "unknown", None, "q" * 200 + "1", "q" * 200 + "2"):
        account.take(event("", provider=provider))
    assert {key: total.turns for key, total in account.billing} == {
        ("unknown", "m", UNASKED): 3,
        ("q" * 128, "m", UNASKED): 2,
    }


def test_what_callers_send_takes_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(billing, "MAX_WAITING", 3)
    account = Account()
    for number in range(9):
        long = f"{number}" + "x" * 100_000
        forward(account, request_id=long, provider=long, model=long)
    assert len(account.billing.waiting) == 3
    assert {len(name) for name in account.billing.waiting} == {16}
    assert {len(f.provider) for f in account.billing.waiting.values()} == {97}
    # It is found by its long id all the same.
    account.take(event("8" + "x" * 100_000))
    assert [key[2] for key, _ in account.billing] == [TREATED]


def test_bills_tell_whose_model_an_alias_is() -> None:
    account = Account()
    called = read(call({"messages": []}, provider="corp", model="fast"))
    assert isinstance(called, HookCall)
    assert not account.model_of(called).by_anthropic
    cost = {"usage": USAGE, "cost_basis": "anthropic/claude-haiku-5-5"}
    account.take(event("r", None, model="fast", estimated_cost=cost))
    assert account.model_of(called).by_anthropic
    assert account.model_of(called).name == "claude-haiku-5-5"
