"""The series of what providers billed, from Aperture's post-response events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from tsheadroom.economy.billing import Billing

_LABELS = ("provider", "model", "arm")
_COUNTERS = {
    "turns": "Requests billed.",
    "dollars": "Dollars billed, by Aperture's price list.",
    "input_tokens": "Input tokens billed in full.",
    "cached_tokens": "Input tokens billed as read from the prompt cache.",
    "written_tokens": "Input tokens billed as written to the prompt cache.",
    "output_tokens": "Output tokens billed.",
    "forecast_cached_tokens": "Tokens forecast as cached for the same requests (bytes/4).",
    "forecast_new_tokens": "Tokens forecast as new for the same requests (bytes/4).",
}


class BillingCollector(Collector):
    """Reads a Billing at each scrape. Before the first bill there are no sums."""

    def __init__(self, billing: Billing) -> None:
        self._billing = billing

    def collect(self) -> Iterator[Metric]:
        """Yield the events, a family for each number of a Sum, and the gauge about cache hits."""
        events = CounterMetricFamily(
            "tsheadroom_billed_events", "Post-response events, by outcome.", labels=["outcome"]
        )
        for outcome, amount in self._billing.outcomes():
            events.add_metric([outcome], amount)
        yield events
        yield CounterMetricFamily(
            "tsheadroom_billed_amounts_refused",
            "Tokens and dollars in bills that no request can have, by number.",
            value=self._billing.refused_amounts,
        )
        for name, text in _COUNTERS.items():
            family = CounterMetricFamily(f"tsheadroom_billed_{name}", text, labels=_LABELS)
            yield self._filled(family, name)
        # A gauge, because it falls when forms cost more tokens than they save.
        saved = GaugeMetricFamily(
            "tsheadroom_billed_saved_tokens",
            "Tokens that billed requests were shorter by; negative is a loss.",
            labels=_LABELS,
        )
        yield self._filled(saved, "saved_tokens")
        behind = "1 while compressed conversations hit the prompt cache less than the holdout."
        yield GaugeMetricFamily(
            "tsheadroom_cache_hits_behind", behind, value=float(self._billing.behind)
        )

    def _filled(self, family: CounterMetricFamily | GaugeMetricFamily, name: str) -> Metric:
        for key, total in self._billing:
            family.add_metric(key, getattr(total, name))
        return family
