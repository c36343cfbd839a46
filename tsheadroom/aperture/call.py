"""Reads Aperture's HookCallData: who calls, and where in the bytes the conversation is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from tsheadroom.aperture import digests, slices
from tsheadroom.aperture.metadata import Metadata, read_metadata
from tsheadroom.aperture.outline import Found
from tsheadroom.aperture.post_response import PostResponse, told_from_call
from tsheadroom.aperture.utf8 import is_utf8
from tsheadroom.aperture.walk import Walk
from tsheadroom.errors import TsheadroomError
from tsheadroom.providers.shapes import SHAPES, Shape, shape_of

# Ten times as many as the longest conversations have. What follows them is left alone.
MAX_ITEMS = 20_000
# What reading hostile bytes may raise.
_UNREADABLE = (slices.SplitError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_NULL = b"null"


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
_STRING = msgspec.json.Decoder(str)
_LONGEST_WORD = 1000  # bytes; roles and types are shorter


@dataclass(frozen=True, slots=True)
class HookCall:
    """One hook call. Spans are offsets into `data`; `items` are those of the conversation.

    An item may be any JSON value, and need not be UTF-8. Whoever cannot read one leaves it alone.
    """

    data: bytes
    metadata: Metadata
    body: slices.Span  # of request_body
    members: dict[str, slices.Span]  # of each member of request_body
    shape: Shape
    conversation: slices.Span  # the array that holds the items
    items: Sequence[slices.Span]
    by_model: bytes  # a byte for each item: 1 if the model made it
    is_cut: bool = False  # True if there are more items than MAX_ITEMS, and only these are here
    is_utf8: bool = True  # False if a byte anywhere in the call is not
    known: Found | None = None  # the part that an earlier call had, so that it was not read again

    @property
    def model(self) -> str:
        """The model that Aperture names, else the one in the body; may be empty."""
        return self.metadata.model or _string(self, "model")

    def item(self, index: int) -> bytes:
        """The client's own bytes of one item."""
        start, end = self.items[index]
        return self.data[start:end]

    def member(self, name: str) -> bytes:
        """The JSON of a member of the body; null if it is missing."""
        start, end = self.members.get(name, (0, 0))
        return self.data[start:end] or b"null"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A call without a conversation, or with one in a shape that is not known."""

    metadata: Metadata
    model: str


@dataclass(frozen=True, slots=True)
class _Parts:
    """Where the members of a hook call and of its body are, and the items of its conversations."""

    outer: dict[str, slices.Span]
    inner: dict[str, slices.Span] | None  # None if there is no body
    items: dict[str, list[slices.Span]]  # by the body's member that holds them
    problem: str = ""  # why the body cannot be taken apart


def read(data: bytes) -> HookCall | Envelope | PostResponse:
    """Take a hook call apart. Raises CallError if the bytes are not one.

    Returns a PostResponse for an event that an operator sends to the hook's own path.
    """
    try:
        parts = _parts(data)
        metadata = read_metadata(data, parts.outer)
    except slices.SplitError as error:
        raise CallError(f"the request cannot be taken apart: {error}") from error
    event = told_from_call(data, parts.outer, metadata)
    if event is not None:
        return event
    if parts.problem:
        raise CallError(f"the request cannot be taken apart: {parts.problem}")
    shape = shape_of(parts.inner or ())
    if parts.inner is None or shape is None or shape.key not in parts.items:
        return Envelope(metadata, metadata.model or "")
    items = parts.items[shape.key]
    return HookCall(
        data=data,
        metadata=metadata,
        body=parts.outer["request_body"],
        members=parts.inner,
        shape=shape,
        conversation=parts.inner[shape.key],
        items=items[:MAX_ITEMS],
        by_model=_made_by_model(shape, data, items[:MAX_ITEMS]),
        is_cut=len(items) > MAX_ITEMS,
        is_utf8=is_utf8(data),
    )


def read_rest(data: bytes, found: Found) -> HookCall | None:
    """The same call, of which only what is not known is read; None if all of it has to be.

    Elements of an array say nothing about each other. So the bytes without the known ones are
    JSON if and only if all of them are, and what stands where in them is where it is in all.
    """
    rest = data[: found.start] + data[found.resume :]
    gap = found.resume - found.start
    try:
        parts = _parts(rest)
        metadata = read_metadata(rest, parts.outer)
    except slices.SplitError:
        return None
    shape = shape_of(parts.inner or ())
    if (
        parts.problem
        or parts.inner is None
        or shape is None
        or shape.key != found.outline.key
        or parts.inner[shape.key][0] != found.opening
        or found.items + len(parts.items[shape.key]) > MAX_ITEMS
        or told_from_call(rest, parts.outer, metadata) is not None
    ):
        return None

    def moved(span: slices.Span) -> slices.Span:
        start, end = span
        return (start + gap if start >= found.start else start), (
            end + gap if end >= found.start else end
        )

    items = parts.items[shape.key]
    conversation = moved(parts.inner[shape.key])
    if (
        found.cut.size < digests.LOOK_BYTES
        and digests.is_spaced(data, found.start, conversation[1]) != found.outline.spaced
    ):
        return None
    return HookCall(
        data=data,
        metadata=metadata,
        body=moved(parts.outer["request_body"]),
        members={name: moved(span) for name, span in parts.inner.items()},
        shape=shape,
        conversation=conversation,
        items=found.spans([moved(span) for span in items]),
        by_model=found.by_model + _made_by_model(shape, rest, items),
        is_utf8=is_utf8(rest),
        known=found,
    )


def _parts(data: bytes) -> _Parts:
    try:
        return _parts_at_once(data)
    except slices.SplitError:
        return _parts_by_walk(Walk(data))


def _parts_at_once(data: bytes) -> _Parts:
    outer = slices.members_at_once(data)
    body = outer.get("request_body")
    if body is None or data[body[0] : body[1]] == _NULL:
        return _Parts(outer, None, {})
    inner = slices.members_at_once(data, body)
    shape = shape_of(inner)
    if shape is None or data[inner[shape.key][0]] != ord("["):
        return _Parts(outer, inner, {})
    return _Parts(outer, inner, {shape.key: slices.elements_at_once(data, inner[shape.key])})


def _parts_by_walk(walk: Walk) -> _Parts:
    """The same in one walk, however large or deep it is."""
    outer: dict[str, slices.Span] = {}
    inner: dict[str, slices.Span] | None = None
    items: dict[str, list[slices.Span]] = {}
    problem = ""
    for key in walk.members():
        name, start = slices.name_of(key), walk.at
        if name in outer:
            raise slices.SplitError("an object repeats a key")
        if name == "request_body" and walk.begins(b"{"):
            inner, items, problem = _body_by_walk(walk)
        else:
            walk.skip()
            is_null = walk.at - start == len(_NULL) and walk.data[start] == _NULL[0]
            if name == "request_body" and not is_null:
                problem = "the body is no object"
        outer[name] = start, walk.at
    walk.finish()
    return _Parts(outer, inner, items, problem)


def _body_by_walk(
    walk: Walk,
) -> tuple[dict[str, slices.Span], dict[str, list[slices.Span]], str]:
    inner: dict[str, slices.Span] = {}
    items: dict[str, list[slices.Span]] = {}
    problem = ""
    keys = [shape.key for shape in SHAPES]
    for key in walk.members():
        name, start = slices.name_of(key), walk.at
        if name in inner:
            problem = "an object repeats a key"
        if name in keys and walk.begins(b"["):
            items[name] = [walk.skip() for _ in walk.elements()]
        else:
            walk.skip()
        inner[name] = start, walk.at
    return inner, items, problem


def _made_by_model(shape: Shape, data: bytes, items: list[slices.Span]) -> bytes:
    """For each item whether the model made it: 1 or 0."""
    common = [(start, shape.by_model(role, "")) for role, start in _ROLE_FIRST.items()]

    def made(start: int, end: int) -> bool:
        for beginning, by_model in common:
            if data.startswith(beginning, start):
                return by_model
        head = _head(data, start, end)
        at_provider = bytes(head.execution) == b'"server"'
        return shape.by_model(head.role or "", head.type or "", at_provider=at_provider)

    return bytes([made(start, end) for start, end in items])


def _head(data: bytes, start: int, end: int) -> _Head:
    """What an item says of itself. What is not a string says nothing."""
    if data[start] != ord("{"):
        return _Head()
    try:
        if end - start <= slices.EASY_BYTES:
            return _HEAD.decode(data[start:end])
    except _UNREADABLE:
        pass
    walk, found = Walk(data, start, end), {}
    for key in walk.members():
        a, b = walk.skip()
        if key in (b'"role"', b'"type"', b'"execution"') and b - a <= _LONGEST_WORD:
            found[slices.name_of(key)] = data[a:b]
    role, kind = (_decoded(found.get(name, _NULL)) for name in ("role", "type"))
    return _Head(role, kind, msgspec.Raw(found.get("execution", b"")))


def _string(call: HookCall, name: str) -> str:
    return _decoded(call.member(name))


def _decoded(word: bytes) -> str:
    """The string that this JSON is; an empty one if it is none."""
    try:
        return _STRING.decode(word)
    except _UNREADABLE:
        return ""
