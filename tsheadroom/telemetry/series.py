"""Every Prometheus series of the daemon, declared in one place.

The numbers are plain Python values that the event loop's thread alone changes, so counting one
request takes a few microseconds; prometheus_client sees them only when somebody scrapes. The
names are those of the Go daemon to the letter, which is why a collector makes the families: the
library's own Counter would rename them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
    UntypedMetricFamily,
)
from prometheus_client.registry import Collector

from tsheadroom.telemetry.record import Outcome, Record

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

# The text format without OpenMetrics' rules for names, which the Go daemon's names break.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Distinct values of a label that comes from requests; the rest share "other". Aperture fills in
# provider and model from its own configuration, so a real tailnet has a few dozen.
MAX_PROVIDERS = 64
MAX_MODELS = 256
MAX_EVENTS = 256
MAX_LABEL_LENGTH = 128
UNKNOWN = "unknown"
OTHER = "other"

# Seconds. A warm turn takes single milliseconds, Aperture's patience ends at 5 s by default and
# at 30 s where operators raised it.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

PHASES = ("read", "wait", "worker", "plan", "write")

_FAILED = frozenset({Outcome.ERROR, Outcome.READ_ERROR, Outcome.DECODE_ERROR})


def clean_label(value: str) -> str:
    """A label value from a request: short, never empty, and UTF-8 (requests carry surrogates)."""
    return value[:MAX_LABEL_LENGTH].encode("utf-8", "replace").decode() or UNKNOWN


class Labels:
    """Counts by the values of one label, which are clean, never empty and bounded in number."""

    def __init__(self, limit: int, known: tuple[str, ...] = ()) -> None:
        self.counts: dict[str, int] = dict.fromkeys(known, 0)
        self._limit = limit

    def add(self, value: str, amount: int = 1) -> None:
        counts = self.counts
        if value in counts:
            counts[value] += amount
            return
        clean = clean_label(value)
        if clean not in counts and len(counts) >= self._limit:
            clean = OTHER
        counts[clean] = counts.get(clean, 0) + amount


class Histogram:
    """Observations in seconds, by BUCKETS."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        result: list[tuple[str, float]] = []
        seen = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            seen += count
            result.append((bound, seen))
        return result


@dataclass(slots=True)
class Overhead:
    """Milliseconds that requests spent in the hook."""

    total: float = 0.0
    count: int = 0
    least: float = 0.0
    most: float = 0.0

    def add(self, value: float) -> None:
        self.least = value if self.count == 0 else min(self.least, value)
        self.most = max(self.most, value)
        self.total += value
        self.count += 1


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that another part knows; read at each scrape."""

    name: str
    help: str
    value: float
    counter: bool = False


GaugeSource = Callable[[], list[Gauge]]


class Metrics(Collector):
    """The counts of one daemon and the registry that serves them."""

    def __init__(self) -> None:
        self.requests = 0
        self.failed = 0
        self.tokens_before = 0
        self.tokens_saved = 0
        self.tokens_after = 0
        self.cold_starts = 0
        self.inbound = 0
        self.inbound_done_count = 0
        self.overhead = Overhead()
        self.duration = Histogram()
        self.phases = {phase: Histogram() for phase in PHASES}
        self.providers = Labels(MAX_PROVIDERS)
        self.models = Labels(MAX_MODELS)
        self.outcomes = Labels(len(Outcome), tuple(Outcome))
        self.events = Labels(MAX_EVENTS)
        self._sources: list[GaugeSource] = []
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def watch(self, source: GaugeSource) -> None:
        """Ask `source` for its gauges at each scrape."""
        self._sources.append(source)

    def inbound_start(self) -> None:
        """A request of any kind reached the hook."""
        self.inbound += 1

    def inbound_done(self) -> None:
        """It left the hook, answered or not."""
        self.inbound_done_count += 1

    @property
    def active(self) -> int:
        """Requests in the hook now."""
        return self.inbound - self.inbound_done_count

    def record(self, record: Record) -> None:
        """Count one hook call that came to an end."""
        figures = record.figures
        self.requests += 1
        if record.outcome in _FAILED:
            self.failed += 1
        self.outcomes.add(record.outcome)
        self.providers.add(figures.provider)
        self.models.add(figures.model)
        self.tokens_before += record.tokens_before
        self.tokens_saved += figures.tokens_saved
        self.tokens_after += record.tokens_after
        self.cold_starts += figures.cold
        self.overhead.add(record.duration_ms)
        self._observe(record)
        for name, amount in record.events.items():
            self.events.add(name, amount)

    def _observe(self, record: Record) -> None:
        self.duration.observe(record.duration_ms / 1000)
        phases, figures = self.phases, record.figures
        phases["read"].observe(record.read_ms / 1000)
        phases["plan"].observe(record.plan_ms / 1000)
        phases["wait"].observe(figures.wait_ms / 1000)
        phases["write"].observe(record.write_ms / 1000)
        if figures.slot >= 0:
            phases["worker"].observe(figures.worker_ms / 1000)

    def text(self) -> bytes:
        """All series in the text format."""
        return generate_latest(self.registry)

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask parts that have not started yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families, for prometheus_client."""
        yield from self._totals()
        yield from self._overhead()
        yield from self._by_label()
        yield from self._latency()
        for source in self._sources:
            for gauge in source():
                family = CounterMetricFamily if gauge.counter else GaugeMetricFamily
                yield family(gauge.name, gauge.help, value=gauge.value)

    def _totals(self) -> Iterator[Metric]:
        for name, text, value in (
            ("headroom_requests_total", "Hook calls that came to an end.", self.requests),
            (
                "headroom_requests_failed_total",
                "Hook calls that ended in an error (the caller's own body went on).",
                self.failed,
            ),
            (
                "headroom_tokens_input_total",
                "Tokens of conversations as they came (four bytes a token).",
                self.tokens_before,
            ),
            (
                "headroom_tokens_saved_total",
                "Tokens saved of them, by the forms in force.",
                self.tokens_saved,
            ),
            (
                "tsheadroom_tokens_after_total",
                "Tokens of conversations as they left.",
                self.tokens_after,
            ),
            ("tsheadroom_cold_starts_total", "First calls of a worker.", self.cold_starts),
            ("headroom_inbound_requests_total", "HTTP requests to the hook.", self.inbound),
            (
                "headroom_inbound_requests_completed_total",
                "HTTP requests to the hook that were answered or given up.",
                self.inbound_done_count,
            ),
        ):
            yield CounterMetricFamily(name, text, value=value)
        yield GaugeMetricFamily(
            "headroom_inbound_requests_active",
            "HTTP requests in the hook now.",
            value=self.active,
        )

    def _overhead(self) -> Iterator[Metric]:
        name, seen = "headroom_overhead_ms", self.overhead
        text = "Milliseconds that hook calls took"
        yield SummaryMetricFamily(name, f"{text}.", count_value=seen.count, sum_value=seen.total)
        yield GaugeMetricFamily(f"{name}_min", f"{text}, the least.", value=seen.least)
        yield GaugeMetricFamily(f"{name}_max", f"{text}, the most.", value=seen.most)

    def _by_label(self) -> Iterator[Metric]:
        # Counters without _total in their names: only "untyped" lets the library keep them.
        yield _labelled("headroom_requests_by_provider", "provider", self.providers.counts)
        yield _labelled("headroom_requests_by_model", "model", self.models.counts)
        yield _labelled("tsheadroom_requests_by_outcome", "outcome", self.outcomes.counts)
        events = CounterMetricFamily(
            "tsheadroom_events_total", "Things that happened to items or calls.", labels=["event"]
        )
        for name, count in self.events.counts.items():
            events.add_metric([name], count)
        yield events

    def _latency(self) -> Iterator[Metric]:
        whole = HistogramMetricFamily("tsheadroom_request_seconds", "Duration of hook calls.")
        whole.add_metric([], self.duration.cumulative(), self.duration.total)
        yield whole
        phases = HistogramMetricFamily(
            "tsheadroom_phase_seconds",
            "Duration of hook calls' phases; worker only where a worker answered.",
            labels=["phase"],
        )
        for name, histogram in self.phases.items():
            phases.add_metric([name], histogram.cumulative(), histogram.total)
        yield phases


def _labelled(name: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = UntypedMetricFamily(name, f"Hook calls by {label} (a counter).", labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
