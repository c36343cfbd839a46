from __future__ import annotations

import logging

import pytest

from tsheadroom.aperture.post_response import Bill, Usage
from tsheadroom.economy import billing
from tsheadroom.economy.billing import HOLDOUT, TREATED, UNASKED, Billing, Forecast

MODEL = ("anthropic", "claude")
BILL = Bill(0.5, Usage(input_tokens=3, output_tokens=5, cached_tokens=40))


def forecast(arm: str = TREATED, cached: int = 0, new: int = 0, saved: int = 0) -> Forecast:
    return Forecast(*MODEL, arm, cached, new, saved)


def test_a_bill_is_counted_in_its_calls_arm_beside_the_forecast() -> None:
    bills = Billing()
    bills.forwarded(b"r1", forecast(TREATED, 30, 5, 9))
    bills.forwarded(b"r2", forecast(HOLDOUT, 60, 7, 0))
    assert bills.billed(b"r1", *MODEL, BILL)
    assert bills.billed(b"r2", *MODEL, BILL)
    sums = dict(bills)
    treated, held = sums[(*MODEL, TREATED)], sums[(*MODEL, HOLDOUT)]
    assert (treated.turns, treated.dollars, treated.cached_tokens) == (1, 0.5, 40)
    assert (treated.forecast_cached_tokens, treated.saved_tokens) == (30, 9)
    assert (held.forecast_cached_tokens, held.forecast_new_tokens) == (60, 7)
    assert treated.hit_share == pytest.approx(40 / 43)


def test_savings_may_be_negative() -> None:
    bills = Billing()
    bills.forwarded(b"r1", forecast(saved=-12))
    bills.billed(b"r1", *MODEL, BILL)
    assert dict(bills)[(*MODEL, TREATED)].saved_tokens == -12


def test_two_events_of_one_request_are_counted_once() -> None:
    bills = Billing()
    bills.forwarded(b"r1", forecast())
    assert bills.billed(b"r1", *MODEL, BILL)
    assert not bills.billed(b"r1", *MODEL, BILL)
    assert [total.turns for _, total in bills] == [1]


def test_a_call_that_is_not_remembered_has_an_arm_of_its_own() -> None:
    bills = Billing()
    bills.billed(b"unknown", *MODEL, BILL)
    bills.billed(b"", *MODEL, BILL)
    bills.billed(b"", *MODEL, BILL)
    assert {key: total.turns for key, total in bills} == {(*MODEL, UNASKED): 3}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("MAX_WAITING", "MAX_BILLED", "MAX_SERIES"):
        monkeypatch.setattr(billing, limit, 3)
    bills = Billing()
    for number in range(9):
        bills.forwarded(b"%d" % number, forecast())
        bills.billed(b"b%d" % number, f"provider{number}", "m", BILL)
    assert len(bills.waiting) == 3
    assert len(bills._counted) == 3
    assert len(bills.sums) == 4  # and one for all others


def usage(bills: Billing, arm: str, cached: int, turns: int, model: str = "claude") -> None:
    for number in range(turns):
        name = f"{arm}{model}{cached}{number}".encode()
        bills.forwarded(name, Forecast("anthropic", model, arm, 0, 0, 0))
        used = Usage(input_tokens=100 - cached, cached_tokens=cached)
        bills.billed(name, "anthropic", model, Bill(0.0, used))


def is_behind(bills: Billing) -> bool:
    return bills.behind


WARNED = "hit the prompt cache less than the holdout"


def test_a_warning_when_the_treated_arm_falls_behind(caplog: pytest.LogCaptureFixture) -> None:
    bills = Billing()
    with caplog.at_level(logging.WARNING):
        usage(bills, HOLDOUT, 90, billing.MIN_TURNS)
        usage(bills, TREATED, 80, billing.MIN_TURNS - 1)
        assert not is_behind(bills)  # too few to mean something
        usage(bills, TREATED, 81, 10)
        assert is_behind(bills)
        assert caplog.text.count(WARNED) == 1
        usage(bills, TREATED, 100, 3 * billing.MIN_TURNS)
        assert not is_behind(bills)


def test_no_warning_when_it_is_ahead(caplog: pytest.LogCaptureFixture) -> None:
    bills = Billing()
    usage(bills, HOLDOUT, 80, billing.MIN_TURNS)
    usage(bills, TREATED, 90, billing.MIN_TURNS)
    assert not is_behind(bills)
    assert WARNED not in caplog.text


def test_one_model_that_is_fine_does_not_silence_another(caplog: pytest.LogCaptureFixture) -> None:
    bills = Billing()
    for arm, cached in ((HOLDOUT, 90), (TREATED, 70)):
        usage(bills, arm, cached, billing.MIN_TURNS, "bad")
        usage(bills, arm, 90, billing.MIN_TURNS, "good")
    for number in range(3):
        usage(bills, TREATED, 71, number, "bad")
        usage(bills, TREATED, 89, number, "good")
    assert is_behind(bills)
    assert caplog.text.count(WARNED) == 1
