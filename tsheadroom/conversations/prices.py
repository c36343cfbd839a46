"""What cached and new tokens cost, by provider and model family: one table, with its date.

Prices are multiples of the provider's price of an uncached input token, so they hold whatever the
list price is. Seen in November 2026 in the providers' price lists; `docs/prompt-cache.md` says how
the table is used. A provider or model that is not in it is reported in tokens, never in money.
"""

from __future__ import annotations

from dataclasses import dataclass

AS_OF = "2026-11"


@dataclass(frozen=True, slots=True)
class Price:
    """The prompt cache of one model family. Multiples of an uncached token; seconds; blocks."""

    read: float
    write: float
    ttl_s: float
    explicit: bool  # caches only where the request has breakpoints
    lookback_blocks: int  # how far before a breakpoint an earlier entry is found; 0: any prefix
    binds_thinking: bool  # a changed prefix invalidates thinking blocks after it


@dataclass(frozen=True, slots=True)
class _Row:
    providers: tuple[str, ...]  # parts of metadata.provider, lower case
    models: tuple[str, ...]  # parts of the model's name
    price: Price


_ANTHROPIC = ("anthropic", "bedrock", "vertex")


def _anthropic(read: float, *, binds: bool) -> Price:
    return Price(read, 1.25, 300.0, explicit=True, lookback_blocks=20, binds_thinking=binds)


def _automatic(read: float, write: float = 1.0) -> Price:
    return Price(read, write, 300.0, explicit=False, lookback_blocks=0, binds_thinking=False)


# The first row that fits counts: newer models before the families they belong to.
_TABLE = (
    _Row(_ANTHROPIC, ("fable-5", "mythos-5"), _anthropic(0.025, binds=True)),
    _Row(_ANTHROPIC, ("opus-5-5", "opus-5.5", "sonnet-5-5", "sonnet-5.5"),
         _anthropic(0.05, binds=True)),
    _Row(_ANTHROPIC, ("haiku-5-5", "haiku-5.5"), _anthropic(0.1, binds=True)),
    _Row(_ANTHROPIC, ("claude",), _anthropic(0.1, binds=False)),
    _Row(("openai", "azure"), ("gpt-5.6", "gpt-5.7", "gpt-6"), _automatic(0.1, 1.25)),
    _Row(("openai", "azure"), ("gpt-5",), _automatic(0.1)),
    _Row(("openai", "azure"), ("gpt-4.1", "o3", "o4"), _automatic(0.25)),
    _Row(("openai", "azure"), ("gpt-4o", "o1"), _automatic(0.5)),
    _Row(("gemini", "google", "vertex"), ("gemini-2.5", "gemini-3"), _automatic(0.1)),
    _Row(("gemini", "google", "vertex"), ("gemini",), _automatic(0.25)),
)  # fmt: skip


def price_of(provider: str, model: str) -> Price | None:
    """The row for Aperture's resolved provider and model; None when they are not in the table."""
    provider, model = provider.lower(), model.lower()
    for row in _TABLE:
        named = any(part in provider for part in row.providers)
        if named and any(part in model for part in row.models):
            return row.price
    return None
