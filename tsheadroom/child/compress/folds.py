"""Finds lines of a new tool output that stand earlier in the outgoing conversation.

The index holds every forwarded tool output and every text that the agent wrote, by blocks of a few
lines, so that adding a text costs a hash a line and looking one up costs a hash a line, however
long the conversation is. A hit is always confirmed against the text itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from tsheadroom.texts import numbering, pointers
from tsheadroom.texts.numbering import Lines
from tsheadroom.texts.tools import ToolCall

BLOCK = 3  # lines an index entry; any run of 2 * BLOCK - 1 lines holds a whole block
CANDIDATES = 6  # places kept for one block: the first seen and the latest ones
LONG_LINE = 200  # characters from which a line is worth an entry of its own
PARSED = 8  # target texts kept split, for the next look
# What a pointer must replace to be worth a reader's while: its own length several times over.
MIN_CHARS = 200
PIECE_LINES = 6  # a run beside a fold into the same text may be shorter: it is the same re-reading
PIECE_CHARS = 160
MAX_BRACE = 12  # characters of a line that says nothing of where it stands
OWN_LINES = 7  # a tool that shows what this very call has written says nothing new
OWN_CHARS = 200
SAME_CHARS = 100  # an output wholly equal to an earlier one needs only this


@dataclass(slots=True, eq=False)
class FoldTarget:
    """One forwarded text that pointers may lead to: the text of `slot` in item number `item`.

    `data` is the text in UTF-8, lone surrogates passed. A str would be twice as large as soon as it
    holds one character like the arrow after a line number. `withdrawn` means that it goes out as
    another text after all.
    """

    item: int
    slot: list[str | int]
    call: ToolCall
    written: int  # 0 a result, else the n-th text of the call's input
    data: bytes
    end: int = 0  # characters of the conversation up to its end
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """Lines [of, of+count) of the new text are [first, first+count) of the target."""

    of: int
    count: int
    target: FoldTarget
    first: int

    @property
    def end(self) -> int:
        """The first line after the run."""
        return self.of + self.count


class Index:
    """The texts of one conversation as forwarded, by blocks of lines. `size` is in bytes, about."""

    def __init__(self) -> None:
        self.size = 0
        self._targets: list[FoldTarget] = []
        self._blocks: dict[int, int | list[int]] = {}
        self._arranged: dict[bytes, FoldTarget] = {}
        self._parsed: OrderedDict[int, Lines] = OrderedDict()

    def add(self, target: FoldTarget, text: str) -> None:
        """Take in a text that from now on stands in the outgoing conversation."""
        number = len(self._targets)
        self._targets.append(target)
        lines = numbering.loose(text)
        hashes = list(map(hash, lines))
        entries = 1
        self._enter(hash(tuple(hashes)), number << 24)
        for at in range(0, len(hashes) - BLOCK + 1, BLOCK):
            self._enter(hash(tuple(hashes[at : at + BLOCK])), number << 24 | at)
        for at, line in enumerate(lines):
            if len(line) >= LONG_LINE:
                self._enter(hashes[at], number << 24 | at)
                entries += 1
        # A dict entry, two integers, and the list that a repeated block brings: measured, rounded.
        self.size += len(target.data) + 300 + 150 * (len(hashes) // BLOCK + entries)

    def add_arranged(self, target: FoldTarget, original: str) -> None:
        """Note that a target is an output that said `original`, and goes out in another way."""
        self._arranged[_name_of(original)] = target
        self.size += 200

    def arranged(self, text: str) -> FoldTarget | None:
        """The latest output that said this, and went out in another way."""
        target = self._arranged.get(_name_of(text))
        return None if target is None or target.withdrawn else target

    def _enter(self, block: int, place: int) -> None:
        held = self._blocks.setdefault(block, place)
        if held is place:
            return
        if isinstance(held, int):
            self._blocks[block] = [held, place]
        elif len(held) < CANDIDATES:
            held.append(place)
        else:
            del held[1]
            held.append(place)

    def lines(self, target: FoldTarget) -> Lines:
        """A target's text by lines; the latest PARSED targets are kept split."""
        key = id(target)
        found = self._parsed.get(key)
        if found is None:
            text = target.data.decode("utf-8", "surrogatepass")
            found = self._parsed[key] = numbering.read(text)
            while len(self._parsed) > PARSED:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(key)
        return found

    def places(self, block: int) -> Sequence[tuple[FoldTarget, int]]:
        """Where a block of lines may stand, by its hash: target and first line, latest first."""
        held = self._blocks.get(block)
        if held is None:
            return ()
        found = [held] if isinstance(held, int) else reversed(held)
        targets = ((self._targets[p >> 24], p & 0xFFFFFF) for p in found)
        return [(target, first) for target, first in targets if not target.withdrawn]

    def whole(self, text: str) -> FoldTarget | None:
        """The latest target whose text equals this one."""
        block = hash(tuple(map(hash, numbering.loose(text))))
        data = text.encode("utf-8", "surrogatepass")
        return next((t for t, _ in self.places(block) if t.data == data), None)


def _name_of(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Folder:
    """Chooses the lines of one new text that are replaced by pointers.

    It goes from the first line to the last and takes the longest run that begins there; then the
    shorter runs between two of them that go on in the same target. `here` is the text by lines,
    `own` the call whose output it is, `allowed` says whether pointers may lead to a target.
    """

    def __init__(
        self,
        index: Index,
        text: str,
        here: Lines,
        own: ToolCall,
        allowed: Callable[[FoldTarget], bool],
        min_lines: int,
    ) -> None:
        self._index = index
        self._own = own
        self._here = here
        self._allowed = allowed
        self._min_lines = min_lines
        self._hashes = list(map(hash, numbering.loose(text)))
        self._split: dict[FoldTarget, Lines] = {}
        self._anchors: dict[FoldTarget, Mapping[str, Sequence[int]]] = {}

    def runs(self) -> list[Run]:
        """The runs to fold, in order, none overlapping."""
        chosen: list[Run] = []
        at, floor, count = 0, 0, len(self._here.raw)
        while at < count:
            run = self._best(at, floor, count)
            if run is None:
                at += 1
            elif self._enough(run):
                chosen.append(run)
                at = floor = run.end
            else:
                # What was looked at and found too short is not looked at again line by line.
                at = max(at + 1, run.end - BLOCK)
        return self._with_pieces(chosen)

    def _best(self, at: int, floor: int, ceiling: int) -> Run | None:
        best: Run | None = None
        blocks = [hash(tuple(self._hashes[at : at + BLOCK]))] if at + BLOCK <= ceiling else []
        if len(self._here.raw[at]) >= LONG_LINE:
            blocks.append(self._hashes[at])
        for block in blocks:
            for target, first in self._index.places(block):
                if self._allowed(target):
                    run = self._extend(target, at, first, floor, ceiling)
                    if run is not None and (best is None or run.count > best.count):
                        best = run
        return best

    def _extend(
        self, target: FoldTarget, of: int, first: int, floor: int, ceiling: int
    ) -> Run | None:
        """The longest run through one pair of equal lines that a pointer can name."""
        here, there = self._here, self._lines(target)
        mine, theirs = here.bodies, there.bodies
        if mine[of] != theirs[first] or _barrier(theirs[first]):
            return None
        segment, other = here.segments[of], there.segments[first]
        # Of two lines with one number, only the first one can be named.
        if not pointers.run_ok(there, first, 1):
            return None
        start, to = of, first
        while (
            start > floor
            and to > 0
            and mine[start - 1] == theirs[to - 1]
            and here.segments[start - 1] == segment
            and there.segments[to - 1] == other
            and pointers.run_ok(there, to - 1, 1)
            and not _barrier(theirs[to - 1])
        ):
            start, to = start - 1, to - 1
        end, stop, last = of + 1, first + 1, len(theirs)
        while (
            end < ceiling
            and stop < last
            and mine[end] == theirs[stop]
            and here.segments[end] == segment
            and there.segments[stop] == other
            and not _barrier(theirs[stop])
        ):
            end, stop = end + 1, stop + 1
        return Run(start, end - start, target, to)

    def _lines(self, target: FoldTarget) -> Lines:
        """A target's text by lines, split once for all runs into it."""
        if target not in self._split:
            self._split[target] = self._index.lines(target)
        return self._split[target]

    def _anchors_of(self, target: FoldTarget) -> Mapping[str, Sequence[int]]:
        """Where each line of a target stands, but for lines such as a brace."""
        if target not in self._anchors:
            places: dict[str, list[int]] = {}
            for at, line in enumerate(self._lines(target).bodies):
                if len(line) > MAX_BRACE:
                    places.setdefault(line, []).append(at)
            self._anchors[target] = places
        return self._anchors[target]

    def _chars(self, run: Run) -> int:
        return sum(map(len, self._here.raw[run.of : run.end])) + run.count

    def _enough(self, run: Run) -> bool:
        if run.target.call is self._own and run.count >= OWN_LINES:
            return self._chars(run) >= OWN_CHARS
        return run.count >= self._min_lines and self._chars(run) >= MIN_CHARS

    def _with_pieces(self, chosen: list[Run]) -> list[Run]:
        """Add the shorter runs between two folds, or beside one, that go on in the same text: an
        edited file is read again, and between two edits only a few lines stand."""
        out: list[Run] = []
        for at, run in enumerate(chosen):
            floor = out[-1].end if out else 0
            before = chosen[at - 1] if at else None
            out += self._pieces(run.target, before, run, floor, run.of)
            out.append(run)
        if chosen:
            out += self._pieces(
                chosen[-1].target, chosen[-1], None, chosen[-1].end, len(self._here.raw)
            )
        return out

    def _pieces(
        self, target: FoldTarget, before: Run | None, after: Run | None, floor: int, ceiling: int
    ) -> list[Run]:
        if ceiling - floor < PIECE_LINES:
            return []
        anchors = self._anchors_of(target)
        low = before.first + before.count if before and before.target is target else 0
        high = after.first if after else len(self._lines(target).bodies)
        found: list[Run] = []
        at = floor
        while at < ceiling:
            places = anchors.get(self._here.bodies[at], ())
            next_place = bisect_left(places, low)
            run = None
            if next_place < len(places) and places[next_place] < high:
                run = self._extend(target, at, places[next_place], floor, ceiling)
            if (
                run is not None
                and run.count >= PIECE_LINES
                and run.first >= low
                and run.first + run.count <= high
                and self._chars(run) >= PIECE_CHARS
            ):
                found.append(run)
                at = floor = run.end
                low = run.first + run.count
            else:
                at += 1
        return found


def _barrier(line: str) -> bool:
    """True if a target line is itself a pointer. A pointer never leads to another one."""
    return line.startswith("[") and pointers.parse(line) is not None
