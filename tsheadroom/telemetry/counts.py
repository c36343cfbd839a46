"""Series whose numbers are plain ones, for what is counted with every call.

prometheus_client's own objects take a lock for each number, and look at each bound of a histogram
in Python. All that is counted here is counted on the event loop, and read there at each scrape.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class Count(Collector):
    """A number that only grows. `kind` is the type of its family in the text format.

    The name of a family of kind "counter" is without the `_total` of its series.
    """

    def __init__(self, name: str, text: str, kind: str = "counter") -> None:
        self._name = name
        self._text = text
        self._kind = kind
        self.value = 0.0

    def collect(self) -> Iterator[Metric]:
        """Yield the family."""
        family = Metric(self._name.removesuffix("_total"), self._text, self._kind)
        family.add_sample(self._name, {}, self.value)
        yield family


class LabelledCount(Collector):
    """As Count, one for each value of a label. `values` has those that were counted so far."""

    def __init__(self, name: str, text: str, label: str, kind: str = "counter") -> None:
        self._name = name
        self._text = text
        self._label = label
        self._kind = kind
        self.values: dict[str, float] = {}

    def add(self, value: str, amount: float = 1.0) -> None:
        """Count for this value of the label."""
        self.values[value] = self.values.get(value, 0.0) + amount

    def collect(self) -> Iterator[Metric]:
        """Yield the family."""
        family = Metric(self._name.removesuffix("_total"), self._text, self._kind)
        for value, number in self.values.items():
            family.add_sample(self._name, {self._label: value}, number)
        yield family


class Spread:
    """How many observations were up to each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` grow; the last one is infinite."""
        self._bounds = bounds
        self._numbers = [0] * len(bounds)
        self._sum = 0.0

    def observe(self, amount: float) -> None:
        """Count one observation."""
        self._numbers[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def add_to(self, family: Metric, labels: dict[str, str]) -> None:
        """Add the samples to a histogram's family."""
        number = 0
        for bound, more in zip(self._bounds, self._numbers, strict=True):
            number += more
            le = "+Inf" if bound == math.inf else str(float(bound))
            family.add_sample(f"{family.name}_bucket", {**labels, "le": le}, number)
        family.add_sample(f"{family.name}_count", labels, number)
        family.add_sample(f"{family.name}_sum", labels, self._sum)


class Spreads(Collector):
    """A histogram, or one for each of some values of a label. All are there from the start."""

    def __init__(
        self,
        name: str,
        text: str,
        bounds: Sequence[float],
        label: str = "",
        values: Sequence[str] = ("",),
    ) -> None:
        """`bounds` are those below infinity."""
        self._name = name
        self._text = text
        self._label = label
        self.of = {value: Spread((*bounds, math.inf)) for value in values}

    def collect(self) -> Iterator[Metric]:
        """Yield the family."""
        family = Metric(self._name, self._text, "histogram")
        for value, spread in self.of.items():
            spread.add_to(family, {self._label: value} if self._label else {})
        yield family
