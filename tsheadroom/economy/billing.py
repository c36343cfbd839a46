"""What providers billed for each request, beside what was forecast when it was forwarded.

Aperture's `entire_request` events have billed tokens and dollars, and the request id of the hook's
call. Calls are remembered until their event comes. The sums are kept by provider, model and arm.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from tsheadroom.aperture.post_response import Bill

log = logging.getLogger(__name__)

# Calls whose bill has not come. Each takes 1.5 KB at most, and bills take seconds.
MAX_WAITING = 5_000
# Bills that are remembered, because one request can bring two events. Each takes 200 bytes.
MAX_BILLED = 20_000
MAX_SERIES = 256  # sums by provider, model and arm; the rest share "other"
TREATED = "treated"
HOLDOUT = "holdout"
UNASKED = "unasked"  # a bill for a call that this daemon does not remember
# A warning needs so many turns in both arms, and so large a difference, or it may be noise.
MIN_TURNS = 200
MAX_BEHIND = 0.05


class BillOutcome(StrEnum):
    """What became of one post-response event."""

    COUNTED = "counted"
    REPEATED = "repeated"  # another event of the same request was counted before
    UNPRICED = "unpriced"  # Aperture has no price for the model, so there is no bill
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What was expected of one forwarded call. Tokens are estimated; both names are labels."""

    provider: str
    model: str
    arm: str
    cached_tokens: int  # of the part of the conversation that was forwarded before
    new_tokens: int  # of the rest
    saved_tokens: int  # how many tokens more the originals have; negative is a loss


@dataclass(slots=True)
class Sum:
    """The sums of one series: all that was billed, and what was forecast for the same calls."""

    turns: int = 0
    dollars: float = 0.0
    input_tokens: int = 0
    cached_tokens: int = 0
    written_tokens: int = 0
    output_tokens: int = 0
    forecast_cached_tokens: int = 0
    forecast_new_tokens: int = 0
    saved_tokens: int = 0

    @property
    def hit_share(self) -> float:
        """Cached tokens as a share of all input tokens."""
        # Aperture's input_tokens do not include the cached and the written ones.
        total = self.input_tokens + self.cached_tokens + self.written_tokens
        return self.cached_tokens / total if total else 0.0


Key = tuple[str, str, str]


@dataclass(slots=True)
class Billing:
    """The forecasts that wait for their bill, and the sums of those that have it.

    Requests go by a name of a few bytes, b"" for one without an id.
    """

    waiting: OrderedDict[bytes, Forecast] = field(default_factory=OrderedDict)
    sums: dict[Key, Sum] = field(default_factory=dict)
    events: Counter[BillOutcome] = field(default_factory=Counter)
    refused_amounts: int = 0  # of tokens or dollars, in bills, that no request can have
    _counted: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    _behind: set[tuple[str, str]] = field(default_factory=set)

    @property
    def behind(self) -> bool:
        """True if, for any model, the treated arm hits the cache less often than the holdout."""
        return bool(self._behind)

    def forwarded(self, request_id: bytes, forecast: Forecast) -> None:
        """Note that a call went out. Its bill will come with the same request id."""
        if not request_id:
            return
        if request_id in self._counted:
            return
        self.waiting[request_id] = forecast
        if len(self.waiting) > MAX_WAITING:
            self.waiting.popitem(last=False)

    def billed(self, request_id: bytes, provider: str, model: str, bill: Bill) -> bool:
        """Count a bill. Returns False if it was counted before.

        A request with tool calls brings an `entire_request` and a `tool_call_entire_request`, both
        with the same usage. An event may also be sent twice.
        """
        if request_id in self._counted:
            return False
        if request_id:
            self._counted[request_id] = None
            if len(self._counted) > MAX_BILLED:
                self._counted.popitem(last=False)
        forecast = self.waiting.pop(request_id, None)
        if forecast is None:
            forecast = Forecast(provider, model, UNASKED, 0, 0, 0)
        total = self._sum((forecast.provider, forecast.model, forecast.arm))
        total.turns += 1
        total.dollars += bill.dollars
        total.input_tokens += bill.usage.input_tokens
        total.cached_tokens += bill.usage.cached_tokens
        total.written_tokens += bill.usage.cache_creation_input_tokens
        total.output_tokens += bill.usage.output_tokens
        total.forecast_cached_tokens += forecast.cached_tokens
        total.forecast_new_tokens += forecast.new_tokens
        total.saved_tokens += forecast.saved_tokens
        self._compare(forecast.provider, forecast.model)
        return True

    def outcomes(self) -> list[tuple[str, int]]:
        """How many events had each outcome; all are named from the start."""
        return [(str(outcome), self.events[outcome]) for outcome in BillOutcome]

    def __iter__(self) -> Iterator[tuple[Key, Sum]]:
        return iter(list(self.sums.items()))

    def _sum(self, key: Key) -> Sum:
        if key not in self.sums and len(self.sums) >= MAX_SERIES:
            key = ("other", "other", key[2])
        return self.sums.setdefault(key, Sum())

    def _compare(self, provider: str, model: str) -> None:
        treated = self.sums.get((provider, model, TREATED), Sum())
        held = self.sums.get((provider, model, HOLDOUT), Sum())
        if min(treated.turns, held.turns) < MIN_TURNS:
            return
        if treated.hit_share >= held.hit_share - MAX_BEHIND:
            self._behind.discard((provider, model))
        elif (provider, model) not in self._behind:
            self._behind.add((provider, model))
            log.warning(
                "compressed conversations hit the prompt cache less than the holdout"
                " provider=%s model=%s treated=%.3f holdout=%.3f; see docs/prompt-cache.md",
                provider,
                model,
                treated.hit_share,
                held.hit_share,
            )
