"""The series that count hook calls. Each is declared once, with a sentence of help.

They are prometheus_client's own objects. Their names are exactly those of the Go daemon; Untyped is
for names that the library would change. Other parts count some things themselves. Their numbers are
read at each scrape, by way of watch(): gauges.py and billed.py have those series.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import prometheus_client as prometheus
from prometheus_client.registry import Collector

from tsheadroom.telemetry.record import CallRecord, Outcome, sane

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

log = logging.getLogger(__name__)

# The text format of Prometheus. OpenMetrics has rules for names, and the Go daemon's break them.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# How many values a label may have that comes from requests; any more share "other". Aperture fills
# in provider and model from its own configuration, so a real tailnet has a few dozen.
MAX_PROVIDERS = 64
MAX_MODELS = 256
MAX_EVENTS = 256
MAX_LABEL_LENGTH = 128
UNKNOWN = "unknown"
OTHER = "other"

# Seconds. A warm turn takes a few milliseconds. Aperture waits 5 s by default, or 30 s if operators
# have raised that.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

PHASES = ("read", "wait", "worker", "plan", "write")

# Makes families of the numbers that another part has now.
Source = Callable[[], Iterable["Metric"]]

_FAILED = frozenset({Outcome.ERROR, Outcome.NO_ROOM, Outcome.READ_ERROR, Outcome.DECODE_ERROR})

# The library adds a series with the time of creation to every counter, histogram and summary. The
# Go daemon has none of these, and each would be one more name on every dashboard. The switch is for
# the whole process; nothing else in it uses the library.
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # it takes nothing


def clean_label(value: str) -> str:
    """Make a label of a request's text: short, never empty, and printable.

    Each control character, line separator, mark of direction and lone surrogate becomes "?".
    """
    value = value[:MAX_LABEL_LENGTH]
    if not value.isprintable():
        value = "".join(character if character.isprintable() else "?" for character in value)
    return value or UNKNOWN


class LabelValues:
    """The values of one label that comes from requests: clean, and at most `limit` of them.

    Each value takes memory for good, here and in Prometheus, and a caller could invent any number
    of them.
    """

    def __init__(self, limit: int) -> None:
        self._known: dict[str, str] = {}
        self._limit = limit

    def of(self, value: str) -> str:
        """Return `value` as a label, or OTHER if it is new and there are `limit` already."""
        if (known := self._known.get(value)) is not None:
            return known
        clean = clean_label(value)
        if clean not in self._known and len(self._known) >= self._limit:
            return OTHER
        return self._known.setdefault(clean, clean)


class Untyped(prometheus.Gauge):
    """A counter without `_total` in its name. The Go daemon has three of these.

    The library's Counter would add `_total`, and type "gauge" would say that the number may fall.
    So it is shown without a type.
    """

    def collect(self) -> Iterator[Metric]:
        """Yield the gauge's family, without its type."""
        for family in super().collect():
            family.type = "unknown"  # "untyped" in the text format
            yield family


class _Registry(prometheus.CollectorRegistry):
    """A registry that tells its collectors, so that each can be asked by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.collectors: list[Collector] = []

    def register(self, collector: Collector) -> None:
        super().register(collector)
        self.collectors.append(collector)


class _One(Collector):
    """One family, for the library's text format."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


class _Watched(Collector):
    """Asks one source at each scrape, and not before: its part may not have started yet."""

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
        self.registry = registry = _Registry()
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
        self._left_out = counter(
            "tsheadroom_scrape_failures_total",
            "Families of series that a scrape left out because of an error.",
        )
        # To look up a series by its label is most of the work of counting. So the ones that every
        # call needs are looked up once. This also shows them, at 0, before the first call.
        self._phases = {phase: phases.labels(phase) for phase in PHASES}
        self._outcomes = {outcome: self._by_outcome.labels(outcome.value) for outcome in Outcome}
        self._providers = LabelValues(MAX_PROVIDERS)
        self._models = LabelValues(MAX_MODELS)
        self._event_names = LabelValues(MAX_EVENTS)
        self._range_ms = (math.inf, 0.0)  # the least and the most; a Gauge cannot be read back
        self._told: set[str] = set()  # what the log has said of scrapes that failed

    def watch(self, source: Source) -> None:
        """Ask `source` for its series at each scrape."""
        self.registry.register(_Watched(source))

    def inbound_start(self) -> None:
        """Count a request of any kind that reached the hook."""
        self.active += 1
        self._inbound.inc()

    def inbound_done(self) -> None:
        """Count a request that left the hook, answered or not."""
        self.active -= 1
        self._inbound_done.inc()

    def record(self, call: CallRecord) -> None:
        """Count one hook call that has ended."""
        self._requests.inc()
        if call.outcome in _FAILED:
            self._failed.inc()
        self._outcomes[call.outcome].inc()
        self._by_provider.labels(self._providers.of(call.figures.provider)).inc()
        self._by_model.labels(self._models.of(call.figures.model)).inc()
        self._tokens_before.inc(sane(call.tokens_before))
        # Workers count tokens, the daemon counts bytes. So with a dense text more tokens can be
        # saved than the daemon thinks have come. A counter must not fall, or Prometheus takes that
        # for a restart. Such a call adds nothing.
        self._tokens_saved.inc(sane(call.figures.tokens_saved))
        self._tokens_after.inc(sane(call.tokens_after))
        self._cold_starts.inc(call.figures.cold)
        for event, amount in call.events.items():
            self._events.labels(self._event_names.of(event)).inc(sane(amount))
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
        self._phases["wait"].observe(sane(call.figures.wait_ms) / 1000)
        self._phases["write"].observe(call.write_ms / 1000)
        if call.figures.slot >= 0:
            self._phases["worker"].observe(sane(call.figures.worker_ms) / 1000)

    def value(self, name: str, **labels: str) -> float | None:
        """Read the value of one series; None if there is no such series.

        This is for tests: it collects everything, as a scrape does.
        """
        return self.registry.get_sample_value(name, labels)

    def text(self) -> bytes:
        """All series in the text format. What fails is left out, counted, and logged once."""
        pages = [
            page for collector in self.registry.collectors for page in self._pages_of(collector)
        ]
        return b"".join(pages)

    def _pages_of(self, collector: Collector) -> Iterator[bytes]:
        try:
            for family in collector.collect():
                yield self._page_of(family)
        except Exception as error:
            self._leave_out(type(collector).__name__, error)

    def _page_of(self, family: Metric) -> bytes:
        try:
            return prometheus.generate_latest(_One(family))
        except Exception as error:
            self._leave_out(family.name, error)
            return b""

    def _leave_out(self, name: str, error: Exception) -> None:
        self._left_out.inc()
        if name not in self._told:
            self._told.add(name)
            log.error("a scrape goes without these series name=%s", name, exc_info=error)
