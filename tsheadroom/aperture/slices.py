"""Finds the offsets of an object's members and of an array's elements in JSON, without parsing all.

msgspec validates the bytes and tells how long each raw value is. With the separators between them,
the lengths give offsets. A body is changed only at such offsets, so all else stays the client's own
bytes. What msgspec refuses, or would take too long for, is walked through step by step (`walk.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from tsheadroom.aperture.walk import Span, SplitError, Walk

__all__ = [
    "Places",
    "Span",
    "SplitError",
    "elements",
    "elements_at_once",
    "members",
    "members_at_once",
    "name_of",
]

# msgspec holds the interpreter for as long as it looks at a document: some 30 ms for so many bytes,
# or for so many values.
EASY_BYTES = 8 << 20
EASY_VALUES = 200_000

_T = TypeVar("_T")

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_TIGHT = frozenset(b"," + bytes([first]) for first in b'{["0123456789-tfn')
_SPACE = re.compile(rb"[ \t\n\r]*+")
_KEY = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def _is_easy(data: bytes) -> bool:
    """True if msgspec may look at all of the document at once."""
    size = len(data)
    return size <= EASY_BYTES and (size <= EASY_VALUES or data.count(b",") <= EASY_VALUES)


def members(data: bytes, span: Span | None = None) -> dict[str, Span]:
    """Find the value of each member of the object at `span` in `data`.

    Raises SplitError if it is not an object, is malformed, or repeats a key. (Readers differ in
    which of two values they use, so no splice of such an object would be safe.)
    """
    try:
        return members_at_once(data, span)
    except SplitError:  # a walk takes more, and tells more exactly what is wrong
        return _walked_members(Walk(data, *(span or (0, None))))


def elements(data: bytes, span: Span | None = None) -> list[Span]:
    """Find each element of the array at `span` in `data`. Raises SplitError."""
    try:
        return elements_at_once(data, span)
    except SplitError:
        walk = Walk(data, *(span or (0, None)))
        found = [walk.skip() for _ in walk.elements()]
        walk.finish()
        return found


def members_at_once(data: bytes, span: Span | None = None) -> dict[str, Span]:
    """`members`, but raises SplitError as well if msgspec refuses it, or would take too long."""
    start, end = span or (0, len(data))
    values = _decode(_OBJECT, data[start:end] if span else data)
    at = _open(data, start, b"{")
    found: dict[str, Span] = {}
    for name, raw in values.items():
        key = _KEY.match(data, at)
        if key is None or name_of(key.group()) != name:
            raise SplitError("an object repeats a key")
        at = _expect(data, _skip(data, key.end()), b":")
        found[name] = (at, at + len(raw))
        at = _next(data, found[name][1], b"}")
    if data[at : at + 1] != b"}":
        raise SplitError("an object repeats a key")
    return found


def elements_at_once(data: bytes, span: Span | None = None) -> list[Span]:
    """`elements`, but raises SplitError as well if msgspec refuses it, or would take too long."""
    start, end = span or (0, len(data))
    values = _decode(_ARRAY, data[start:end] if span else data)
    at = _open(data, start, b"[")
    found: list[Span] = []
    for raw in values:
        stop = at + len(raw)
        found.append((at, stop))
        # Nearly all clients write arrays without spaces, and this runs for every item: the short
        # way first.
        tight = data[stop : stop + 2] in _TIGHT
        at = stop + 1 if tight else _next(data, stop, b"]")
    return found


class Places:
    """Finds values in `data` by their paths. What was split for one path is kept for the next."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._split: dict[tuple[str | int, ...], Any] = {}  # path -> spans by key or by index

    def find(self, path: Sequence[str | int]) -> Span | None:
        """Where the value at `path` (keys and indexes) stands, its quotes included.

        None if there is no such value.
        """
        span: Span = (0, len(self._data))
        try:
            for at, step in enumerate(path):
                way = tuple(path[:at])
                if way not in self._split:
                    split = members if isinstance(step, str) else elements
                    self._split[way] = split(self._data, span)
                span = self._split[way][step]
        except (SplitError, KeyError, IndexError, TypeError):
            return None
        return span


def name_of(key: bytes) -> str:
    """The name that a key in its quotes spells. It need not be UTF-8."""
    if b"\\" not in key:
        return key[1:-1].decode("utf-8", "replace")
    try:
        return msgspec.json.decode(key, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return key.decode("latin-1")  # with its quotes, so it is like no other name


def _decode(decoder: msgspec.json.Decoder[_T], data: bytes) -> _T:
    if not _is_easy(data):
        raise SplitError("it is too large to be decoded at once")
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise SplitError(f"not the JSON that was expected: {error}") from error


def _walked_members(walk: Walk) -> dict[str, Span]:
    found: dict[str, Span] = {}
    for key in walk.members():
        name = name_of(key)
        if name in found:
            raise SplitError("an object repeats a key")
        found[name] = walk.skip()
    walk.finish()
    return found


def _skip(data: bytes, at: int) -> int:
    space = _SPACE.match(data, at)
    return space.end() if space else at


def _expect(data: bytes, at: int, mark: bytes) -> int:
    if data[at : at + 1] != mark:
        raise SplitError("an object repeats a key")
    return _skip(data, at + 1)


def _open(data: bytes, start: int, mark: bytes) -> int:
    return _expect(data, _skip(data, start), mark)


def _next(data: bytes, at: int, closing: bytes) -> int:
    at = _skip(data, at)
    return at if data[at : at + 1] == closing else _expect(data, at, b",")
