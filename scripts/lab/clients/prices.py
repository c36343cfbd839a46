"""Prices a client's requests by its provider's prompt cache, at the client's own breakpoints."""

from __future__ import annotations

from scripts.lab import traffic
from scripts.lab.clients.apis import Api
from scripts.lab.clients.prefixes import Prefixes
from tsheadroom.simulate.blocks import Block, Counter
from tsheadroom.simulate.prompt_cache import READS, Cache, write_price

READ = READS[0]
_COUNTER = Counter(traffic.count_tokens)


class Bill:
    """What the requests of one client cost. `price` is in uncached tokens."""

    def __init__(self) -> None:
        self.tokens = 0
        self.price = 0.0
        self._caches: dict[str, Cache] = {}

    def add(self, api: Api, model: str, prefixes: Prefixes) -> None:
        """Add the next request. Each model has a cache of its own."""
        cache = self._caches.setdefault(model, Cache(at_breakpoints=api.shape == "messages"))
        spent = cache.bill(_blocks(prefixes), now=0.0)
        self.tokens += spent.tokens
        self.price += spent.price(READ, write_price(api.shape))


def _blocks(prefixes: Prefixes) -> list[Block]:
    return [
        Block(name, _COUNTER.read(unit.value), unit.mark)
        for unit, name in zip(prefixes.units, prefixes.before[1:], strict=True)
    ]
