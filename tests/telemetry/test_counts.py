"""Plain numbers are shown as prometheus_client shows its own objects."""

from __future__ import annotations

from collections.abc import Iterable

import prometheus_client as prometheus
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.registry import Collector

from tsheadroom.telemetry import series
from tsheadroom.telemetry.counts import Count, LabelledCount, Spreads

AMOUNTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", 'odd "one"\\']),
        st.sampled_from([0.0, *series.BUCKETS]) | st.floats(0, 1e9),
    ),
    max_size=30,
)


def page(*collectors: Collector) -> bytes:
    registry = prometheus.CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return prometheus.generate_latest(registry)


def without_created(text: bytes) -> list[bytes]:
    return [line for line in text.splitlines() if b"_created" not in line]


@pytest.mark.parametrize("name", ["calls_total", "calls"])
@given(amounts=AMOUNTS)
def test_counts(name: str, amounts: Iterable[tuple[str, float]]) -> None:
    one, theirs = Count("calls_total", "Calls."), prometheus.Counter(name, "Calls.", registry=None)
    for _, amount in amounts:
        one.value += amount
        theirs.inc(amount)
    assert page(one).splitlines() == without_created(page(theirs))


@given(amounts=AMOUNTS)
def test_counts_with_a_label(amounts: Iterable[tuple[str, float]]) -> None:
    ours = LabelledCount("calls_total", "Calls.", "who")
    theirs = prometheus.Counter("calls_total", "Calls.", ["who"], registry=None)
    for who, amount in amounts:
        ours.add(who, amount)
        theirs.labels(who).inc(amount)
    assert page(ours).splitlines() == without_created(page(theirs))


@given(amounts=AMOUNTS)
def test_histograms(amounts: Iterable[tuple[str, float]]) -> None:
    bounds, names = series.BUCKETS, ["a", "b", 'odd "one"\\']
    ours = Spreads("seconds", "Time.", bounds, "who", names)
    theirs = prometheus.Histogram("seconds", "Time.", ["who"], buckets=bounds, registry=None)
    for name in names:
        theirs.labels(name)
    for who, amount in amounts:
        ours.of[who].observe(amount)
        theirs.labels(who).observe(amount)
    assert page(ours).splitlines() == without_created(page(theirs))


@given(amounts=AMOUNTS)
def test_a_histogram_without_a_label(amounts: Iterable[tuple[str, float]]) -> None:
    ours = Spreads("seconds", "Time.", series.BUCKETS)
    theirs = prometheus.Histogram("seconds", "Time.", buckets=series.BUCKETS, registry=None)
    for _, amount in amounts:
        ours.of[""].observe(amount)
        theirs.observe(amount)
    assert page(ours).splitlines() == without_created(page(theirs))
