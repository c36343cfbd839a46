"""Intervals hold what they should, and are the same each time."""

from __future__ import annotations

import pytest

from tsheadroom.simulate import intervals


def mean(sample: object) -> float:
    numbers = list(sample)  # type: ignore[call-overload]
    return float(sum(numbers) / len(numbers))


def test_a_bootstrap_is_about_as_wide_as_the_normal_interval() -> None:
    sample = list(range(100))  # standard error of the mean: 2.89
    low, high = intervals.bootstrap(sample, mean)
    assert low == pytest.approx(49.5 - 1.96 * 2.89, abs=0.6)
    assert high == pytest.approx(49.5 + 1.96 * 2.89, abs=0.6)
    assert intervals.bootstrap(sample, mean) == (low, high)


def test_a_sample_of_one_says_nothing_of_others() -> None:
    assert intervals.bootstrap([7], mean) == (7, 7)


def test_wilson_is_as_published() -> None:
    """Newcombe, Statistics in Medicine 1998, table I: 81 of 263, 15 of 148, 0 of 20."""
    assert intervals.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert intervals.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert intervals.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert intervals.wilson(0, 0) == (0.0, 1.0)


def test_a_share_is_wider_where_cases_are_alike() -> None:
    """The same 10 of 100: spread evenly, or all in one of ten conversations."""
    even = [(1, 10)] * 10
    lumped = [(10, 10)] + [(0, 10)] * 9
    narrow, wide = (
        intervals.share(sample, lambda one: one[0], lambda one: one[1]) for sample in (even, lumped)
    )
    assert narrow == intervals.wilson(10, 100)
    assert wide[0] == 0
    assert wide[1] > 0.25


def test_a_share_of_none_is_not_certain() -> None:
    low, high = intervals.share([(0, 20)], lambda one: one[0], lambda one: one[1])
    assert (low, high) == intervals.wilson(0, 20)
    assert intervals.share([], lambda one: 0, lambda one: 0) == (0.0, 1.0)
