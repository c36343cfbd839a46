"""The series that dashboards are built on."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tsheadroom.telemetry import series as module
from tsheadroom.telemetry.record import Outcome, Summary
from tsheadroom.telemetry.series import Gauge, Metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

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


def scrape(metrics: Metrics) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return scrape(metrics)[name, tuple(sorted(labels.items()))]


def test_every_series_of_the_reference_is_there_to_the_letter() -> None:
    metrics = Metrics()
    metrics.record(Summary(provider="anthropic", model="claude"))
    names = {name for name, _ in scrape(metrics)}
    assert names >= REFERENCE
    assert not [name for name in names if name.endswith("_created")]


def test_a_line_is_written_as_the_reference_writes_it() -> None:
    metrics = Metrics()
    metrics.record(Summary(outcome=Outcome.MODIFY, provider="anthropic", model="claude"))
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
        assert value(Metrics(), "tsheadroom_requests_by_outcome", outcome=outcome) == 0


def test_a_summary_is_counted() -> None:
    metrics = Metrics()
    for duration in (10.0, 2.0, 30.0):
        metrics.record(
            Summary(
                outcome=Outcome.MODIFY,
                provider="anthropic",
                model="claude",
                duration_ms=duration,
                tokens_before=100,
                tokens_saved=30,
                tokens_after=70,
                cold=duration == 2.0,
                notes={"folds_off": 2},
            )
        )
    assert value(metrics, "headroom_requests_total") == 3
    assert value(metrics, "headroom_requests_failed_total") == 0
    assert value(metrics, "headroom_tokens_input_total") == 300
    assert value(metrics, "headroom_tokens_saved_total") == 90
    assert value(metrics, "tsheadroom_tokens_after_total") == 210
    assert value(metrics, "tsheadroom_cold_starts_total") == 1
    assert value(metrics, "headroom_overhead_ms_sum") == 42
    assert value(metrics, "headroom_overhead_ms_count") == 3
    assert value(metrics, "headroom_overhead_ms_min") == 2
    assert value(metrics, "headroom_overhead_ms_max") == 30
    assert value(metrics, "headroom_requests_by_provider", provider="anthropic") == 3
    assert value(metrics, "headroom_requests_by_model", model="claude") == 3
    assert value(metrics, "tsheadroom_requests_by_outcome", outcome="modify") == 3
    assert value(metrics, "tsheadroom_events_total", event="folds_off") == 6


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
    metrics.record(Summary(outcome=outcome))
    assert value(metrics, "headroom_requests_failed_total") == failed


def test_requests_in_the_hook() -> None:
    metrics = Metrics()
    metrics.inbound_start()
    metrics.inbound_start()
    metrics.inbound_done()
    assert value(metrics, "headroom_inbound_requests_total") == 2
    assert value(metrics, "headroom_inbound_requests_completed_total") == 1
    assert value(metrics, "headroom_inbound_requests_active") == 1


def test_empty_labels_read_unknown() -> None:
    metrics = Metrics()
    metrics.record(Summary())
    metrics.record(Summary())
    assert value(metrics, "headroom_requests_by_provider", provider="unknown") == 2
    assert value(metrics, "headroom_requests_by_model", model="unknown") == 2


def test_labels_from_requests_are_bounded_in_number_and_length() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.record(Summary(provider=f"p{number}", model=f"m{number}" * 100))
    models = {labels: count for (name, labels), count in scrape(metrics).items() if "model" in name}
    assert len(models) == module.MAX_MODELS + 1
    assert sum(models.values()) == 1000
    assert value(metrics, "headroom_requests_by_model", model="other") == 1000 - module.MAX_MODELS
    assert value(metrics, "headroom_requests_by_provider", provider="p0") == 1
    assert max(len(labels[0][1]) for labels in models) <= module.MAX_LABEL_LENGTH


@pytest.mark.parametrize("odd", ["\ud800", 'quo"te', "back\\slash", "new\nline", "\x00"])
def test_odd_labels_do_not_break_the_page(odd: str) -> None:
    metrics = Metrics()
    metrics.record(Summary(model=odd))
    shown = odd.encode("utf-8", "replace").decode()
    assert value(metrics, "headroom_requests_by_model", model=shown) == 1


def test_phases_have_histograms() -> None:
    metrics = Metrics()
    metrics.record(
        Summary(
            duration_ms=100, read_ms=3, plan_ms=4, wait_ms=32.5, write_ms=0.5, worker_ms=60, slot=0
        )
    )
    metrics.record(Summary(duration_ms=3, read_ms=3))  # no worker
    for phase, count, seconds in (
        ("read", 2, 0.006),
        ("plan", 2, 0.004),
        ("write", 2, 0.0005),
        ("worker", 1, 0.060),
        ("wait", 2, 0.0325),
    ):
        assert value(metrics, "tsheadroom_phase_seconds_count", phase=phase) == count
        total = value(metrics, "tsheadroom_phase_seconds_sum", phase=phase)
        assert total == pytest.approx(seconds)
    assert value(metrics, "tsheadroom_phase_seconds_bucket", phase="read", le="0.0025") == 0
    assert value(metrics, "tsheadroom_phase_seconds_bucket", phase="read", le="0.005") == 2
    assert value(metrics, "tsheadroom_request_seconds_bucket", le="0.1") == 2
    assert value(metrics, "tsheadroom_request_seconds_bucket", le="+Inf") == 2


def test_gauges_of_other_parts_are_read_at_each_scrape() -> None:
    metrics = Metrics()
    busy = 0

    def source() -> list[Gauge]:
        return [
            Gauge("tsheadroom_pool_slots_total", "Slots.", 8),
            Gauge("tsheadroom_pool_slots_busy", "Busy.", busy),
            Gauge("tsheadroom_affinity_hits_total", "Hits.", 5, counter=True),
        ]

    metrics.watch(source)
    assert value(metrics, "tsheadroom_pool_slots_busy") == 0
    busy = 3
    assert value(metrics, "tsheadroom_pool_slots_busy") == 3
    assert value(metrics, "tsheadroom_pool_slots_total") == 8
    assert value(metrics, "tsheadroom_affinity_hits_total") == 5
