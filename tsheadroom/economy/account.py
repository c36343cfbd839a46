"""One account of forwarded calls: what they were expected to cost, and what was billed for them."""

from __future__ import annotations

from tsheadroom.aperture.call import Envelope, HookCall
from tsheadroom.aperture.metadata import Metadata
from tsheadroom.economy.billing import Bill, Billing, Forecast, read_bill
from tsheadroom.economy.windows import Windows
from tsheadroom.providers.prices import BYTES_PER_TOKEN, price_of


class Account:
    """Forecasts and bills of one daemon."""

    def __init__(self) -> None:
        self.billing = Billing()
        self.windows = Windows()

    def bill_of(self, metadata: Metadata, *, has_body: bool) -> Bill | None:
        """The bill that an event about an answered request brings; None if this is no such event.

        An event may have a body, as a call has.
        """
        bill = read_bill(bytes(metadata.estimated_cost))
        if bill is None or (has_body and not self.billing.is_event(metadata.request_id, bill)):
            return None
        return bill

    def billed(self, called: HookCall | Envelope, bill: Bill) -> bool:
        """Count a bill. Returns False if it was counted before."""
        metadata = called.metadata
        provider, request_id = metadata.provider or "", metadata.request_id or ""
        return self.billing.billed(request_id, provider, called.model, bill)

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
            call.metadata.request_id or "",
            Forecast(
                provider=provider,
                model=model,
                arm=arm,
                cached_tokens=cached // BYTES_PER_TOKEN,
                new_tokens=(left - cached) // BYTES_PER_TOKEN,
                saved_tokens=saved,
            ),
        )
        price = price_of(provider, model)
        body = (call.body[1] - call.body[0]) // BYTES_PER_TOKEN
        window = price.window if price else 0
        self.windows.seen(name, window, body, body + grown_by // BYTES_PER_TOKEN)
