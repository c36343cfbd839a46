"""Works out what a provider bills for the requests of one conversation, by its prompt cache's rule.

Anthropic writes an entry at each breakpoint and looks for one at most LOOKBACK blocks before each;
the others find any prefix. docs/prompt-cache.md has the sources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tsheadroom.simulate.blocks import Block

LOOKBACK = 20  # blocks
READS = (0.1, 0.05)
"""Prices of a cached token for which results are given, as multiples of an uncached one's."""


@dataclass(slots=True)
class Spent:
    """Tokens of one or more requests, by what they cost."""

    read: int = 0
    written: int = 0
    uncached: int = 0

    def add(self, other: Spent) -> None:
        """Add the tokens of another request."""
        self.read += other.read
        self.written += other.written
        self.uncached += other.uncached

    @property
    def tokens(self) -> int:
        """All tokens, whatever they cost."""
        return self.read + self.written + self.uncached

    def price(self, read: float, write: float) -> float:
        """The price in uncached tokens, at these prices of a cached and of a written one."""
        return read * self.read + write * self.written + self.uncached


def write_price(shape: str) -> float:
    """What a written token costs: 1.25 at Anthropic, as any other token elsewhere."""
    return 1.25 if shape == "messages" else 1.0


class Cache:
    """A provider's prompt cache, as far as one conversation fills it.

    `ttl` is the life of an entry in seconds; 0 means for ever. All requests begin alike, so all
    entries are used again, or expire, together.
    """

    def __init__(self, *, at_breakpoints: bool, ttl: float = 0.0) -> None:
        self._at_breakpoints = at_breakpoints
        self._ttl = ttl
        self._entries: set[bytes] = set()
        self._used = 0.0

    def bill(self, blocks: Sequence[Block], now: float) -> Spent:
        """Bill one request, and keep what it leaves in the cache."""
        if self._ttl and now - self._used > self._ttl:
            self._entries.clear()
        self._used = now
        chain = _chain(blocks)
        if self._at_breakpoints:
            hit, kept = self._explicit(blocks, chain)
        else:
            hit, kept = self._automatic(chain)
        kept = max(hit, kept)
        sizes = [block.tokens for block in blocks]
        return Spent(sum(sizes[:hit]), sum(sizes[hit:kept]), sum(sizes[kept:]))

    def _automatic(self, chain: list[bytes]) -> tuple[int, int]:
        """How many blocks are read from the cache, and how many are in it afterwards."""
        hit = next((i for i, link in enumerate(chain) if link not in self._entries), len(chain))
        self._entries.update(chain[hit:])
        return hit, len(chain)

    def _explicit(self, blocks: Sequence[Block], chain: list[bytes]) -> tuple[int, int]:
        """The same for a cache that is written at breakpoints and looks a little before them."""
        marks = [index for index, block in enumerate(blocks) if block.mark]
        hit = 0
        for mark in reversed(marks):
            near = range(mark, max(-1, mark - LOOKBACK - 1), -1)
            hit = next((i + 1 for i in near if chain[i] in self._entries), 0)
            if hit:
                break
        self._entries.update(chain[mark] for mark in marks)
        return hit, marks[-1] + 1 if marks else 0


def _chain(blocks: Sequence[Block]) -> list[bytes]:
    """For each block a name of all blocks up to it."""
    link, chain = b"", []
    for block in blocks:
        link = hashlib.blake2b(link + block.digest, digest_size=12).digest()
        chain.append(link)
    return chain
