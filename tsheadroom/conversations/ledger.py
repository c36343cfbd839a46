"""The law of forms: an item's form is decided when it is first forwarded, and never changes.

`begin` says what is known of a request and which of its items are at first sight; `record` keeps
what was decided, on disk before the answer leaves. Until `delivered` says that the whole answer
arrived, it counts as lost: Aperture then forwarded the originals.
"""

from __future__ import annotations

import logging
import time
from array import array
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tsheadroom.aperture.digests import DIGEST_BYTES
from tsheadroom.conversations.branches import Chains, Delivery, Lineage, Lineages
from tsheadroom.conversations.forms import Form
from tsheadroom.conversations.store.sqlite import Line, Record, Store
from tsheadroom.conversations.store.sweep import sweep

log = logging.getLogger(__name__)

DEFAULT_MEMORY = 256 << 20  # bytes; about 5,000 long conversations with their forms
_MAX_COSTLY = 10_000  # items remembered as too costly; 16 bytes each on disk


class Status(StrEnum):
    """What a request is to what is known."""

    NEW = "new"  # nothing known, and no assistant turn yet: a conversation begins
    CONTINUED = "continued"
    REPEATED = "repeated"  # the same request again
    EDITED = "edited"  # the client changed an item that had been forwarded
    GAP = "gap"  # assistant turns that this daemon was not asked about, or not heard on
    UNKNOWN = "unknown"  # begun before this daemon, or forgotten


@dataclass(frozen=True, slots=True)
class Request:
    """The part of a call that decides. `scope` separates what must not share forms."""

    scope: bytes
    digests: Sequence[bytes]
    by_model: Sequence[bool]
    has_prefix_cache: bool = True  # False: nothing at the provider depends on old items
    thinks_after: Callable[[int], bool] = lambda _: True  # a thinking block at or after an item


@dataclass(slots=True)
class Turn:
    """One request on its way. `forms` are in force; `fresh` may get one now."""

    request: Request
    chains: Chains
    status: Status
    base: Lineage | None
    known: int  # leading items shared with `base`
    name: str  # of the conversation at the workers
    forms: dict[int, Form]
    fresh: list[int]
    intact: int = 0  # leading items that the provider has seen as they are forwarded now
    origin: Lineage | None = None  # whose view was left for a new one
    idle_s: float | None = None  # since the conversation was last forwarded; None: not known
    held: int = 0  # items that a worker holds under that name, up to the chain `prefix`
    prefix: bytes = b""
    lineage: Lineage | None = None  # where it was recorded
    must_store: bool = False  # a decision to leave alone that must outlive this process
    delivery: Delivery = field(default_factory=Delivery)
    built_on: int = 0  # how often the lineage was built on when this turn was recorded there
    known_forms: dict[int, Form] = field(default_factory=dict)  # `forms` as they were before

    @property
    def lost(self) -> bool:
        """Whether its caller is known not to have got the whole answer."""
        return self.delivery.arrived is False

    def drop_forms(self) -> None:
        """Go on with the originals, in a line of their own."""
        self.forms, self.base, self.known = {}, None, 0

    @property
    def chain(self) -> bytes:
        """Names the whole request."""
        return self.chains.of(len(self.request.digests))


@dataclass(slots=True)
class Told:
    """What the disk said about one request. None: it was not asked yet."""

    line: Line | None = None  # the longest stored request that this one goes on from
    siblings: list[Line] | None = None  # requests that may explain the newest answer
    unreadable: bool = False  # it could not say: go on with what memory knows

    def take(self, lines: list[Line]) -> None:
        """The answer to the last question."""
        if self.line is None:
            self.line = lines[0] if lines else []
        else:
            self.siblings = lines


@dataclass(slots=True)
class Stats:
    """Counters since start."""

    loaded: int = 0
    stored: int = 0


class Conversations:
    """All conversations, in memory and on disk. Not thread-safe: one loop calls it."""

    def __init__(
        self,
        *,
        directory: Path | None,
        memory: int = DEFAULT_MEMORY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`directory` None keeps decisions in memory only; `memory` is in bytes."""
        self._directory = directory
        self._clock = clock
        self._lineages = Lineages(memory)
        self._store: Store | None = None
        self._costly: OrderedDict[bytes, None] = OrderedDict()
        self.stats = Stats()

    def open(self) -> None:
        """Open what is on disk. Raises StoreError."""
        if self._directory:
            self._store = Store(self._directory)
            self._costly.update(dict.fromkeys(self._store.costly()))

    def __len__(self) -> int:
        return len(self._lineages)

    @property
    def memory(self) -> int:
        """Memory that the decisions take, roughly."""
        return self._lineages.bytes

    @property
    def evicted(self) -> int:
        """Conversations let go from memory since start."""
        return self._lineages.evicted

    def begin(self, request: Request, chains: Chains, told: Told) -> Turn | Future[list[Line]]:
        """What is known of a request; or a future, when only the disk can tell.

        Its result goes into `told`, and the question is asked again: nothing that happened
        meanwhile is missed, because each time starts from what memory holds then.
        """
        joined = b"".join(request.digests)
        base, known = self._find(chains, joined, told)
        if self._store and told.line is None and not told.unreadable:
            reached = base.turn_before(known) if base else 0
            longer = [chain for length, chain in chains.longest_first() if length > reached]
            if longer:
                return self._store.longest(longer)
        turn = Turn(request, chains, Status.NEW, base, known, "", {}, [])
        asked = self._classify(turn, joined, _newest_answer(request.by_model), told)
        if asked is not None:
            return asked
        if told.unreadable:
            # The disk may hold a decision about any of these items.
            turn.fresh, turn.must_store = [], True
        at_end = turn.base is not None and turn.known == len(turn.base)
        line = turn.base if at_end and turn.base else Lineage()
        turn.name, turn.held, turn.prefix = line.name, line.held, line.prefix
        if turn.base and turn.base.asked_at:
            turn.idle_s = self._clock() - turn.base.asked_at
        turn.known_forms = dict(turn.forms)
        return turn

    def rewrite(self, turn: Turn, forms: dict[int, Form], first: int) -> None:
        """Forward known items in these new forms, from this turn on; `first` is the first changed.

        It is a view of its own, with all that it shares: answers to come were made from it, while
        the earlier ones, should the client go back to them, were made from the old one.
        """
        turn.forms.update(forms)
        turn.intact = first
        turn.origin, turn.base, turn.known = turn.base, None, 0
        turn.name, turn.held, turn.prefix = Lineage().name, 0, b""
        turn.must_store = True

    def record(self, turn: Turn, decided: dict[int, Form]) -> Future[None] | None:
        """Keep a turn's decisions. A future when they go to disk: wait for it before answering."""
        length = len(turn.request.digests)
        turn.forms.update(decided)
        lineage = turn.lineage = self._line_of(turn, length)
        lineage.asked_at = self._clock()
        if turn.lost:
            lineage.undelivered.add(length)
        elif turn.status is not Status.REPEATED:
            # An answer to the same request may have arrived before; this one has not, yet.
            lineage.under_way[length] = turn.delivery
        turn.built_on = lineage.built_on
        if lineage.name == turn.name:
            lineage.held, lineage.prefix = turn.held, turn.prefix
        if self._store is None or not (turn.must_store or turn.forms):
            self._lineages.touch(lineage)
            return None
        if lineage.turn_before(length) == length and length in lineage.stored and not decided:
            return None
        record = _record_of(turn, lineage, length)
        if length not in lineage.stored:
            insort(lineage.stored, length)
        self._lineages.touch(lineage)
        self.stats.stored += 1
        return self._store.save(record)

    def take_back(self, turn: Turn) -> None:
        """The decision could not be stored in time, so it is not made: new items are left alone.

        What is stored of it all the same, now or later, is written anew without it.
        """
        lineage, length = turn.lineage, len(turn.request.digests)
        if lineage is None or turn.forms == turn.known_forms:
            return
        if lineage.built_on != turn.built_on:
            return  # another request was forwarded with these forms meanwhile: they stand
        turn.forms = dict(turn.known_forms)
        lineage.reform(turn.forms)
        lineage.held, lineage.prefix = 0, b""
        if self._store and length in lineage.stored:
            self._store.save(_record_of(turn, lineage, length))

    def undelivered(self, turn: Turn) -> None:
        """The caller did not get the whole answer, so Aperture forwarded the originals.

        May be said before the turn is recorded: the order of the two does not matter.
        """
        turn.delivery.arrived = False
        if turn.lineage is None:
            return
        length = len(turn.request.digests)
        turn.lineage.under_way.pop(length, None)
        turn.lineage.undelivered.add(length)
        self._lineages.touch(turn.lineage)  # it may have been let go, and read back as delivered
        if self._store and length in turn.lineage.stored:
            self._store.mark(turn.chain, delivered=False)

    def delivered(self, turn: Turn) -> None:
        """The whole answer arrived."""
        turn.delivery.arrived = True
        if turn.lineage is None:
            return
        length = len(turn.request.digests)
        turn.lineage.under_way.pop(length, None)
        if length in turn.lineage.undelivered:  # an earlier answer to the same request was lost
            turn.lineage.undelivered.discard(length)
            if self._store and length in turn.lineage.stored:
                self._store.mark(turn.chain, delivered=True)

    def is_costly(self, digest: bytes) -> bool:
        """Whether an item once killed or outlived a worker."""
        return digest in self._costly

    def avoid(self, digests: Sequence[bytes]) -> None:
        """Never process these items again."""
        for digest in digests:
            self._costly[digest] = None
            if self._store:
                self._store.avoid(digest)
        while len(self._costly) > _MAX_COSTLY:
            self._costly.popitem(last=False)

    def sweep(self) -> None:
        """Forget what is too old or too much on disk. Takes its time: for a thread of its own."""
        if self._store:
            sweep(self._store)

    def close(self) -> None:
        """Make everything durable."""
        if self._store:
            self._store.close()

    def _find(self, chains: Chains, joined: bytes, told: Told) -> tuple[Lineage | None, int]:
        lineage = self._lineages.find(chains)
        known = lineage.common(joined) if lineage else 0
        reached = lineage.turn_before(known) if lineage else 0
        if told.line and told.line[-1].length > reached:
            # A part of the conversation that memory let go of, or this very request, whose
            # record others build on and which must not be written anew.
            lineage = self._load(told.line)
            known = lineage.common(joined) if lineage else 0
        return lineage, known

    def _load(self, line: Line) -> Lineage | None:
        """Take a line in that was read from disk, unless memory has it already."""
        chain = line[-1].chain
        known = self._lineages.of(chain)
        if known is not None:
            return known
        lineage = Lineage()
        for record in line:
            if record.length * DIGEST_BYTES != len(lineage.digests) + len(record.digests):
                return None  # its start was swept away: nothing certain is known of it
            lineage.append(record.digests, record.forms)
            lineage.stored.append(record.length)
            lineage.group = record.family
            if not record.delivered:
                lineage.undelivered.add(record.length)
        self._lineages.keep(lineage, chain)
        self.stats.loaded += 1
        return lineage

    def _classify(
        self, turn: Turn, joined: bytes, newest: int, told: Told
    ) -> Future[list[Line]] | None:
        """Fill in what the turn is to what is known; a future, where the disk must be asked."""
        request, base = turn.request, turn.base
        length = len(request.digests)
        after = [i for i in range(newest, length) if not request.by_model[i]]
        if base is None or not turn.known:
            turn.base, turn.known = None, 0
            turn.status = Status.UNKNOWN if newest else Status.NEW
            turn.fresh = after if request.has_prefix_cache else _all(request, 0)
        elif base.turn_before(length) == length and turn.known >= length:
            turn.status = Status.REPEATED
            turn.forms = _until(base.forms, length)
        elif not newest or _heard(base, turn.known, newest):
            turn.status = Status.CONTINUED
            turn.forms = _until(base.forms, turn.known)
            turn.fresh = [i for i in after if i >= turn.known]
        else:
            line = self._edited(turn, base, joined, newest, told)
            if isinstance(line, Future):
                return line
            if line is not None or not request.has_prefix_cache:
                self._go_on(turn, line or base, joined, after)
            else:
                # Aperture forwarded the originals: that is the newest view, so forms end here.
                turn.status, turn.base, turn.known = Status.GAP, None, 0
                turn.fresh = after
                turn.must_store = bool(base.forms)  # or a restart would find them, not the gap
        turn.intact = turn.known if turn.base else newest
        return None

    def _go_on(self, turn: Turn, line: Lineage, joined: bytes, after: list[int]) -> None:
        """The client edited items: what stands before them is kept, the rest decided anew."""
        request = turn.request
        turn.status = Status.EDITED
        turn.base, turn.known = line, line.common(joined)
        turn.forms = _until(line.forms, turn.known)
        binding = request.has_prefix_cache and request.thinks_after(turn.known)
        turn.fresh = [i for i in after if i >= turn.known] if binding else _all(request, turn.known)

    def _edited(
        self, turn: Turn, base: Lineage, joined: bytes, newest: int, told: Told
    ) -> Lineage | Future[list[Line]] | None:
        """The line whose answer is the newest one here, if only edited items tell them apart."""
        answer = turn.request.digests[newest]

        def explains(one: Lineage) -> bool:
            common = one.common(joined)
            if not one.asked(newest) or not len(one) > common >= turn.known:
                return False
            # Where an answer differs it was another one, and made from another line.
            answers = len(one) <= newest or one.holds(newest, answer)
            return answers and not turn.request.by_model[common]

        found = next(filter(explains, self._lineages.family(base)), None)
        stored = [n for n in base.stored if n <= turn.known]
        if found or not (self._store and stored) or told.unreadable:
            return found
        if told.siblings is None:
            return self._store.siblings(turn.chains.of(stored[-1]), newest)
        lines = map(self._load, told.siblings)
        return next((line for line in lines if line and explains(line)), None)

    def _line_of(self, turn: Turn, length: int) -> Lineage:
        """The lineage that a turn is recorded in: its base's end, inside it, or a new branch."""
        base = turn.base
        if base is not None and turn.known == length:
            if base.turn_before(length) != length:
                # What comes next may be another answer than the one that the line goes on with.
                base.insert(length)
                self._lineages.also(base, turn.chain)
            return base
        added = b"".join(turn.request.digests[turn.known :])
        own = {i: form for i, form in turn.forms.items() if i >= turn.known}
        if base is not None and turn.known == len(base):
            base.append(added, own)
            if not turn.request.by_model[turn.known]:
                # No answer ends the part before, so later requests cannot be found by it.
                self._lineages.also(base, turn.chain)
            return base
        line = base.branch(turn.known) if base else Lineage()
        if not line.forms:
            # Nothing on disk needs to be shared, and what shares nothing ages by itself.
            line.stored, line.group = array("I"), b""
        if turn.name not in self._lineages:
            line.name = turn.name
        line.append(added, own)
        line.group = line.group or turn.chain
        parent = base or turn.origin
        if parent:
            parent.branched(line.name)
        self._lineages.keep(line, turn.chain)
        return line


def _heard(base: Lineage, known: int, newest: int) -> bool:
    """Whether the request that the newest answer answers, or one after it, was answered here."""
    # A line that holds the answer was forwarded with it, as it is: whatever happened since to a
    # repetition of the request, the answer was made from this view.
    return known > newest or (known == newest and base.asked(newest))


def _record_of(turn: Turn, lineage: Lineage, length: int) -> Record:
    before = [n for n in lineage.stored if n < length]
    parent = before[-1] if before else 0
    return Record(
        chain=turn.chain,
        parent=turn.chains.of(parent) if parent else None,
        family=lineage.group or turn.chain,
        length=length,
        digests=b"".join(turn.request.digests[parent:length]),
        forms={i: form for i, form in turn.forms.items() if parent <= i < length},
        delivered=not turn.lost,
    )


def _newest_answer(by_model: Sequence[bool]) -> int:
    """Where the newest run of the model's items begins: the length of the request it answers."""
    at = len(by_model)
    while at and not by_model[at - 1]:
        at -= 1
    while at and by_model[at - 1]:
        at -= 1
    return at


def _until(forms: dict[int, Form], length: int) -> dict[int, Form]:
    return {i: form for i, form in forms.items() if i < length}


def _all(request: Request, start: int) -> list[int]:
    return [i for i in range(start, len(request.digests)) if not request.by_model[i]]
