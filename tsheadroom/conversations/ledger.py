"""The law of forms: an item's form is decided when it is first forwarded, and never changes.

`begin` says what is known of a request and which of its items are at first sight; `record` keeps
what was decided, on disk before the answer leaves; `undelivered` takes back that the provider got
it.
"""

from __future__ import annotations

import logging
import time
from array import array
from bisect import insort
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tsheadroom.aperture.fingerprints import DIGEST_BYTES
from tsheadroom.conversations.decisions import Form
from tsheadroom.conversations.lineage import Chains, Lineage, Lineages
from tsheadroom.conversations.store import Record, Store

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

    def drop_forms(self) -> None:
        """Go on with the originals, in a line of their own."""
        self.forms, self.base, self.known = {}, None, 0

    @property
    def chain(self) -> bytes:
        """Names the whole request."""
        return self.chains.of(len(self.request.digests))


@dataclass(slots=True)
class Stats:
    """Counters since start."""

    turns: Counter[str] = field(default_factory=Counter)  # by Status
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

    def begin(self, request: Request) -> Turn:
        """What is known of a request."""
        chains = Chains(request.scope, request.digests, request.by_model)
        joined = b"".join(request.digests)
        newest = _newest_answer(request.by_model)
        base, known = self._find(chains, joined)
        turn = self._classify(Turn(request, chains, Status.NEW, base, known, "", {}, []), newest)
        at_end = turn.base is not None and turn.known == len(turn.base)
        line = turn.base if at_end and turn.base else Lineage()
        turn.name, turn.held, turn.prefix = line.name, line.held, line.prefix
        if turn.base and turn.base.asked_at:
            turn.idle_s = self._clock() - turn.base.asked_at
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
        self.stats.turns[turn.status] += 1
        length = len(turn.request.digests)
        turn.forms.update(decided)
        lineage = turn.lineage = self._line_of(turn, length)
        lineage.asked_at = self._clock()
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

    def undelivered(self, turn: Turn) -> None:
        """The caller did not get the whole answer, so Aperture forwarded the originals."""
        if turn.lineage is None:
            return
        length = len(turn.request.digests)
        turn.lineage.undelivered.add(length)
        if self._store and length in turn.lineage.stored:
            self._store.mark(turn.chain, delivered=False)

    def delivered(self, turn: Turn) -> None:
        """A repeated request's answer arrived after an earlier one's did not."""
        length = len(turn.request.digests)
        if turn.lineage and length in turn.lineage.undelivered:
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
        """Forget what is too old or too much on disk."""
        if self._store:
            self._store.sweep()

    def close(self) -> None:
        """Make everything durable."""
        if self._store:
            self._store.close()

    def _find(self, chains: Chains, joined: bytes) -> tuple[Lineage | None, int]:
        lineage = self._lineages.find(chains)
        known = lineage.common(joined) if lineage else 0
        reached = lineage.turn_before(known) if lineage else 0
        if self._store and reached < len(joined) // DIGEST_BYTES:
            # The disk may know more: a part of the conversation that memory let go of, or this
            # very request, whose record others build on and which must not be written anew.
            longer = [chain for length, chain in chains.longest_first() if length > reached]
            chain = self._store.longest(longer)
            if chain is not None:
                lineage = self._load(self._store, chain)
                known = lineage.common(joined) if lineage else 0
        return lineage, known

    def _load(self, store: Store, chain: bytes) -> Lineage | None:
        lineage = Lineage()
        for record in store.line(chain):
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

    def _classify(self, turn: Turn, newest: int) -> Turn:
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
        elif (line := self._edited(turn, base, newest)) or not request.has_prefix_cache:
            turn.status = Status.EDITED
            base = turn.base = line or base
            turn.known = base.common(b"".join(request.digests))
            turn.forms = _until(base.forms, turn.known)
            binding = request.has_prefix_cache and request.thinks_after(turn.known)
            turn.fresh = (
                [i for i in after if i >= turn.known] if binding else _all(request, turn.known)
            )
        else:
            # Aperture forwarded the originals: that is the newest view, so forms end here.
            turn.status, turn.base, turn.known = Status.GAP, None, 0
            turn.fresh = after
            turn.must_store = bool(base.forms)  # or a restart would find the forms, not the gap
        turn.intact = turn.known if turn.base else newest
        return turn

    def _edited(self, turn: Turn, base: Lineage, newest: int) -> Lineage | None:
        """The line whose answer is the newest one here, if only edited items tell them apart."""
        joined = b"".join(turn.request.digests)
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
        if found or not (self._store and stored):
            return found
        last = turn.chains.of(stored[-1])
        lines = (self._load(self._store, c) for c in self._store.continued(last, newest))
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
