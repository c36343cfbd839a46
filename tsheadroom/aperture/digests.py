"""Names an item of a conversation by its content, whatever breakpoints the client puts on it.

Clients move their breakpoints in every turn: `cache_control`, `prompt_cache_breakpoint`, and
Converse's blocks `{"cachePoint": {...}}`. They spell a message as a string in one turn, and as a
list of one text block in the next. None of it makes a difference to what a provider caches or a
model reads, so it must make none to an item's name.

Nor must signatures that bind nothing (`providers/binding.py`): clients replace them, and the answer
that they stand in is the same one.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import overload

from tsheadroom.aperture import slices
from tsheadroom.aperture.slices import Span

DIGEST_BYTES = 16  # 128 bits: two items never get the same digest by chance

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SPACE = rb"[ \t\n\r]*"
_SPACES = frozenset((b" ", b"\t", b"\n", b"\r"))
# An object without objects in it.
_FLAT = rb'\{[^{}"]*+(?:%(string)s[^{}"]*+)*+\}' % {b"string": _STRING}
_NAMES: dict[bytes, bytes] = {b"s": _SPACE, b"string": _STRING, b"flat": _FLAT}
_Members = Mapping[bytes, re.Pattern[bytes]]  # names, in quotes, and what has to follow each
_BREAKPOINTS: _Members = {  # those that are members
    b'"cache_control"': re.compile(rb"%(s)s:%(s)s(?:%(flat)s|null)" % _NAMES, re.DOTALL),
    b'"prompt_cache_breakpoint"': re.compile(
        rb"%(s)s:%(s)s(?:%(flat)s|%(string)s|true|false|null)" % _NAMES, re.DOTALL
    ),
}
_SIGNATURE = re.compile(rb"%(s)s:%(s)s(?:%(string)s|null)" % _NAMES, re.DOTALL)
_BLOCK = b'"cachePoint"'  # a breakpoint that is a content block
BREAKPOINTS = (*_BREAKPOINTS, _BLOCK)  # their JSON names, with quotes
BREAKPOINTS_OF_0_1 = BREAKPOINTS[:1]  # up to version 0.1 the others were parts of names
_WHOLE_BLOCK = re.compile(rb'\{%(s)s"cachePoint"%(s)s:%(s)s%(flat)s%(s)s\}' % _NAMES, re.DOTALL)
_COMMA = re.compile(rb"%(s)s,%(s)s" % _NAMES)
_ONE_TEXT_TIGHT = b'"content":[{"type":"text","text":'
_ONE_TEXT_SPACED = b'"content": [{"type": "text", "text": '
_SPACED = re.compile(rb'"role": ')
# Bytes. A text or a signature that is longer is a part of the name as it is spelled. A pattern
# holds the interpreter for as long as it matches: some 10 ms for so many.
LONGEST = 4 << 20
LOOK_BYTES = 1 << 16  # that are looked at to learn how a client spells JSON
_CONTENT = b'"content"'
_ONE_TEXT = re.compile(
    rb'"content"%(s)s:%(s)s(?P<before>\[%(s)s\{%(s)s"type"%(s)s:%(s)s"text"%(s)s,'
    rb'%(s)s"text"%(s)s:%(s)s)%(string)s(?P<after>%(s)s\}%(s)s\])' % _NAMES,
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Names(Sequence[bytes]):
    """The digests of items, `joined` in one bytes object: so they are copied and compared fast."""

    joined: bytes = b""

    def __len__(self) -> int:
        return len(self.joined) // DIGEST_BYTES

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Names: ...
    def __getitem__(self, index: int | slice) -> bytes | Names:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise ValueError("names are taken one after the other")
            return Names(self.joined[start * DIGEST_BYTES : stop * DIGEST_BYTES])
        at = range(len(self))[index] * DIGEST_BYTES
        return self.joined[at : at + DIGEST_BYTES]

    def __iter__(self) -> Iterator[bytes]:
        joined = self.joined
        for at in range(0, len(joined), DIGEST_BYTES):
            yield joined[at : at + DIGEST_BYTES]


@dataclass(frozen=True, slots=True)
class Moves:
    """How an item's canonical bytes lie in the client's own.

    For each step that left something out: where in its result, and how much up to there.
    """

    steps: tuple[tuple[Span, ...], ...] = ()

    def in_clients_bytes(self, span: Span) -> Span:
        """Where a span of the canonical bytes stands. Nothing was cut inside of it."""
        start, end = span
        moved = start
        for cuts in reversed(self.steps):
            before = bisect_right(cuts, moved, key=lambda cut: cut[0])
            moved += cuts[before - 1][1] if before else 0
        return moved, moved + end - start


@dataclass(frozen=True, slots=True)
class Canonical:
    """An item's bytes as its name sees them: the client's own, but for what is left out."""

    data: bytes
    moves: Moves = Moves()

    def without(self, cuts: list[Span]) -> Canonical:
        """Leave these spans of `data` out, too. They are sorted, and none overlaps another."""
        kept: list[bytes] = []
        step: list[Span] = []
        at = total = 0
        for start, end in cuts:
            kept.append(self.data[at:start])
            step.append((start - total, total + end - start))
            at, total = end, total + end - start
        moves = Moves((*self.moves.steps, tuple(step)))
        return Canonical(b"".join((*kept, self.data[at:])), moves)


def canonical(
    item: bytes, signatures: Iterable[bytes] = (), breakpoints: Collection[bytes] = BREAKPOINTS
) -> Canonical:
    """The bytes that a digest is made of: no breakpoints, and one text block as a string.

    `signatures` are JSON names of members (with quotes) that are left out, too.
    """
    left = Canonical(item)
    members = {name: _BREAKPOINTS[name] for name in breakpoints if name in _BREAKPOINTS}
    members |= dict.fromkeys(signatures, _SIGNATURE)
    blocks = _block_cuts if _BLOCK in breakpoints else _no_cuts
    # In this order: without its breakpoint a list may turn out to be of one text block.
    for find in (lambda data: _member_cuts(data, members), blocks, _text_block_cuts):
        if cuts := find(left.data):
            left = left.without(cuts)
    return left


def _member_cuts(item: bytes, members: _Members) -> list[Span]:
    """Where such members stand, each with the comma before or after it."""
    cuts: list[Span] = []
    end = len(item)
    for at, name in sorted((at, n) for n in members for at in _found(item, n, 0, end)):
        member = members[name].match(item, at + len(name), at + LONGEST)
        before = at
        while item[before - 1 : before] in _SPACES:
            before -= 1
        # A quote after a comma or a brace opens a key. Inside a string quotes are escaped, so no
        # text can look like this.
        if not member or item[before - 1 : before] not in (b",", b"{"):
            continue
        if cuts and at < cuts[-1][1]:  # it stands inside of another one
            continue
        if cuts and cuts[-1][1] == at:  # another breakpoint was the object's first member
            before = cuts.pop()[0]
        elif item[before - 1 : before] == b",":
            cuts.append((before - 1, member.end()))
            continue
        comma = _COMMA.match(item, member.end())
        cuts.append((before, comma.end() if comma else member.end()))
    return cuts


def _no_cuts(_: bytes) -> list[Span]:
    return []


def _block_cuts(item: bytes) -> list[Span]:
    """Where breakpoints stand that are blocks of the item's own content, each with a comma."""
    if _BLOCK not in item:
        return []
    try:
        blocks = slices.elements(item, slices.members(item)["content"])
    except (slices.SplitError, KeyError):
        return []
    kept = [block for block in blocks if not _WHOLE_BLOCK.fullmatch(item, *block)]
    if len(kept) == len(blocks):
        return []
    if not kept:
        return [(blocks[0][0], blocks[-1][1])]
    # Between two blocks that stay one comma stays, the last one.
    ends = {start: before for (_, before), (start, _) in pairwise(blocks)}
    cuts = [(blocks[0][0], kept[0][0]), *((a[1], ends[b[0]]) for a, b in pairwise(kept))]
    return [cut for cut in (*cuts, (kept[-1][1], blocks[-1][1])) if cut[0] < cut[1]]


def _text_block_cuts(item: bytes) -> list[Span]:
    """What makes a "content" of a single text block longer than a string, in tool results, too."""
    cuts: list[Span] = []
    at = item.find(_CONTENT)
    while at >= 0:  # find() is many times faster here than a regular expression over all of it
        one = _ONE_TEXT.match(item, at, at + LONGEST)
        if one:
            cuts += (one.span("before"), one.span("after"))
        at = item.find(_CONTENT, one.end() if one else at + len(_CONTENT))
    return cuts


def is_spaced(data: bytes, start: int, end: int) -> bool:
    """True if the client spells JSON with spaces, as the conversation at `start` begins."""
    return _SPACED.search(data, start, min(end, start + LOOK_BYTES)) is not None


def marked(data: bytes, start: int, end: int, marks: Iterable[bytes]) -> Iterator[int]:
    """Yield where any of these JSON names (with quotes) stands, in no order.

    A few searches over all that is new are many times cheaper than looking into every item.
    """
    for mark in marks:
        yield from _found(data, mark, start, end)


def text_blocks(data: bytes, start: int, end: int, *, spaced: bool) -> Iterator[int]:
    """Yield where a message stands that is a list of one text block.

    Only the two usual ways of spelling JSON are known. If a client uses a third one, and spells an
    item in two ways, the item is not recognised. That costs savings and nothing else.
    """
    one_text = _ONE_TEXT_SPACED if spaced else _ONE_TEXT_TIGHT
    for at in _found(data, one_text, start, end):
        if _ONE_TEXT.match(data, at, at + LONGEST):
            yield at


def _found(data: bytes, needle: bytes, start: int, end: int) -> Iterator[int]:
    """Yield where the needle stands. No step looks at more than LONGEST bytes."""
    while start < end:
        stop = min(start + LONGEST, end)
        at = data.find(needle, start, stop)
        if at >= 0:
            yield at
            start = at + len(needle)
        elif stop < end:
            start = stop - len(needle) + 1
        else:
            return


def digest(item: bytes) -> bytes:
    """The name of an item, from its canonical bytes: 16 bytes of SHA-256.

    Processors have instructions for SHA-256, so it is the fastest good hash here.
    """
    return hashlib.sha256(item).digest()[:DIGEST_BYTES]


def names_of(items: Iterable[bytes]) -> bytes:
    """The digests of the items, joined. A call for each would cost a large conversation a ms."""
    sha256 = hashlib.sha256
    return b"".join([sha256(item).digest()[:DIGEST_BYTES] for item in items])
