"""The series that dashboards are built on."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tsheadroom.aperture.post_response import Bill, Usage
from tsheadroom.conversations.store import StoreState
from tsheadroom.economy.billing import TREATED, Billing, BillOutcome, Forecast
from tsheadroom.economy.windows import Windows
from tsheadroom.telemetry import gauges
from tsheadroom.telemetry import series as module
from tsheadroom.telemetry.billed import BillingCollector
from tsheadroom.telemetry.events import Event
from tsheadroom.telemetry.output import LineOutput
from tsheadroom.telemetry.record import CallRecord, Figures, Outcome
from tsheadroom.telemetry.series import Metrics

# The Go daemon's, to the letter; the pool's come from a source that the daemon adds.
REFERENCE = {
    "headroom_requests_total",
    "headroom_requests_failed_total",
    "headroom_tokens_input_total",
    "headroom_tokens_saved_total",
    "headroom_overhead_ms_sum",
    "headroom_overhead_ms_count",
    "headroom_overhead_ms_min",
    "headroom_overhead_ms_max",
    "headroom_requests_by_provider",
    "headroom_requests_by_model",
    "headroom_inbound_requests_total",
    "headroom_inbound_requests_completed_total",
    "headroom_inbound_requests_active",
    "tsheadroom_requests_by_outcome",
    "tsheadroom_cold_starts_total",
    "tsheadroom_tokens_after_total",
}


def ended(duration_ms: float = 0.0, read_ms: float = 0.0, **figures: Any) -> CallRecord:
    """A call that has ended."""
    return CallRecord(figures=Figures(**figures), duration_ms=duration_ms, read_ms=read_ms)


def scraped(metrics: Metrics) -> list[Sample]:
    """The samples that a scraper reads in the page."""
    families = text_string_to_metric_families(metrics.text().decode())
    return [sample for family in families for sample in family.samples]


def test_every_series_of_the_reference_is_there_to_the_letter() -> None:
    metrics = Metrics()
    metrics.record(ended(provider="anthropic", model="claude"))
    names = {sample.name for sample in scraped(metrics)}
    assert names >= REFERENCE
    assert not [name for name in names if name.endswith("_created")]


def test_a_line_is_written_as_the_reference_writes_it() -> None:
    metrics = Metrics()
    metrics.record(ended(outcome=Outcome.MODIFY, provider="anthropic", model="claude"))
    lines = metrics.text().decode().splitlines()
    assert 'tsheadroom_requests_by_outcome{outcome="modify"} 1.0' in lines
    assert 'headroom_requests_by_provider{provider="anthropic"} 1.0' in lines
    assert "headroom_overhead_ms_count 1.0" in lines
    assert "headroom_requests_total 1.0" in lines


def test_outcomes_are_there_from_the_start() -> None:
    for outcome in (
        "modify",
        "noop",
        "error",
        "passthrough",
        "read_error",
        "decode_error",
        "reject_encoding",
    ):
        assert Metrics().value("tsheadroom_requests_by_outcome", outcome=outcome) == 0


def test_a_call_is_counted() -> None:
    metrics = Metrics()
    for duration in (10.0, 2.0, 30.0):
        metrics.record(
            ended(
                duration,
                outcome=Outcome.MODIFY,
                provider="anthropic",
                model="claude",
                in_bytes=400,
                tokens_saved=30,
                cold=duration == 2.0,
                events={Event.FOLDS_OFF: 2},
            )
        )
    assert metrics.value("headroom_requests_total") == 3
    assert metrics.value("headroom_requests_failed_total") == 0
    assert metrics.value("headroom_tokens_input_total") == 300
    assert metrics.value("headroom_tokens_saved_total") == 90
    assert metrics.value("tsheadroom_tokens_after_total") == 210
    assert metrics.value("tsheadroom_cold_starts_total") == 1
    assert metrics.value("headroom_overhead_ms_sum") == 42
    assert metrics.value("headroom_overhead_ms_count") == 3
    assert metrics.value("headroom_overhead_ms_min") == 2
    assert metrics.value("headroom_overhead_ms_max") == 30
    assert metrics.value("headroom_requests_by_provider", provider="anthropic") == 3
    assert metrics.value("headroom_requests_by_model", model="claude") == 3
    assert metrics.value("tsheadroom_requests_by_outcome", outcome="modify") == 3
    assert metrics.value("tsheadroom_events_total", event="folds_off") == 6


def test_types_are_those_of_the_reference() -> None:
    text = Metrics().text().decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert {name: kind for name, kind in types.items() if not name.startswith("process_")} == {
        "headroom_requests_total": "counter",
        "headroom_requests_failed_total": "counter",
        "headroom_tokens_input_total": "counter",
        "headroom_tokens_saved_total": "counter",
        "headroom_overhead_ms": "summary",
        "headroom_overhead_ms_min": "gauge",
        "headroom_overhead_ms_max": "gauge",
        "headroom_requests_by_provider": "untyped",
        "headroom_requests_by_model": "untyped",
        "headroom_inbound_requests_total": "counter",
        "headroom_inbound_requests_completed_total": "counter",
        "headroom_inbound_requests_active": "gauge",
        "tsheadroom_requests_by_outcome": "untyped",
        "tsheadroom_cold_starts_total": "counter",
        "tsheadroom_tokens_after_total": "counter",
        "tsheadroom_events_total": "counter",
        "tsheadroom_scrape_failures_total": "counter",
        "tsheadroom_request_seconds": "histogram",
        "tsheadroom_phase_seconds": "histogram",
    }


def test_a_call_that_saved_more_than_is_thought_to_have_come_is_counted_and_lowers_nothing() -> (
    None
):
    metrics = Metrics()
    metrics.record(ended(in_bytes=400, tokens_saved=40))
    metrics.record(ended(in_bytes=40, tokens_saved=15, events={Event.NOT_SMALLER: -1}))
    metrics.record(ended(tokens_saved=-1))
    assert metrics.value("headroom_requests_total") == 3
    assert metrics.value("headroom_tokens_saved_total") == 55
    assert metrics.value("tsheadroom_tokens_after_total") == 61
    assert metrics.value("tsheadroom_events_total", event="not_smaller") == 0


def test_a_series_that_is_not_there_has_no_value() -> None:
    metrics = Metrics()
    assert metrics.value("tsheadroom_events_total", event="turn_gap") is None
    assert metrics.value("headroom_requests") is None


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [
        (Outcome.MODIFY, 0),
        (Outcome.NOOP, 0),
        (Outcome.PASSTHROUGH, 0),
        (Outcome.REJECT_ENCODING, 0),
        (Outcome.ERROR, 1),
        (Outcome.READ_ERROR, 1),
        (Outcome.DECODE_ERROR, 1),
    ],
)
def test_what_counts_as_failed(outcome: Outcome, failed: int) -> None:
    metrics = Metrics()
    metrics.record(ended(outcome=outcome))
    assert metrics.value("headroom_requests_failed_total") == failed


def test_requests_in_the_hook() -> None:
    metrics = Metrics()
    metrics.inbound_start()
    metrics.inbound_start()
    metrics.inbound_done()
    assert metrics.value("headroom_inbound_requests_total") == 2
    assert metrics.value("headroom_inbound_requests_completed_total") == 1
    assert metrics.value("headroom_inbound_requests_active") == 1
    assert metrics.active == 1


def test_empty_labels_read_unknown() -> None:
    metrics = Metrics()
    metrics.record(ended())
    metrics.record(ended())
    assert metrics.value("headroom_requests_by_provider", provider="unknown") == 2
    assert metrics.value("headroom_requests_by_model", model="unknown") == 2


def test_labels_from_requests_are_bounded_in_number_and_length() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.record(ended(provider=f"p{number}", model=f"m{number}" * 100))
    models = {
        sample.labels["model"]: sample.value
        for sample in scraped(metrics)
        if sample.name == "headroom_requests_by_model"
    }
    assert len(models) == module.MAX_MODELS + 1
    assert sum(models.values()) == 1000
    assert metrics.value("headroom_requests_by_model", model="other") == 1000 - module.MAX_MODELS
    assert metrics.value("headroom_requests_by_provider", provider="p0") == 1
    assert max(map(len, models)) <= module.MAX_LABEL_LENGTH


@pytest.mark.parametrize(
    ("odd", "shown"),
    [
        ("\ud800", "?"),
        ('quo"te', 'quo"te'),
        ("back\\slash\\", "back\\slash\\"),
        ("new\nline\r\x00\x1b[31m", "new?line???[31m"),
        ("\u2028\u0085\u202e\u200b\ufeff", "?????"),
        ('",other="x"} 1 # ', '",other="x"} 1 # '),
    ],
    ids=ascii,
)
def test_odd_labels_do_not_break_the_page(odd: str, shown: str) -> None:
    metrics = Metrics()
    metrics.record(ended(model=odd))
    by_model = [s for s in scraped(metrics) if s.name == "headroom_requests_by_model"]
    assert [(sample.labels, sample.value) for sample in by_model] == [({"model": shown}, 1)]


@given(st.lists(st.text(max_size=200), max_size=20))
def test_no_two_names_make_the_same_series_twice(names: list[str]) -> None:
    billing = Billing()
    metrics = Metrics()
    metrics.registry.register(BillingCollector(billing))
    for name in names:
        metrics.record(ended(provider=name, model=name))
        label = module.clean_label(name)
        billing.billed(b"", label, label, Bill(0.5, Usage(1)))
    assert metrics.text().decode().replace("\n", "").isprintable()
    samples = [(sample.name, *sorted(sample.labels.items())) for sample in scraped(metrics)]
    assert len(samples) == len(set(samples))
    assert metrics.value("tsheadroom_scrape_failures_total") == 0


def test_phases_have_histograms() -> None:
    metrics = Metrics()
    metrics.record(
        CallRecord(
            figures=Figures(wait_ms=32.5, worker_ms=60, slot=0),
            duration_ms=100,
            read_ms=3,
            plan_ms=4,
            write_ms=0.5,
        )
    )
    metrics.record(ended(3, 3))  # no worker
    for phase, count, seconds in (
        ("read", 2, 0.006),
        ("plan", 2, 0.004),
        ("write", 2, 0.0005),
        ("worker", 1, 0.060),
        ("wait", 2, 0.0325),
    ):
        assert metrics.value("tsheadroom_phase_seconds_count", phase=phase) == count
        total = metrics.value("tsheadroom_phase_seconds_sum", phase=phase)
        assert total == pytest.approx(seconds)
    assert metrics.value("tsheadroom_phase_seconds_bucket", phase="read", le="0.0025") == 0
    assert metrics.value("tsheadroom_phase_seconds_bucket", phase="read", le="0.005") == 2
    assert metrics.value("tsheadroom_request_seconds_bucket", le="0.1") == 2
    assert metrics.value("tsheadroom_request_seconds_bucket", le="+Inf") == 2


def test_gauges_of_other_parts_are_read_at_each_scrape() -> None:
    metrics = Metrics()
    busy = 0

    def source() -> list[Metric]:
        return [
            GaugeMetricFamily("tsheadroom_pool_slots_total", "Slots.", 8),
            GaugeMetricFamily("tsheadroom_pool_slots_busy", "Busy.", busy),
            CounterMetricFamily("tsheadroom_affinity_hits_total", "Hits.", 5),
        ]

    metrics.watch(source)
    assert metrics.value("tsheadroom_pool_slots_busy") == 0
    busy = 3
    assert metrics.value("tsheadroom_pool_slots_busy") == 3
    assert metrics.value("tsheadroom_pool_slots_total") == 8
    assert metrics.value("tsheadroom_affinity_hits_total") == 5
    assert "# TYPE tsheadroom_affinity_hits_total counter" in metrics.text().decode()
    assert "# TYPE tsheadroom_pool_slots_total gauge" in metrics.text().decode()


def test_a_source_is_not_asked_before_a_scrape() -> None:
    def source() -> list[Metric]:
        raise AssertionError("the pool has not started yet")

    metrics = Metrics()
    metrics.watch(source)
    metrics.record(ended())
    assert metrics.value("tsheadroom_scrape_failures_total") == 0


def test_a_scrape_goes_without_what_fails(caplog: pytest.LogCaptureFixture) -> None:
    def half() -> Iterator[Metric]:
        yield GaugeMetricFamily("good", "Stays.", 1)
        yield GaugeMetricFamily("huge", "No float.", 10**400)
        yield GaugeMetricFamily("fine", "Stays.", 1)
        raise KeyError("SECRET")

    metrics = Metrics()
    metrics.watch(half)
    metrics.watch(lambda: [GaugeMetricFamily("last", "Stays.", 1)])
    for scrape in (1, 2):  # value() collects, too, so it has to be asked without the source
        names = {sample.name for sample in scraped(metrics)}
        assert names >= {"good", "fine", "last", "headroom_requests_total"}
        assert "huge" not in names
        assert metrics.value("tsheadroom_scrape_failures_total") == 2 * scrape
    assert len(caplog.records) == 2  # each is told once


@pytest.mark.parametrize("number", [10**400, -(10**400), 1e308, -1e308])
def test_no_number_of_a_worker_makes_a_sum_infinite(number: float) -> None:
    metrics = Metrics()
    for _ in range(3):
        call = ended(
            slot=0,
            model_limit=number,
            worker_ms=number,
            wait_ms=number,
            tokens_saved=number,
            events={Event.FOLDS_OFF: number},
        )
        metrics.record(call)
        assert len(call.line()) < 300
    assert all(math.isfinite(sample.value) for sample in scraped(metrics))
    assert metrics.value("tsheadroom_scrape_failures_total") == 0


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("zstd", "request(zstd)"),
        ("x-unheard_of", "request(x-unheard_of)"),
        ("gzip, zstd", "request(gzip, zstd)"),
        ("zstd) in_msgs=9 -> modify", "request(zstd? in_msgs?9 -? modify)"),
        ("\x1b[31m\u2028\n\ud800", "request(??31m???)"),
        ("y" * 8000, f"request({'y' * 32})"),
    ],
)
def test_a_coding_cannot_pass_for_the_fields_of_a_line(encoding: str, shown: str) -> None:
    for outcome in (Outcome.NOOP, Outcome.REJECT_ENCODING):
        call = CallRecord(Figures(outcome=outcome), encoding=encoding)
        assert re.match(r"request\([^()]*\)(?= \w+=)", call.line()), call.line()
        assert call.line().startswith(shown)
        assert call.line().isprintable()


def test_dropped_lines_are_counted_by_stream() -> None:
    output = LineOutput(-1, "stderr", room=0)
    output.write("line\n")
    metrics = Metrics()
    metrics.watch(lambda: gauges.of_outputs([output]))
    assert metrics.value("tsheadroom_lines_dropped_total", stream="stderr") == 1
    output.close()


def test_a_window_that_is_only_kept_compressed_is_told() -> None:
    windows = Windows()
    windows.seen("c", 100, 120, 80)
    metrics = Metrics()
    metrics.watch(lambda: gauges.of_windows(windows))
    assert metrics.value("tsheadroom_conversations_fitting_compressed_only") == 1


def test_the_state_of_the_disk_is_told() -> None:
    states = [
        StoreState(trouble="locked", replaced=2, replaced_why="", replaced_s=9.0, refused=3),
        StoreState(trouble=None, replaced=2, replaced_why="", replaced_s=9.0, refused=3),
    ]
    for ok, state in enumerate(states):
        metrics = Metrics()
        metrics.watch(partial(gauges.of_store, state))
        assert metrics.value("tsheadroom_store_ok") == ok
        assert metrics.value("tsheadroom_store_replaced_total") == 2
        assert metrics.value("tsheadroom_store_rows_refused_total") == 3
    assert gauges.of_store(None) == []


def test_bills_are_told_by_provider_model_and_arm() -> None:
    billing = Billing()
    metrics = Metrics()
    metrics.registry.register(BillingCollector(billing))
    assert metrics.value("tsheadroom_cache_hits_behind") == 0
    assert metrics.value("tsheadroom_billed_events_total", outcome="counted") == 0
    billing.events[BillOutcome.UNPRICED] += 2
    assert metrics.value("tsheadroom_billed_events_total", outcome="unpriced") == 2
    billing.forwarded(b"r", Forecast("anthropic", "claude", TREATED, 5, 6, -7))
    billing.billed(b"r", "anthropic", "claude", Bill(0.5, Usage(1, 2, 3, 4)))
    for name, expected in (
        ("turns_total", 1),
        ("dollars_total", 0.5),
        ("input_tokens_total", 1),
        ("output_tokens_total", 2),
        ("cached_tokens_total", 3),
        ("written_tokens_total", 4),
        ("forecast_cached_tokens_total", 5),
        ("forecast_new_tokens_total", 6),
        ("saved_tokens", -7),
    ):
        where = {"provider": "anthropic", "model": "claude", "arm": TREATED}
        assert metrics.value(f"tsheadroom_billed_{name}", **where) == expected, name
