"""What cached and new tokens cost, by vendor and model family: one table, with its date.

Prices are multiples of the vendor's price of an uncached input token, so they stay true when the
list price changes. They are from the vendors' price lists of November 2026, and
`docs/prompt-cache.md` says how they are used. For a model that is not in the table, tokens are
reported and no prices.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from tsheadroom.providers.vendor import Vendor

AS_OF = "2026-11"

# Each provider has its own tokenizer; four bytes a token is the usual estimate. What a form saves
# is counted with a real tokenizer, by the worker.
BYTES_PER_TOKEN = 4

HOUR_S = 3600.0
_HOUR_WRITE = 2.0  # Anthropic's price of an entry that lives for an hour


@dataclass(frozen=True, slots=True)
class Price:
    """The prompt cache of one model family."""

    read: float  # price of a cached token, as a multiple of an uncached one's
    write: float  # price of a token that is written to the cache, likewise
    ttl_s: float  # seconds after which an entry is certainly gone
    explicit: bool  # True if it caches only where the request has breakpoints
    lookback_blocks: int  # an earlier entry is found so many blocks before a breakpoint; 0: any
    binds_thinking: bool  # True if a changed prefix makes the thinking blocks after it invalid
    window: int = 0  # tokens that a request may have; 0: not known

    def of_request(self, *, breakpoints: bool, hour: bool) -> Price:
        """The price of one request. Without breakpoints an explicit cache keeps nothing.

        With `hour` the request asks for entries that live for an hour.
        """
        if not self.explicit:
            return self
        if not breakpoints:
            return replace(self, read=1.0, write=1.0)
        return replace(self, write=_HOUR_WRITE, ttl_s=HOUR_S) if hour else self


@dataclass(frozen=True, slots=True)
class _Row:
    vendor: Vendor
    models: tuple[str, ...]  # parts of the model's name
    price: Price

    def names(self, model: str) -> bool:
        """True if a part stands in the name as a whole: "gpt-5" is in "gpt-5-codex" only."""
        parts = "|".join(map(re.escape, self.models))
        return re.search(rf"(?<![a-z0-9])(?:{parts})(?![0-9])", model) is not None


def _anthropic(read: float, *, binds: bool, window: int = 1_000_000) -> Price:
    return Price(read, 1.25, 300.0, True, 20, binds, window)


def _automatic(read: float, window: int, write: float = 1.0) -> Price:
    # "Minutes to an hour": only after an hour is it certain that nothing is cached.
    return Price(read, write, HOUR_S, False, 0, False, window)


# The first row that fits counts, so newer models stand before the families that they belong to.
_TABLE = (
    _Row(Vendor.ANTHROPIC, ("fable-5-1", "fable-5.1", "mythos-5-1", "mythos-5.1"),
         _anthropic(0.025, binds=True)),
    _Row(Vendor.ANTHROPIC, ("opus-5-5", "opus-5.5", "sonnet-5-5", "sonnet-5.5"),
         _anthropic(0.05, binds=True)),
    _Row(Vendor.ANTHROPIC, ("haiku-5-5", "haiku-5.5"), _anthropic(0.1, binds=True)),
    _Row(Vendor.ANTHROPIC, ("fable-5", "mythos-5", "opus-5", "sonnet-5", "haiku-5"),
         _anthropic(0.1, binds=False)),
    # A million tokens are an opt-in here, which a hook does not see.
    _Row(Vendor.ANTHROPIC, ("claude", "opus", "sonnet", "haiku"),
         _anthropic(0.1, binds=False, window=200_000)),
    _Row(Vendor.OPENAI, ("gpt-5.6", "gpt-5.7", "gpt-6"), _automatic(0.1, 0, 1.25)),
    _Row(Vendor.OPENAI, ("gpt-5",), _automatic(0.1, 400_000)),
    _Row(Vendor.OPENAI, ("gpt-4.1",), _automatic(0.25, 1_047_576)),
    _Row(Vendor.OPENAI, ("o3", "o4"), _automatic(0.25, 200_000)),
    _Row(Vendor.OPENAI, ("gpt-4o",), _automatic(0.5, 128_000)),
    _Row(Vendor.OPENAI, ("o1",), _automatic(0.5, 200_000)),
    _Row(Vendor.GOOGLE, ("gemini-2.5", "gemini-3"), _automatic(0.1, 1_048_576)),
    _Row(Vendor.GOOGLE, ("gemini",), _automatic(0.25, 0)),
)  # fmt: skip


@lru_cache(maxsize=256)
def price_of(vendor: Vendor, model: str) -> Price | None:
    """The price of a model, as providers/vendor.py knows and names it; None if there is no row."""
    return next((row.price for row in _TABLE if row.vendor is vendor and row.names(model)), None)
