"""Reads Aperture's HookCallData: who calls, and where in the bytes the conversation is."""

from __future__ import annotations

import codecs
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from tsheadroom.aperture import digests, slices
from tsheadroom.aperture.metadata import Metadata, read_metadata
from tsheadroom.aperture.post_response import PostResponse, told_from_call
from tsheadroom.errors import TsheadroomError
from tsheadroom.providers import binding
from tsheadroom.providers.shapes import Shape, shape_of

# How many bytes are checked for UTF-8 in one go. The decoded text is thrown away; a small one stays
# in the processor's cache, which makes the check four times as fast.
_UTF8_STEP = 1 << 16
# What reading hostile bytes may raise.
_UNREADABLE = (slices.SplitError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class CallError(TsheadroomError):
    """The bytes are not a hook call that can be understood. The request goes on as it came."""


class _Head(msgspec.Struct, frozen=True):
    role: str | None = ""
    type: str | None = ""
    execution: msgspec.Raw = msgspec.Raw(b"")  # of OpenAI's tool search: who runs it


_HEAD = msgspec.json.Decoder(_Head)
# Nearly all clients begin a message like this. Any other message is decoded to find its role.
_ROLE_FIRST = {
    role: f'{{"role":"{role}","content":'.encode() for role in ("user", "assistant", "tool")
}
_MODEL = msgspec.json.Decoder(str)


@dataclass(frozen=True, slots=True)
class HookCall:
    """One hook call. Spans are offsets into `data`; `items` are those of the conversation."""

    data: bytes
    metadata: Metadata
    body: slices.Span  # of request_body
    members: dict[str, slices.Span]  # of each member of request_body
    shape: Shape
    conversation: slices.Span  # the array that holds the items
    items: list[slices.Span]
    by_model: list[bool]  # True for each item that the model made
    odd: frozenset[int]  # items with a lone surrogate: never touched

    @property
    def model(self) -> str:
        """The model that Aperture names, else the one in the body; may be empty."""
        return self.metadata.model or _string(self, "model")

    def check_text(self, known: int, respelled: Iterable[int]) -> None:
        """Raise CallError if the bytes are not UTF-8.

        The first `known` items were checked when they were new, and their bytes are the same. Of
        these, only the `respelled` ones are checked again: their breakpoints may be new.
        """
        first = self.items[known][0] if known < len(self.items) else self.conversation[1]
        start = self.conversation[0] if known else first
        pieces = [(0, start), *(self.items[i] for i in respelled if i < known)]
        if not all(_is_utf8(self.data[a:b]) for a, b in [*pieces, (first, len(self.data))]):
            raise CallError("the request is not valid UTF-8")

    def item(self, index: int) -> bytes:
        """The client's own bytes of one item."""
        start, end = self.items[index]
        return self.data[start:end]

    def member(self, name: str) -> bytes:
        """The JSON of a member of the body; null if it is missing."""
        start, end = self.members.get(name, (0, 0))
        return self.data[start:end] or b"null"


@dataclass(frozen=True, slots=True)
class Digests:
    """The names of a call's items, and the canonical form of those whose own bytes differ.

    Both are by the item's index.
    """

    names: list[bytes]
    canonical: dict[int, digests.Canonical]
    renamed: bool = False  # True if something was left out that may be a part of stored names

    @classmethod
    def of(cls, call: HookCall, *, as_of_0_1: bool = False) -> Digests:
        """Hash each item once.

        With `as_of_0_1`, only `cache_control` is left out of the names, as it was up to that
        version: what such a daemon stored is found by these.
        """
        data, starts, key = call.data, [start for start, _ in call.items], call.shape.key
        items = [data[start:end] for start, end in call.items]
        signatures = () if as_of_0_1 else binding.free_signatures(key)
        breakpoints = digests.BREAKPOINTS_OF_0_1 if as_of_0_1 else digests.BREAKPOINTS
        newer = breakpoints[len(digests.BREAKPOINTS_OF_0_1) :]
        rewritten: dict[int, digests.Canonical] = {}
        renamed = False
        for at in digests.respelled(data, *call.conversation, (*breakpoints, *signatures)):
            index = bisect_right(starts, at) - 1
            if index not in rewritten:
                free = binding.free_signatures_of(key, items[index]) if signatures else ()
                renamed = renamed or bool(free) or any(mark in items[index] for mark in newer)
                rewritten[index] = digests.canonical(items[index], free, breakpoints)
        for index, plain in rewritten.items():
            items[index] = plain.data
        return cls(digests.names_of(items), rewritten, renamed)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A call without a conversation, or with one in a shape that is not known."""

    metadata: Metadata
    model: str


def read(data: bytes) -> HookCall | Envelope | PostResponse:
    """Take a hook call apart. Raises CallError if the bytes are not one.

    Returns a PostResponse for an event that an operator sends to the hook's own path.

    It does not check that the bytes are UTF-8; `HookCall.check_text` does.
    """
    try:
        return _take_apart(data, data)
    except _UNREADABLE as error:
        plain = slices.without_lone_surrogates(data)
        if plain is data:
            raise CallError(f"the request cannot be taken apart: {error}") from error
    try:
        return _take_apart(data, plain)
    except _UNREADABLE as error:
        raise CallError(f"the request cannot be taken apart: {error}") from error


def _take_apart(data: bytes, plain: bytes) -> HookCall | Envelope | PostResponse:
    """`plain` is `data`, or of the same length but without what msgspec refuses."""
    outer = slices.members(plain)
    metadata = read_metadata(plain, outer)
    event = told_from_call(plain, outer, metadata)
    if event is not None:
        return event
    body = outer.get("request_body")
    if body is None or plain[body[0] : body[1]] == b"null":
        return Envelope(metadata, metadata.model or "")
    inner = slices.members(plain, body)
    shape = shape_of(inner)
    if shape is None or plain[inner[shape.key][0]] != ord("["):
        return Envelope(metadata, metadata.model or "")
    where = inner[shape.key]
    items = slices.elements(plain, where)
    odd = (i for i, (a, b) in enumerate(items) if plain is not data and data[a:b] != plain[a:b])
    return HookCall(
        data=data,
        metadata=metadata,
        body=body,
        members=inner,
        shape=shape,
        conversation=where,
        items=items,
        by_model=_made_by_model(shape, plain, items),
        odd=frozenset(odd),
    )


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _UTF8_STEP):
            decoder.decode(data[start : start + _UTF8_STEP])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _made_by_model(shape: Shape, data: bytes, items: list[slices.Span]) -> list[bool]:
    """For each item whether the model made it."""
    common = [(start, shape.by_model(role, "")) for role, start in _ROLE_FIRST.items()]

    def made(start: int, end: int) -> bool:
        for beginning, by_model in common:
            if data.startswith(beginning, start):
                return by_model
        head = _HEAD.decode(data[start:end])
        at_provider = bytes(head.execution) == b'"server"'
        return shape.by_model(head.role or "", head.type or "", at_provider=at_provider)

    return [made(start, end) for start, end in items]


def _string(call: HookCall, name: str) -> str:
    try:
        return _MODEL.decode(call.member(name))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
