"""Prices requests by the rules of a provider's prompt cache, at the client's own breakpoints."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.lab import traffic
from scripts.lab.clients.apis import Api
from scripts.lab.clients.apis.parts import Json, Unit, texts
from scripts.lab.clients.prefixes import Prefixes

READ = 0.1  # a cached token, as a multiple of an uncached one; docs/prompt-cache.md has the sources
_WRITES = {"5m": 1.25, "1h": 2.0}
LOOKBACK = 20  # blocks before a breakpoint in which Anthropic's cache looks for an entry


class Bill:
    """What the requests of one client cost. `price` is in uncached tokens."""

    def __init__(self) -> None:
        self.tokens = 0
        self.price = 0.0
        self._cached: set[tuple[str, bytes]] = set()

    def add(self, api: Api, model: str, prefixes: Prefixes) -> None:
        """Add the next request. Each model has a cache of its own."""
        sizes = [_tokens(unit) for unit in prefixes.units]
        names = [(model, name) for name in prefixes.before]
        self.tokens += sum(sizes)
        if not api.at_breakpoints:
            hit = self._longest(names)
            self._cached.update(names)
            self.price += READ * sum(sizes[:hit]) + sum(sizes[hit:])
            return
        marks = [n for n, unit in enumerate(prefixes.units, 1) if unit.life]
        hit = self._before(marks, names)
        self._cached.update(names[mark] for mark in marks)
        last = max([hit, *marks])
        write = _WRITES.get(prefixes.units[last - 1].life, _WRITES["5m"]) if last else 0.0
        self.price += READ * sum(sizes[:hit]) + write * sum(sizes[hit:last]) + sum(sizes[last:])

    def _longest(self, names: Sequence[tuple[str, bytes]]) -> int:
        """How many units are cached, where any prefix is."""
        return max((n for n, name in enumerate(names) if n and name in self._cached), default=0)

    def _before(self, marks: Sequence[int], names: Sequence[tuple[str, bytes]]) -> int:
        """How many units are cached, where only what ends at a breakpoint is."""
        for mark in reversed(marks):
            for n in range(mark, max(0, mark - LOOKBACK - 1), -1):
                if names[n] in self._cached:
                    return n
        return 0


def _tokens(unit: Unit) -> int:
    return traffic.count_tokens("\n".join(_lines(unit.value)))


def _lines(value: Json) -> list[str]:
    """What a model reads of a value: its texts, each with the name of its member."""
    return [
        f"{path[-1]}: {text}" if path and isinstance(path[-1], str) else text
        for path, text in texts((), value)
    ]
