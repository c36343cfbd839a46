"""One account of forwarded calls: what they were expected to cost, and what was billed for them."""

from __future__ import annotations

import hashlib

from tsheadroom.aperture.call import HookCall
from tsheadroom.aperture.metadata import Metadata
from tsheadroom.aperture.post_response import PostResponse
from tsheadroom.economy.billing import Billing, BillOutcome, Forecast
from tsheadroom.economy.windows import Windows
from tsheadroom.providers.prices import BYTES_PER_TOKEN, price_of
from tsheadroom.providers.vendor import KnownModel, Vendors
from tsheadroom.telemetry.series import clean_label

# More than a conversation can have. Workers tell what was saved, and a broken one could tell a
# number that makes a sum infinite.
_MAX_TOKENS = 10**9


class Account:
    """Forecasts and bills of one daemon."""

    def __init__(self) -> None:
        self.billing = Billing()
        self.windows = Windows()
        self._vendors = Vendors()

    def model_of(self, call: HookCall) -> KnownModel:
        """The model that a call names, as far as its name and earlier bills tell."""
        return self._vendors.of(call.metadata.provider or "", call.model, call.shape.key)

    def take(self, event: PostResponse | None) -> None:
        """Count what a post-response event says; None is one that could not be read."""
        self.billing.events[self._billed(event)] += 1

    def _billed(self, event: PostResponse | None) -> BillOutcome:
        if event is None:
            return BillOutcome.UNREADABLE
        if event.bill is None:
            return BillOutcome.UNPRICED
        self.billing.refused_amounts += event.bill.refused
        if event.bill.says_nothing:
            return BillOutcome.UNREADABLE
        metadata = event.metadata
        provider, model = metadata.provider or "", metadata.model or ""
        self._vendors.learn(provider, model, event.bill.cost_basis)
        counted = self.billing.billed(
            _id_of(metadata), clean_label(provider), clean_label(model), event.bill
        )
        return BillOutcome.COUNTED if counted else BillOutcome.REPEATED

    def forwarded(
        self, call: HookCall, name: str, arm: str, known: int, grown_by: int, saved: int
    ) -> None:
        """Note that a call went out, in the conversation `name`.

        The provider has seen the first `known` items as they are forwarded now. `grown_by` is in
        bytes (negative if the conversation got shorter), `saved` in tokens.
        """
        provider, model = call.metadata.provider or "", call.model
        came = call.conversation[1] - call.conversation[0]
        left = came + grown_by
        before = call.items[known - 1][1] - call.conversation[0] if known else 0
        cached = before * left // max(1, came)
        self.billing.forwarded(
            _id_of(call.metadata),
            Forecast(
                provider=clean_label(provider),
                model=clean_label(model),
                arm=arm,
                cached_tokens=cached // BYTES_PER_TOKEN,
                new_tokens=(left - cached) // BYTES_PER_TOKEN,
                saved_tokens=max(-_MAX_TOKENS, min(saved, _MAX_TOKENS)),
            ),
        )
        known_model = self.model_of(call)
        price = price_of(known_model.vendor, known_model.name)
        body = (call.body[1] - call.body[0]) // BYTES_PER_TOKEN
        window = price.window if price else 0
        self.windows.seen(name, window, body, body + grown_by // BYTES_PER_TOKEN)


def _id_of(metadata: Metadata) -> bytes:
    """The name of the request: a digest of Aperture's id, so that all take the same memory."""
    request_id = (metadata.request_id or "").encode("utf-8", "surrogatepass")
    return hashlib.blake2b(request_id, digest_size=16).digest() if request_id else b""
