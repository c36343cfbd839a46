"""The series that count hook calls. Each is declared once, with a sentence of help.

Their names are exactly those of the Go daemon. Other parts count some things themselves. Their
numbers are read at each scrape, by way of watch(): gauges.py and billed.py have those series.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from tsheadroom.telemetry.counts import Count, LabelledCount, Spreads
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

C = TypeVar("C", bound=Collector)

_FAILED = frozenset({Outcome.ERROR, Outcome.NO_ROOM, Outcome.READ_ERROR, Outcome.DECODE_ERROR})


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
        count = partial(self._added, Count)
        labelled = partial(self._added, LabelledCount)
        spreads = partial(self._added, Spreads)

        self._requests = count("headroom_requests_total", "Hook calls that came to an end.")
        self._failed = count(
            "headroom_requests_failed_total",
            "Hook calls that ended in an error (the caller's own body went on).",
        )
        # A counter's series would be called `_total`, and the Go daemon's are not.
        self._by_outcome = labelled(
            "tsheadroom_requests_by_outcome",
            "Hook calls by outcome (a counter).",
            "outcome",
            "unknown",
        )
        self._by_provider = labelled(
            "headroom_requests_by_provider",
            "Hook calls by provider (a counter).",
            "provider",
            "unknown",
        )
        self._by_model = labelled(
            "headroom_requests_by_model", "Hook calls by model (a counter).", "model", "unknown"
        )
        self._events = labelled(
            "tsheadroom_events_total", "Things that happened to items or calls.", "event"
        )
        self._tokens_before = count(
            "headroom_tokens_input_total",
            "Tokens of conversations as they came (four bytes a token).",
        )
        self._tokens_saved = count(
            "headroom_tokens_saved_total", "Tokens saved of them, by the forms in force."
        )
        self._tokens_after = count(
            "tsheadroom_tokens_after_total", "Tokens of conversations as they left."
        )
        self._cold_starts = count("tsheadroom_cold_starts_total", "First calls of a worker.")
        self._inbound = count("headroom_inbound_requests_total", "HTTP requests to the hook.")
        self._inbound_done = count(
            "headroom_inbound_requests_completed_total",
            "HTTP requests to the hook that were answered or given up.",
        )
        self.watch(self._overheads)
        self._duration = spreads(
            "tsheadroom_request_seconds", "Duration of hook calls.", BUCKETS
        ).of[""]
        self._phases = spreads(
            "tsheadroom_phase_seconds",
            "Duration of hook calls' phases; worker only where a worker answered.",
            BUCKETS,
            "phase",
            PHASES,
        ).of
        prometheus.ProcessCollector(registry=registry)
        self._left_out = count(
            "tsheadroom_scrape_failures_total",
            "Families of series that a scrape left out because of an error.",
        )
        for outcome in Outcome:
            self._by_outcome.add(outcome.value, 0)
        self._providers = LabelValues(MAX_PROVIDERS)
        self._models = LabelValues(MAX_MODELS)
        self._event_names = LabelValues(MAX_EVENTS)
        self._overhead_ms = 0.0
        self._range_ms = (math.inf, 0.0)  # the least and the most of a call
        self._told: set[str] = set()  # what the log has said of scrapes that failed

    def watch(self, source: Source) -> None:
        """Ask `source` for its series at each scrape."""
        self.registry.register(_Watched(source))

    def _added(self, kind: type[C], *declaration: Any) -> C:
        collector = kind(*declaration)
        self.registry.register(collector)
        return collector

    def inbound_start(self) -> None:
        """Count a request of any kind that reached the hook."""
        self.active += 1
        self._inbound.value += 1

    def inbound_done(self) -> None:
        """Count a request that left the hook, answered or not."""
        self.active -= 1
        self._inbound_done.value += 1

    def record(self, call: CallRecord) -> None:
        """Count one hook call that has ended."""
        figures = call.figures
        self._requests.value += 1
        if figures.outcome in _FAILED:
            self._failed.value += 1
        self._by_outcome.add(figures.outcome.value)
        self._by_provider.add(self._providers.of(figures.provider))
        self._by_model.add(self._models.of(figures.model))
        self._tokens_before.value += sane(call.tokens_before)
        # Workers count tokens, the daemon counts bytes. So with a dense text more tokens can be
        # saved than the daemon thinks have come. A counter must not fall, or Prometheus takes that
        # for a restart. Such a call adds nothing.
        self._tokens_saved.value += sane(figures.tokens_saved)
        self._tokens_after.value += sane(call.tokens_after)
        self._cold_starts.value += figures.cold
        for event, amount in call.events.items():
            self._events.add(self._event_names.of(event), sane(amount))
        self._observe(call)

    def _observe(self, call: CallRecord) -> None:
        self._overhead_ms += call.duration_ms
        least, most = self._range_ms
        if not least <= call.duration_ms <= most:
            self._range_ms = min(least, call.duration_ms), max(most, call.duration_ms)
        self._duration.observe(call.duration_ms / 1000)
        phases = self._phases
        phases["read"].observe(call.read_ms / 1000)
        phases["plan"].observe(call.plan_ms / 1000)
        phases["wait"].observe(sane(call.figures.wait_ms) / 1000)
        phases["write"].observe(call.write_ms / 1000)
        if call.figures.slot >= 0:
            phases["worker"].observe(sane(call.figures.worker_ms) / 1000)

    def _overheads(self) -> Iterable[Metric]:
        calls = self._requests.value
        least, most = self._range_ms if calls else (0.0, 0.0)
        text = "Milliseconds that hook calls took"
        return [
            GaugeMetricFamily(
                "headroom_inbound_requests_active", "HTTP requests in the hook now.", self.active
            ),
            SummaryMetricFamily("headroom_overhead_ms", f"{text}.", int(calls), self._overhead_ms),
            GaugeMetricFamily("headroom_overhead_ms_min", f"{text}, the least.", least),
            GaugeMetricFamily("headroom_overhead_ms_max", f"{text}, the most.", most),
        ]

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
        self._left_out.value += 1
        if name not in self._told:
            self._told.add(name)
            log.error("a scrape goes without these series name=%s", name, exc_info=error)
