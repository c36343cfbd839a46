"""Recognises the bytes of a conversation that an earlier call began with.

A client sends all of a conversation each turn, and nearly all of it is what it sent the turn
before. To take that apart again costs some 8 ms a megabyte, and a hash over it a tenth of that. So
of each conversation an outline is kept: what its first items were found to be, and the hashes of
the bytes that they stand in. No bytes are kept. An outline says nothing that is not in the bytes:
whoever sends the same ones gets the same answers without it, only later.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload
from zlib import crc32

from tsheadroom.aperture.digests import DIGEST_BYTES, Moves
from tsheadroom.aperture.slices import Span
from tsheadroom.providers.shapes import SHAPES

# Shorter conversations are taken apart as fast as they would be recognised.
LEAST_BYTES = 4 << 10
DEFAULT_MEMORY = 16 << 20  # bytes; some 1,500 conversations of a megabyte
# Outlines of conversations that have half of their bytes and more in common, such as agents that
# start from the same long prompt. Each costs a microsecond when such a conversation comes.
MAX_ALIKE = 64
# An array in a body may have the name of a conversation and be none.
_MAX_TRIES = 3
_MAX_HITS = 100  # of one name that are looked at
_CHECKED_BYTES = 64  # before a cut, by which most outlines that do not match are told at once
_FIRST_WINDOW = 16 << 10  # bytes that are searched first for where a conversation begins
_WINDOW_GROWTH = 8

_KEYS = [(shape.key, b'"%b"' % shape.key.encode()) for shape in SHAPES]
_OPENS = re.compile(rb"[ \t\n\r]*+:[ \t\n\r]*+(\[)[ \t\n\r]*+(?=\{)")
# Behind an item: a comma and one more, or the end of them.
_GOES_ON = re.compile(rb"[ \t\n\r]*+(?:,[ \t\n\r]*+(?=[^\] \t\n\r])|(?=\]))")

NOWHERE = 1 << 32  # instead of an item's index, for none

# Rough sizes in memory.
_OUTLINE_BYTES = 900
_CUT_BYTES = 250
_MOVES_BYTES = 500


class Reading:
    """A hash over a conversation's bytes from its first item on, which is read further and further.

    `halves` are the digests at LEAST_BYTES, twice that and so on, as far as it has come. By the
    last of them before its end an outline is found.
    """

    def __init__(self, key: str, data: bytes, start: int) -> None:
        """`key` is the member of the body that has the conversation."""
        self._bytes = memoryview(data)[start:]
        self._hash = hashlib.sha256(key.encode() + b"\0")
        self.at = 0
        self.halves: dict[int, bytes] = {}

    def to(self, size: int) -> bytes:
        """Read on to here. Returns the digest of all of it."""
        half = LEAST_BYTES << len(self.halves)
        while half <= size:
            self._read(half)
            self.halves[half] = self._hash.digest()
            half <<= 1
        self._read(size)
        return self._hash.digest()

    def copy(self) -> Reading:
        """One that has come as far, and goes on by itself."""
        other = object.__new__(Reading)
        other._bytes, other.at = self._bytes, self.at
        other._hash, other.halves = self._hash.copy(), dict(self.halves)
        return other

    def _read(self, size: int) -> None:
        self._hash.update(self._bytes[self.at : size])
        self.at = size

    def check(self, size: int) -> int:
        """A checksum of the bytes before here."""
        return crc32(self._bytes[max(0, size - _CHECKED_BYTES) : size])


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a known part of a conversation may end: right behind one of its items."""

    items: int
    size: int  # bytes from the first item's first
    digest: bytes  # of all of them
    half: bytes  # and of those up to the last of `Reading.halves` before
    check: int  # `Reading.check`


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """What the first items of a conversation were found to be.

    Offsets count from the first item's first byte.
    """

    key: str  # the member of the body that has the conversation
    spaced: bool  # digests.is_spaced
    cuts: tuple[Cut, ...]  # the shortest first
    after: int  # how many of its items were known when it was drawn
    names: bytes  # the digests of the items, joined
    by_model: bytes  # a byte for each item: 1 if the model made it
    spans: array[int]  # where each item starts and ends
    respelled: array[int]  # the items whose canonical bytes differ from the client's own, sorted
    renamed_from: int  # the first item whose name was another one up to version 0.1, or NOWHERE
    compacted_from: int  # the first item that may stand for those before it, or NOWHERE
    # How the canonical bytes of those items lie in the client's own where anybody has asked for it.
    # It is filled as long as the call is under way.
    moves: dict[int, Moves]

    @property
    def size(self) -> int:
        """Bytes in memory, roughly."""
        arrays = self.spans.itemsize * len(self.spans) + self.respelled.itemsize * len(
            self.respelled
        )
        own = _OUTLINE_BYTES + _CUT_BYTES * len(self.cuts) + _MOVES_BYTES * len(self.moves)
        return own + len(self.names) + len(self.by_model) + arrays


@dataclass(frozen=True, slots=True)
class Found:
    """The known part of a call: `data[start:resume]` are its items, and the comma behind them."""

    outline: Outline
    cut: Cut
    opening: int  # where the array of the items begins
    start: int  # where the first item begins
    resume: int  # what follows: the first item that is not known, or the array's end
    reading: Reading  # up to the cut

    @property
    def items(self) -> int:
        """How many items are known."""
        return self.cut.items

    @property
    def names(self) -> bytes:
        """Their digests, joined."""
        return self.outline.names[: self.items * DIGEST_BYTES]

    @property
    def by_model(self) -> bytes:
        """A byte for each: 1 if the model made it."""
        return self.outline.by_model[: self.items]

    @property
    def is_compacted(self) -> bool:
        """True if one of them may stand for those before it."""
        return self.outline.compacted_from < self.items

    @property
    def respelled(self) -> array[int]:
        """Those whose canonical bytes differ from the client's own, sorted."""
        respelled = self.outline.respelled
        return respelled[: bisect_left(respelled, self.items)]

    @property
    def moves(self) -> dict[int, Moves]:
        """How their canonical bytes lie, as far as that was asked for."""
        moves = self.outline.moves.copy()  # in one step: other threads may write there
        return {index: one for index, one in moves.items() if index < self.items}

    def spans(self, rest: list[Span]) -> Sequence[Span]:
        """Where all items stand: the known ones and then these."""
        return _Spans(self.outline.spans, self.items, self.start, rest)


class _Spans(Sequence[Span]):
    """The spans of a conversation whose first items are known. They are looked up, not listed."""

    def __init__(self, known: array[int], count: int, start: int, rest: list[Span]) -> None:
        self._known, self._count, self._start, self._rest = known, count, start, rest

    def __len__(self) -> int:
        return self._count + len(self._rest)

    @overload
    def __getitem__(self, index: int) -> Span: ...
    @overload
    def __getitem__(self, index: slice) -> list[Span]: ...
    def __getitem__(self, index: int | slice) -> Span | list[Span]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if 0 <= index < self._count:
            first, last = self._known[2 * index], self._known[2 * index + 1]
            return self._start + first, self._start + last
        if index < 0:
            raise IndexError(index)
        return self._rest[index - self._count]


class Outlines:
    """The outlines of the latest conversations. When they take too much memory, the oldest go.

    `find` may be called in any thread, `keep` from one.
    """

    def __init__(self, limit: int = DEFAULT_MEMORY) -> None:
        """`limit` is in bytes."""
        self._limit = limit
        self._used: OrderedDict[Outline, int] = OrderedDict()  # with its size when last counted
        # By the cut's `half`. A tuple is never changed, so a thread sees the old one or the new.
        self._by_half: dict[bytes, tuple[tuple[Cut, Outline], ...]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._used)

    def find(self, data: bytes) -> Found | None:
        """The longest known part of a call with these bytes; None if none is known."""
        if self._by_half and len(data) >= LEAST_BYTES:
            for key, opening, start in _openings(data):
                if found := self._longest(key, data, opening, start):
                    return found
        return None

    def _longest(self, key: str, data: bytes, opening: int, start: int) -> Found | None:
        reading = Reading(key, data, start)
        size = len(data) - start
        best: tuple[Outline, Cut, Reading] | None = None
        half = LEAST_BYTES
        while half <= size:
            alike = self._by_half.get(reading.to(half), ())
            for cut, outline in sorted(alike, key=lambda pair: pair[0].size):
                if cut.size <= size and cut.check == reading.check(cut.size):
                    matches = reading.to(cut.size) == cut.digest
                    if matches and (best is None or best[1].size < cut.size):
                        best = outline, cut, reading.copy()
            half <<= 1
        if best is None:
            return None
        outline, cut, reading = best
        follows = _GOES_ON.match(data, start + cut.size)
        return Found(outline, cut, opening, start, follows.end(), reading) if follows else None

    def keep(self, new: Outline | None, known: Found | None) -> None:
        """Keep a call's new outline instead of the one that it goes on from.

        If it has no new one, note that the known one was used.
        """
        if new is None:
            if known and known.outline in self._used:
                self._used.move_to_end(known.outline)
            return
        if known and known.items > known.outline.after:
            self._drop(known.outline)  # else another call went on from the same items
        self._used[new] = new.size
        self.bytes += new.size
        for cut in new.cuts:
            alike = (*self._by_half.get(cut.half, ()), (cut, new))
            self._by_half[cut.half] = alike[-MAX_ALIKE:]
        while self.bytes > self._limit and len(self._used) > 1:
            self._drop(next(iter(self._used)))

    def _drop(self, outline: Outline) -> None:
        if outline not in self._used:  # two calls went on from it
            return
        self.bytes -= self._used.pop(outline)
        for half in {cut.half for cut in outline.cuts}:
            left = tuple(p for p in self._by_half.get(half, ()) if p[1] is not outline)
            if left:
                self._by_half[half] = left
            else:
                self._by_half.pop(half, None)


def _openings(data: bytes) -> list[tuple[str, int, int]]:
    """Where conversations may begin: the key, where the array begins, and its first item.

    These are the first ones of the bytes. What comes after them is not searched: nearly always the
    first one is the conversation.
    """
    at, window = 0, _FIRST_WINDOW
    while at < len(data):
        found = sorted(o for key, name in _KEYS for o in _opened(data, key, name, at, at + window))
        if found:
            return [(key, opening, start) for opening, start, key in found[:_MAX_TRIES]]
        at += window
        window *= _WINDOW_GROWTH
    return []


def _opened(
    data: bytes, key: str, name: bytes, at: int, end: int
) -> Iterator[tuple[int, int, str]]:
    """Yield where arrays of objects begin that are members of this name.

    Inside a string the quotes of a name are escaped, so no text looks like this.
    """
    for _ in range(_MAX_HITS):
        at = data.find(name, at, end + len(name) - 1)
        if at < 0:
            return
        at += len(name)
        if opens := _OPENS.match(data, at):
            yield opens.start(1), opens.end(), key
