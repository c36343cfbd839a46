"""Whose model a call goes to. Whoever depends on that asks here.

`metadata.provider` does not say it: that is a key of the operator's, such as "corp". A bill does,
because it names the price list that was used (`cost_basis`: "anthropic/claude-sonnet-4-6"). Until
one has come, the model's name has to do.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

MAX_LEARNT = 1_000  # models, and providers, that bills have told; each takes 500 bytes
_MAX_NAME = 128  # characters; longer names are cut


class Vendor(StrEnum):
    """Who made a model. Its prompt cache works by the same rules wherever it is served."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    GOOGLE = "google"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model as far as it is known. `name` is in lower case; a bill's name replaces an alias."""

    vendor: Vendor
    name: str

    @property
    def by_anthropic(self) -> bool:
        """True if it is one of Anthropic's, which cache only at breakpoints."""
        return self.vendor is Vendor.ANTHROPIC


# "us.anthropic.claude-sonnet-4-5-v1:0", "publishers/anthropic/models/...", "models/gemini-2.5".
# The first name in a name counts.
_NAMES = re.compile(
    r"(?P<anthropic>claude|anthropic)|(?P<google>gemini)"
    r"|(?<![a-z0-9])(?P<openai>(?:chat)?gpt-?\d|chatgpt|codex-|o[134](?![a-z0-9]))"
)
# Without "claude" these are names of Anthropic's in a body of its shape only.
_FAMILIES = re.compile(r"(?<![a-z])(?:fable|mythos|opus|sonnet|haiku)-\d")
_ANTHROPIC_SHAPE = "messages"
# Price lists of vendors themselves. Any other one ("bedrock-us", "openrouter") has many makers.
_OWN_LISTS = {vendor.value: vendor for vendor in Vendor if vendor}


class Vendors:
    """Whose models are behind an operator's providers, as bills tell it."""

    def __init__(self) -> None:
        self._models: OrderedDict[tuple[str, str], KnownModel] = OrderedDict()
        self._providers: OrderedDict[str, Vendor] = OrderedDict()

    def learn(self, provider: str, model: str, cost_basis: str) -> None:
        """Note what a bill says of a model: "price list/model". An empty one says nothing."""
        provider, model = provider[:_MAX_NAME], model[:_MAX_NAME]
        basis = cost_basis.lower()[: 2 * _MAX_NAME]
        price_list, _, name = basis.partition("/")
        own = _OWN_LISTS.get(price_list, Vendor.UNKNOWN)
        vendor = _by_name(name or basis) or own
        if model and vendor:
            _keep(self._models, (provider, model), KnownModel(vendor, name or basis))
        # A list of many makers' models, or a second vendor's, and the provider names no vendor.
        if own and self._providers.get(provider, own) is own:
            _keep(self._providers, provider, own)
        elif basis and provider in self._providers:
            _keep(self._providers, provider, Vendor.UNKNOWN)

    def of(self, provider: str, model: str, shape: str) -> KnownModel:
        """What is known of a model.

        `provider` and `model` are Aperture's names, `shape` the member of the body that has the
        conversation.
        """
        provider, model = provider[:_MAX_NAME], model[:_MAX_NAME]
        billed = self._models.get((provider, model))
        if billed is not None:
            return billed
        name = model.lower()
        vendor = _by_name(name)
        if not vendor and shape == _ANTHROPIC_SHAPE and _FAMILIES.search(name):
            vendor = Vendor.ANTHROPIC
        return KnownModel(vendor or self._providers.get(provider, Vendor.UNKNOWN), name)


def _by_name(name: str) -> Vendor:
    found = _NAMES.search(name)
    return Vendor(found.lastgroup) if found and found.lastgroup else Vendor.UNKNOWN


def _keep(known: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > MAX_LEARNT:
        known.popitem(last=False)
