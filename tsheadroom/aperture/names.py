"""Names the items of a call, and draws the outline by which the next call is recognised."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tsheadroom.aperture import digests, outline
from tsheadroom.aperture.call import HookCall
from tsheadroom.aperture.digests import Canonical, Moves, Names
from tsheadroom.aperture.outline import NOWHERE, Cut, Outline, Reading
from tsheadroom.providers import binding
from tsheadroom.providers.shapes import COMPACTIONS

# A client has at most four breakpoints, and moves one or two of them to the end in each turn.
_MOVING = 2


@dataclass(frozen=True, slots=True)
class Digests:
    """The names of a call's items, and the canonical form of those whose own bytes differ.

    Items are named by their index.
    """

    names: Names
    respelled: Sequence[int]  # items whose canonical bytes differ from the client's own, sorted
    marked: Sequence[int]  # items that are not known and may have a breakpoint, sorted
    spaced: bool  # as the conversation's client spells JSON
    renamed_from: int  # the first item of which is left out what stored names may have, or NOWHERE
    _namer: _Namer
    _canonical: dict[int, Canonical]  # those that were asked for
    known_moves: dict[int, Moves]  # those that this call or an earlier one has asked for

    @classmethod
    def of(cls, call: HookCall, *, as_of_0_1: bool = False) -> Digests:
        """Hash each item once, but for those that are known.

        With `as_of_0_1`, only `cache_control` is left out of the names, as it was up to that
        version: what such a daemon stored is found by these.
        """
        namer = _Namer(call, as_of_0_1=as_of_0_1)
        known = None if as_of_0_1 else call.known
        first = known.items if known else 0
        spans = call.items[first:]
        starts = [start for start, _ in spans]
        at, end = starts[0] if starts else call.conversation[1], call.conversation[1]
        spaced = known.outline.spaced if known else digests.is_spaced(call.data, at, end)

        def items_with(offsets: Iterable[int]) -> set[int]:
            return {first + bisect_right(starts, offset) - 1 for offset in offsets}

        marked = items_with(digests.marked(call.data, at, end, namer.breakpoints))
        signed = items_with(digests.marked(call.data, at, end, namer.signatures))
        blocks = items_with(digests.text_blocks(call.data, at, end, spaced=spaced))
        respelled = sorted(marked | signed | blocks)
        canonical = {index: namer.canonical(index) for index in respelled}
        plain = [
            canonical[index].data if index in canonical else call.data[start:stop]
            for index, (start, stop) in enumerate(spans, first)
        ]
        renamed = (index for index in sorted(marked | signed) if namer.renames(index))
        renamed_from = next(renamed, NOWHERE)
        if known:
            respelled = [*known.respelled, *respelled]
            if known.outline.renamed_from < known.items:
                renamed_from = known.outline.renamed_from
        return cls(
            Names((known.names if known else b"") + digests.names_of(plain)),
            respelled,
            sorted(marked),
            spaced,
            renamed_from,
            namer,
            canonical,
            known.moves if known else {},
        )

    @property
    def renamed(self) -> bool:
        """True if something was left out that may be a part of stored names."""
        return self.renamed_from != NOWHERE

    def canonical(self, index: int) -> Canonical | None:
        """The item's bytes as its name sees them; None if they are the client's own."""
        if index not in self._canonical:
            at = bisect_left(self.respelled, index)
            if self.respelled[at : at + 1] != [index]:
                return None
            self._canonical[index] = self._namer.canonical(index)
        return self._canonical[index]

    def moves(self, index: int) -> Moves | None:
        """How these bytes lie in the client's own; None if they are the client's own.

        It is looked up where an earlier call has asked for it: to work it out takes a pass over the
        item.
        """
        if index not in self.known_moves:
            canonical = self.canonical(index)
            if canonical is None:
                return None
            self.known_moves[index] = canonical.moves
        return self.known_moves[index]


class _Namer:
    """What is left out of the names of one call's items."""

    def __init__(self, call: HookCall, *, as_of_0_1: bool) -> None:
        self._call = call
        self.breakpoints = digests.BREAKPOINTS_OF_0_1 if as_of_0_1 else digests.BREAKPOINTS
        self.signatures = () if as_of_0_1 else binding.free_signatures(call.shape.key)
        self._newer = self.breakpoints[len(digests.BREAKPOINTS_OF_0_1) :]

    def canonical(self, index: int) -> Canonical:
        item = self._call.item(index)
        return digests.canonical(item, self._free(item), self.breakpoints)

    def renames(self, index: int) -> bool:
        """True if something is left out of its name that was a part of it up to version 0.1."""
        item = self._call.item(index)
        return bool(self._free(item)) or any(mark in item for mark in self._newer)

    def _free(self, item: bytes) -> tuple[bytes, ...]:
        return binding.free_signatures_of(self._call.shape.key, item) if self.signatures else ()


def outline_of(call: HookCall, names: Digests) -> Outline | None:
    """The outline of a call whose items have these names; None if no more of it can be known.

    A cut is good if the next call has the same bytes up to it. Breakpoints move, so there is one
    before the first of them, and one before the last that may move. If none moves, or the client
    has none, it is all of the items. The cut by which the call was found is kept, in case that the
    client changes what it has just sent.
    """
    known, length = call.known, len(call.items)
    if call.is_cut or not call.is_utf8 or not length:
        return None
    start = call.items[0][0]
    first = known.items if known else 0
    cuts = [known.cut] if known else []
    reading = known.reading.copy() if known else Reading(call.shape.key, call.data, start)
    for items in sorted({*names.marked[:1], *names.marked[-_MOVING:][:1], length}):
        size = call.items[items - 1][1] - start if items > first else 0
        if size >= outline.LEAST_BYTES:
            digest = reading.to(size)
            half = reading.halves[max(reading.halves)]
            cuts.append(Cut(items, size, digest, half, reading.check(size)))
    if not cuts or (known and cuts == [known.cut]):
        return None
    before = known.outline if known else None
    spans = before.spans[: 2 * first] if before else array("I")
    for span in call.items[first:]:
        spans.extend((span[0] - start, span[1] - start))
    return Outline(
        key=call.shape.key,
        spaced=names.spaced,
        cuts=tuple(cuts),
        after=first,
        names=names.names.joined,
        by_model=call.by_model,
        spans=spans,
        respelled=array("I", names.respelled),
        renamed_from=names.renamed_from,
        compacted_from=_compacted_from(call, before, first),
        moves=names.known_moves,
    )


def _compacted_from(call: HookCall, before: Outline | None, first: int) -> int:
    """The first item that may stand for those before it, or NOWHERE."""
    if before and before.compacted_from < first:
        return before.compacted_from
    spans = call.items[first:]
    marks = (b'"%b"' % name.encode() for name in COMPACTIONS)
    at = min(digests.marked(call.data, spans[0][0], spans[-1][1], marks), default=None)
    if at is None:
        return NOWHERE
    return first + bisect_right(spans, at, key=lambda span: span[0]) - 1
