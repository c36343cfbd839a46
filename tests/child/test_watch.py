"""The time of one item: what is interrupted, what is not, and what is left of a call."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator

import pytest

from tsheadroom.child import watch as watch_module
from tsheadroom.child.watch import OverBudgetError, Stopwatch


@pytest.fixture
def told() -> list[int]:
    return []


@pytest.fixture
def watch(told: list[int], monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    monkeypatch.setattr(watch_module, "ITEM_SECONDS", 0.05)
    monkeypatch.setattr(watch_module, "_AGAIN_SECONDS", 0.02)
    made = Stopwatch()
    made.start(lambda number, cpu: told.append(number))
    return made


def spin(rounds: int = -1) -> None:
    while rounds:
        rounds -= 1


def test_work_within_the_budget_is_done(watch: Stopwatch, told: list[int]) -> None:
    for _ in range(2):
        watch.begin_call(1.0)
        assert [watch.item(number, lambda: "done") for number in (7, 8, 9)] == ["done"] * 3
    assert told == [8, 9, 8, 9]  # the first of a call is known


def test_python_code_is_interrupted(watch: Stopwatch) -> None:
    with pytest.raises(OverBudgetError):
        watch.item(0, spin)
    spin(1_000_000)  # and what comes after it is not
    assert watch.item(1, lambda: "done") == "done"


def test_a_regular_expression_is_interrupted(watch: Stopwatch) -> None:
    with pytest.raises(OverBudgetError):
        watch.item(0, lambda: re.match(r"(a+)+$", "a" * 60 + "b"))


def test_an_interruption_that_a_library_catches_comes_again(watch: Stopwatch) -> None:
    caught: list[int] = []

    def stubborn() -> None:
        while True:
            with contextlib.suppress(OverBudgetError) if len(caught) < 3 else _nothing():
                caught.append(0)
                spin()

    with pytest.raises(OverBudgetError):
        watch.item(0, stubborn)
    assert len(caught) == 4


@contextlib.contextmanager
def _nothing() -> Iterator[None]:
    yield


def test_what_must_be_whole_is_done_first(watch: Stopwatch) -> None:
    steps: list[str] = []

    def work() -> None:
        with watch.whole:
            while not watch.spent:
                pass
            steps.append("recorded")
        steps.append("not reached")

    with pytest.raises(OverBudgetError):
        watch.item(0, work)
    assert steps == ["recorded"]


def test_waiting_uses_up_no_budget(watch: Stopwatch) -> None:
    watch.item(0, lambda: time.sleep(0.1))


def test_without_a_start_nothing_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "ITEM_SECONDS", 0.0)
    monkeypatch.setattr(watch_module, "CALL_SECONDS", 0.0)
    watch = Stopwatch()
    watch.begin_call(-1.0)
    watch.item(0, lambda: spin(100_000))
    assert not watch.over


def test_a_call_ends_before_its_caller_goes(watch: Stopwatch) -> None:
    found = []
    for within in (60.0, 0.0):
        watch.begin_call(within)
        found.append((watch.late, watch.over))
    assert found == [(False, False), (True, True)]


def test_a_call_has_a_budget_of_its_own(watch: Stopwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.begin_call(60.0)
    found = []
    for budget, more in ((60.0, 0.0), (0.0, 0.0), (0.0, 60.0)):
        monkeypatch.setattr(watch_module, "CALL_SECONDS", budget)
        watch.more = more
        found.append(watch.over)
    assert found == [False, True, False]
