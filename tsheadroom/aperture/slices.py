"""Finds the offsets of an object's members and of an array's elements in JSON, without parsing all.

msgspec validates the bytes and tells how long each raw value is. With the separators between them,
the lengths give offsets. A body is changed only at such offsets, so all else stays the client's own
bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from tsheadroom.errors import TsheadroomError

Span = tuple[int, int]
_T = TypeVar("_T")

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_TIGHT = frozenset(b"," + bytes([first]) for first in b'{["0123456789-tfn')
_SPACE = re.compile(rb"[ \t\n\r]*+")
_KEY = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
# One escape sequence; a pair of surrogates counts as one. Every escape has to match in turn, or an
# escaped backslash before a "u" would look like an escape.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_STAND_IN = rb"\u003f"  # as long as the escape of a lone surrogate, so that offsets stay the same


class SplitError(TsheadroomError):
    """The bytes cannot be split: not the JSON that was expected, or an object repeats a key."""


def without_lone_surrogates(data: bytes) -> bytes:
    r"""The same JSON, of the same length, with `\u003f` where a lone surrogate was escaped.

    msgspec refuses a whole document for one lone surrogate, and clients do cut text in the middle
    of an emoji. Returns `data` itself if there is none.
    """
    fixed = _ESCAPE.sub(lambda m: _STAND_IN if m.group("lone") else m.group(0), data)
    return data if fixed == data else fixed


def members(data: bytes, span: Span | None = None) -> dict[str, Span]:
    """Find the value of each member of the object at `span` in `data`.

    Raises SplitError if it is not an object, is malformed, is nested too deeply or repeats a key.
    (Readers differ in which of two values they use, so no splice of such an object would be safe.)
    """
    start, end = span or (0, len(data))
    values = _decode(_OBJECT, data[start:end] if span else data)
    at = _open(data, start, b"{")
    found: dict[str, Span] = {}
    for name, raw in values.items():
        key = _KEY.match(data, at)
        if key is None or _text(key.group()) != name:
            raise SplitError("an object repeats a key")
        at = _expect(data, _skip(data, key.end()), b":")
        found[name] = (at, at + len(raw))
        at = _next(data, found[name][1], b"}")
    if data[at : at + 1] != b"}":
        raise SplitError("an object repeats a key")
    return found


def elements(data: bytes, span: Span | None = None) -> list[Span]:
    """Find each element of the array at `span` in `data`. Raises SplitError."""
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


def _decode(decoder: msgspec.json.Decoder[_T], data: bytes) -> _T:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise SplitError(f"not the JSON that was expected: {error}") from error


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


def _text(key: bytes) -> str:
    if b"\\" not in key:
        return key[1:-1].decode("utf-8", "replace")
    return msgspec.json.decode(key, type=str)
