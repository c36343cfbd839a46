"""The series that hook calls are counted in, each declared once, with a sentence of help.

They are prometheus_client's own objects. The names are those of the Go daemon to the letter, which
the library would change in one case: see Untyped. What other parts count themselves is read from
them when somebody scrapes: gauges.py and billed.py say which series those are, and watch() takes
them in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import prometheus_client as prometheus
from prometheus_client.registry import Collector

from tsheadroom.telemetry.record import CallRecord, Outcome

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

# Makes the families that another part knows, with their values at this moment.
Source = Callable[[], Iterable["Metric"]]
# A family of one number, by name, help and value: what the hook makes its own with.

_FAILED = frozenset({Outcome.ERROR, Outcome.READ_ERROR, Outcome.DECODE_ERROR})

# The library adds a series with the moment of creation to every counter, histogram and summary.
# The Go daemon has none, and each would be one more name on every dashboard. It is a switch of the
# whole process, which has no other user of the library.
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # it takes nothing


def clean_label(value: str) -> str:
    """A label value from a request: short, never empty, and UTF-8 (requests carry surrogates)."""
    return value[:MAX_LABEL_LENGTH].encode("utf-8", "replace").decode() or UNKNOWN


class LabelValues:
    """The values of one label that comes from requests: clean, and at most `limit` of them.

    Each value costs memory here and in Prometheus for good, and a caller could make up any number.
    """

    def __init__(self, limit: int) -> None:
        self._known: dict[str, str] = {}
        self._limit = limit

    def of(self, value: str) -> str:
        """`value` as a label; OTHER for a new one when there are `limit` already."""
        if (known := self._known.get(value)) is not None:
            return known
        clean = clean_label(value)
        if clean not in self._known and len(self._known) >= self._limit:
            return OTHER
        return self._known.setdefault(clean, clean)


class Untyped(prometheus.Gauge):
    """A counter without `_total` in its name, as the Go daemon has three.

    The library's Counter would append `_total`, and "gauge" would say that the number may fall. So
    it is shown as a series of no type.
    """

    def collect(self) -> Iterator[Metric]:
        """The gauge's family, with its type taken off."""
        for family in super().collect():
            family.type = "unknown"  # "untyped" in the text format
            yield family


class _Watched(Collector):
    """Asks one source at each scrape; not before, because its part may not have started yet."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterable[Metric]:
        return self._source()


class Metrics:
    """The series of one daemon and the registry that serves them.

    `active` is the number of requests in the hook now.
    """

    def __init__(self) -> None:
        self.active = 0
        self.registry = registry = prometheus.CollectorRegistry()
        counter = partial(prometheus.Counter, registry=registry)
        gauge = partial(prometheus.Gauge, registry=registry)
        untyped = partial(Untyped, registry=registry)
        histogram = partial(prometheus.Histogram, buckets=BUCKETS, registry=registry)

        self._requests = counter("headroom_requests_total", "Hook calls that came to an end.")
        self._failed = counter(
            "headroom_requests_failed_total",
            "Hook calls that ended in an error (the caller's own body went on).",
        )
        self._by_outcome = untyped(
            "tsheadroom_requests_by_outcome", "Hook calls by outcome (a counter).", ["outcome"]
        )
        self._by_provider = untyped(
            "headroom_requests_by_provider", "Hook calls by provider (a counter).", ["provider"]
        )
        self._by_model = untyped(
            "headroom_requests_by_model", "Hook calls by model (a counter).", ["model"]
        )
        self._events = counter(
            "tsheadroom_events_total", "Things that happened to items or calls.", ["event"]
        )
        self._tokens_before = counter(
            "headroom_tokens_input_total",
            "Tokens of conversations as they came (four bytes a token).",
        )
        self._tokens_saved = counter(
            "headroom_tokens_saved_total", "Tokens saved of them, by the forms in force."
        )
        self._tokens_after = counter(
            "tsheadroom_tokens_after_total", "Tokens of conversations as they left."
        )
        self._cold_starts = counter("tsheadroom_cold_starts_total", "First calls of a worker.")
        self._inbound = counter("headroom_inbound_requests_total", "HTTP requests to the hook.")
        self._inbound_done = counter(
            "headroom_inbound_requests_completed_total",
            "HTTP requests to the hook that were answered or given up.",
        )
        gauge("headroom_inbound_requests_active", "HTTP requests in the hook now.").set_function(
            lambda: self.active
        )
        self._overhead = prometheus.Summary(
            "headroom_overhead_ms", "Milliseconds that hook calls took.", registry=registry
        )
        self._least = gauge(
            "headroom_overhead_ms_min", "Milliseconds that hook calls took, the least."
        )
        self._most = gauge(
            "headroom_overhead_ms_max", "Milliseconds that hook calls took, the most."
        )
        self._duration = histogram("tsheadroom_request_seconds", "Duration of hook calls.")
        phases = histogram(
            "tsheadroom_phase_seconds",
            "Duration of hook calls' phases; worker only where a worker answered.",
            ["phase"],
        )
        prometheus.ProcessCollector(registry=registry)
        # Looking up a series by its label is most of what counting it costs, so those that every
        # call needs are looked up once. It also makes them exist, at 0, before the first call.
        self._phases = {phase: phases.labels(phase) for phase in PHASES}
        self._outcomes = {outcome: self._by_outcome.labels(outcome.value) for outcome in Outcome}
        self._providers = LabelValues(MAX_PROVIDERS)
        self._models = LabelValues(MAX_MODELS)
        self._event_names = LabelValues(MAX_EVENTS)
        self._range_ms = (math.inf, 0.0)  # the least and the most: a Gauge cannot be read

    def watch(self, source: Source) -> None:
        """Ask `source` for its series at each scrape."""
        self.registry.register(_Watched(source))

    def inbound_start(self) -> None:
        """A request of any kind reached the hook."""
        self.active += 1
        self._inbound.inc()

    def inbound_done(self) -> None:
        """It left the hook, answered or not."""
        self.active -= 1
        self._inbound_done.inc()

    def record(self, call: CallRecord) -> None:
        """Count one hook call that came to an end."""
        self._requests.inc()
        if call.outcome in _FAILED:
            self._failed.inc()
        self._outcomes[call.outcome].inc()
        self._by_provider.labels(self._providers.of(call.figures.provider)).inc()
        self._by_model.labels(self._models.of(call.figures.model)).inc()
        self._tokens_before.inc(call.tokens_before)
        # Workers count tokens, the daemon bytes: of a dense text more can be saved than is thought
        # to have come. The library refuses to lower a counter, since Prometheus would take that
        # for a restart; such a call adds nothing.
        self._tokens_saved.inc(max(call.figures.tokens_saved, 0))
        self._tokens_after.inc(max(call.tokens_after, 0))
        self._cold_starts.inc(call.figures.cold)
        for event, amount in call.events.items():
            self._events.labels(self._event_names.of(event)).inc(max(amount, 0))
        self._observe(call)

    def _observe(self, call: CallRecord) -> None:
        self._overhead.observe(call.duration_ms)
        least, most = self._range_ms
        if not least <= call.duration_ms <= most:
            self._range_ms = min(least, call.duration_ms), max(most, call.duration_ms)
            self._least.set(self._range_ms[0])
            self._most.set(self._range_ms[1])
        self._duration.observe(call.duration_ms / 1000)
        self._phases["read"].observe(call.read_ms / 1000)
        self._phases["plan"].observe(call.plan_ms / 1000)
        self._phases["wait"].observe(call.figures.wait_ms / 1000)
        self._phases["write"].observe(call.write_ms / 1000)
        if call.figures.slot >= 0:
            self._phases["worker"].observe(call.figures.worker_ms / 1000)

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one series now, None where there is no such series.

        For tests: it collects everything, as a scrape does.
        """
        return self.registry.get_sample_value(name, labels)

    def text(self) -> bytes:
        """All series in the text format."""
        return prometheus.generate_latest(self.registry)
