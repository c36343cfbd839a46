"""Walks through JSON step by step, for what msgspec refuses or takes too long for.

msgspec refuses lone surrogates and deep nesting anywhere in a document, and holds the interpreter
until it has seen all of it. A walk takes both. It checks the grammar as strictly (but not that
strings are UTF-8), and no single step looks at more than WINDOW bytes, so that in a thread it lets
others go on. It is many times slower where values are small, so their number is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tsheadroom.errors import TsheadroomError

Span = tuple[int, int]

WINDOW = 1 << 18  # bytes; some 2 ms of matching
MAX_STEPS = 1_000_000  # values in one document: a second's work
# Of one value. Go's decoder, through which all passes at Aperture, takes 10,000 levels in all.
MAX_DEPTH = 9_990

_SPACE = re.compile(rb"[ \t\n\r]*+")
_SPACES = frozenset(b" \t\n\r")
_INSIDE = re.compile(rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+')
_NAMES = {
    b"s": rb"[ \t\n\r]*+",
    b"key": rb'"[^"\\\x00-\x1f]*+"',
    b"scalar": rb"(?:-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+|true|false|null)",
}
_NAMES[b"value"] = rb"(?:%(scalar)s|%(key)s)" % _NAMES
_NAMES[b"member"] = rb"%(key)s%(s)s:%(s)s%(value)s" % _NAMES
_SCALAR = re.compile(_NAMES[b"scalar"])
# An object or array of a few plain values, which most are: it is walked past in one step.
_SMALL = re.compile(
    rb"\{%(s)s%(member)s(?:%(s)s,%(s)s%(member)s){0,15}+%(s)s\}"
    rb"|\[%(s)s%(value)s(?:%(s)s,%(s)s%(value)s){0,15}+%(s)s\]" % _NAMES
)
_QUOTE, _COLON, _COMMA = b'":,'
_CLOSING = {ord("{"): ord("}"), ord("["): ord("]")}


class SplitError(TsheadroomError):
    """The bytes cannot be split: not the JSON that was expected, or an object repeats a key."""


class Walk:
    """A place in JSON that moves forward. All methods raise SplitError.

    `members` and `elements` stop at each value; whoever walks has to `skip` it or walk into it.
    """

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = start
        self._end = len(data) if end is None else end
        self._steps = 0
        self._space()

    def begins(self, mark: bytes) -> bool:
        """True if the value here begins with this byte."""
        return self.at < self._end and self.data[self.at] == mark[0]

    def members(self) -> Iterator[bytes]:
        """Yield each key (in its quotes) of the object here, standing at its value."""
        more = self._opened(b"{")
        while more:
            key = self._key()
            yield key
            more = self._goes_on(ord("}"))

    def elements(self) -> Iterator[int]:
        """Yield where each element of the array here begins."""
        more = self._opened(b"[")
        while more:
            yield self.at
            more = self._goes_on(ord("]"))

    def skip(self) -> Span:
        """Go past the value here. Returns where it stands."""
        start = self.at
        closings = bytearray()
        while True:
            closing = _CLOSING.get(self._here())
            if closing is None:
                self._flat()
            elif not self._small() and self._opened(self.data[self.at : self.at + 1]):
                closings.append(closing)
                if len(closings) > MAX_DEPTH:
                    raise SplitError("it is nested too deeply")
                if closing == ord("}"):
                    self._key()
                continue
            while closings and not self._goes_on(closings[-1]):
                closings.pop()
            if not closings:
                return start, self.at
            if closings[-1] == ord("}"):
                self._key()

    def finish(self) -> None:
        """Check that nothing follows."""
        self._space()
        if self.at != self._end:
            raise SplitError("something follows the value")

    def _here(self) -> int:
        if self.at >= self._end:
            raise SplitError("it ends too early")
        return self.data[self.at]

    def _opened(self, mark: bytes) -> bool:
        """Go into an object or array. False, and it is left again, if it is empty."""
        if self._here() != mark[0]:
            raise SplitError("not the JSON that was expected")
        self._count()
        self.at += 1
        self._space()
        if self._here() == _CLOSING[mark[0]]:
            self.at += 1
            return False
        return True

    def _goes_on(self, closing: int) -> bool:
        """Go past what follows a value: to the next one, or out of what ends here."""
        self._space()
        mark = self._here()
        self.at += 1
        if mark == _COMMA:
            self._space()
        elif mark != closing:
            raise SplitError("the JSON is malformed")
        return mark == _COMMA

    def _key(self) -> bytes:
        start = self.at
        if self._here() != _QUOTE:
            raise SplitError("a key is missing")
        self._string()
        key = self.data[start : self.at]
        self._space()
        if self._here() != _COLON:
            raise SplitError("the JSON is malformed")
        self.at += 1
        self._space()
        return key

    def _flat(self) -> None:
        self._count()
        if self._here() == _QUOTE:
            self._string()
            return
        scalar = _SCALAR.match(self.data, self.at, min(self.at + WINDOW, self._end))
        if scalar is None:
            raise SplitError("the JSON is malformed")
        self.at = scalar.end()

    def _small(self) -> bool:
        small = _SMALL.match(self.data, self.at, min(self.at + WINDOW, self._end))
        if small is None:
            return False
        self._count()
        self.at = small.end()
        return True

    def _string(self) -> None:
        at, data, end = self.at + 1, self.data, self._end
        while True:
            inside = _INSIDE.match(data, at, min(at + WINDOW, end))
            stop = inside.end() if inside else at
            if stop < end and data[stop] == _QUOTE:
                self.at = stop + 1
                return
            if stop == at:
                raise SplitError("a string is malformed")
            at = stop

    def _space(self) -> None:
        while self.at < self._end and self.data[self.at] in _SPACES:
            space = _SPACE.match(self.data, self.at, min(self.at + WINDOW, self._end))
            self.at = space.end() if space else self.at

    def _count(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise SplitError("it holds too many values")
