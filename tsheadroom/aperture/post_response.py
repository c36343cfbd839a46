"""Aperture's post-response events, and how one is told from a hook call.

An event says what a request cost that the provider has answered. It is the same JSON object as a
hook call, and no field names its kind. Events should come to a path of their own (`/bills`). If an
operator sends both to one, an event is known by what nobody can say of a request that has not gone
out yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec

from tsheadroom.aperture.metadata import Metadata, find_metadata, short
from tsheadroom.aperture.slices import Span

_T = TypeVar("_T")

# More than one request can use or cost. Without a bound, one odd event would spoil a sum for good.
Tokens = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Dollars = Annotated[float, msgspec.Meta(ge=0, le=10**6)]

# Members of HookCallData that only post-response events have.
_OF_EVENTS = ("response_body", "raw_responses", "tool_calls")
_NOTHING = frozenset({b"null", b'""', b"[]", b"{}"})


class Usage(msgspec.Struct, frozen=True):
    """Billed tokens. Aperture does not send a field that is zero."""

    input_tokens: Tokens = 0
    output_tokens: Tokens = 0
    cached_tokens: Tokens = 0
    cache_creation_input_tokens: Tokens = 0

    @property
    def answered(self) -> bool:
        """True if only a request that was answered can have it: an estimate has input alone."""
        return bool(self.output_tokens or self.cached_tokens or self.cache_creation_input_tokens)


class Bill(msgspec.Struct, frozen=True):
    """What was billed for one request: `metadata.estimated_cost` of an event."""

    dollars: float
    usage: Usage
    cost_basis: str = ""  # whose price list was used: "anthropic/claude-sonnet-4-6"
    refused: int = 0  # amounts that no request can have; they are 0 here

    @property
    def says_nothing(self) -> bool:
        """True if every amount that it has was refused."""
        return self.refused > 0 and not self.dollars and self.usage == Usage()


_NULL = b"null"
_MAX_AMOUNT = 40  # characters; Python itself refuses numbers of some thousand
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DOLLARS = msgspec.json.Decoder(Dollars)
_TOKENS = msgspec.json.Decoder(Tokens)
_TEXT = msgspec.json.Decoder(str)
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class PostResponse:
    """An event about a request that was answered. `bill` is None if the model has no price."""

    metadata: Metadata
    bill: Bill | None

    @classmethod
    def of(cls, metadata: Metadata) -> PostResponse:
        """The event with this metadata."""
        return cls(metadata, read_bill(bytes(metadata.estimated_cost)))


def read_bill(raw: bytes) -> Bill | None:
    """Read an `estimated_cost`; None if it is no bill.

    An estimate without `usage` is not a bill: a call that has not gone out yet may have one. What
    is no object counts as one amount that was refused. Raises nothing.
    """
    if raw in _NOTHING or not raw:
        return None
    cost = _decoded(_OBJECT, raw)
    if cost is None:
        return Bill(0.0, Usage(), refused=1)
    said = bytes(cost.get("usage", _NULL))
    if said == _NULL:
        return None
    used = _decoded(_OBJECT, said)
    amounts = {name: _amount(_TOKENS, used or {}, name) for name in Usage.__struct_fields__}
    dollars = _amount(_DOLLARS, cost, "dollars")
    basis = _decoded(_TEXT, bytes(cost.get("cost_basis", _NULL)))
    return Bill(
        dollars or 0.0,
        Usage(**{name: amount or 0 for name, amount in amounts.items()}),
        short(basis or ""),
        [*amounts.values(), dollars, used].count(None),
    )


def _amount(
    decoder: msgspec.json.Decoder[_T], members: Mapping[str, msgspec.Raw], name: str
) -> _T | int | None:
    """The amount of this name, 0 if it is missing; None if no request can have it."""
    raw = bytes(members.get(name, _NULL))
    if raw == _NULL:
        return 0
    return _decoded(decoder, raw) if len(raw) <= _MAX_AMOUNT else None


def _decoded(decoder: msgspec.json.Decoder[_T], raw: bytes) -> _T | None:
    try:
        return decoder.decode(raw)
    except _UNREADABLE:
        return None


def read_event(data: bytes) -> PostResponse | None:
    """Read what came as an event; None if it cannot be read. Raises nothing."""
    metadata = find_metadata(data)
    return None if metadata is None else PostResponse.of(metadata)


def told_from_call(
    data: bytes, members: Mapping[str, Span], metadata: Metadata
) -> PostResponse | None:
    """The event, if a HookCallData with these members is certainly one; None for a hook call.

    A call may carry an estimate of its cost, and an event the request's body. So neither alone
    tells them apart.
    """

    def has(name: str) -> bool:
        span = members.get(name)
        return span is not None and data[span[0] : span[1]] not in _NOTHING

    cost = bytes(metadata.estimated_cost)
    priced = bool(cost) and cost != b"null"
    if not priced and not any(name in members for name in _OF_EVENTS):
        return None  # nearly all calls
    event = PostResponse.of(metadata)
    answered = event.bill is not None and event.bill.usage.answered
    bodiless = priced and not has("request_body")
    return event if answered or bodiless or any(map(has, _OF_EVENTS)) else None
