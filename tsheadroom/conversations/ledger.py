"""All conversations, in memory and on disk: the law of forms.

An item's form is decided when it is first forwarded, and never changes. `begin` finds what is known
of a request and which of its items are undecided. It returns a turn (`turn.py`), which keeps what
is decided: in memory here, and on disk before the answer leaves.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from tsheadroom.aperture.digests import DIGEST_BYTES
from tsheadroom.conversations.branches import Branch, Branches
from tsheadroom.conversations.fates import Fates
from tsheadroom.conversations.forms import Form, of_items
from tsheadroom.conversations.prefixes import Prefixes, Request, name_of
from tsheadroom.conversations.recognise import (
    Recognised,
    Status,
    best_explanation,
    edited,
    gap,
    recognise,
)
from tsheadroom.conversations.store import Line, Record, StoreState
from tsheadroom.conversations.store.sqlite import SqliteStore
from tsheadroom.conversations.store.sweep import sweep
from tsheadroom.conversations.turn import Turn

DEFAULT_MEMORY = 256 << 20  # bytes; about 5,000 long conversations with their forms
_MAX_QUARANTINED = 10_000  # items; 16 bytes each on disk


@dataclass(slots=True)
class FromDisk:
    """What the disk knows about one request. A field is None if the disk was not asked for it."""

    line: Line | None = None  # to the longest stored request that this one goes on from
    siblings: list[Line] | None = None  # to requests that may explain the newest answer
    unreadable: bool = False  # True if it could not be read: memory has to do

    def take(self, lines: list[Line]) -> None:
        """Note the answer to the last question."""
        if self.line is None:
            self.line = lines[0] if lines else []
        else:
            self.siblings = lines


@dataclass(slots=True)
class Stats:
    """Counters since start: conversations read from disk, turns written to it."""

    loaded: int = 0
    stored: int = 0


class Conversations:
    """All conversations, in memory and on disk. Only one event loop may call it."""

    def __init__(
        self,
        *,
        directory: Path | None,
        memory: int = DEFAULT_MEMORY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With `directory` None, decisions are kept in memory only. `memory` is in bytes."""
        self._directory = directory
        self._clock = clock
        self._branches = Branches(memory)
        self._fates = Fates()
        self._store: SqliteStore | None = None
        self._quarantined: OrderedDict[bytes, None] = OrderedDict()
        self.stats = Stats()

    def open(self) -> None:
        """Open what is on disk. If that is not possible now, the store goes on trying."""
        if self._directory:
            self._store = SqliteStore(self._directory)

    @property
    def disk(self) -> StoreState | None:
        """How the store on disk is; None if there is none."""
        return self._store.state if self._store else None

    def __len__(self) -> int:
        return len(self._branches)

    @property
    def memory(self) -> int:
        """Roughly how many bytes of memory the decisions take."""
        return self._branches.bytes

    @property
    def evicted(self) -> int:
        """How many branches were evicted from memory since the start."""
        return self._branches.evicted

    def begin(
        self, request: Request, prefixes: Prefixes, disk: FromDisk
    ) -> Turn | Future[list[Line]]:
        """Find what is known of a request. Returns a future if only the disk can tell.

        The caller waits for the future, puts its result into `disk`, and calls `begin` again. Each
        call starts from what memory holds then, so nothing that happens meanwhile is missed.
        """
        branch, shared = self._find(prefixes, disk)
        if self._store and disk.line is None and not disk.unreadable:
            # The disk may know more: a part that memory evicted, or this very request, whose
            # record others build on and which must not be written anew.
            reached = branch.request_within(shared) if branch else 0
            longer = filter(self._store.may_hold, prefixes.longer_than(reached))
            if asked := list(longer):
                return self._store.longest(asked)
            disk.line = []  # or the answer to the next question would be taken for this one's
        found = self._recognise(request, prefixes, branch, shared)
        if found is None or found.status is Status.UNKNOWN:
            older = self._made_elsewhere(request, prefixes, branch, shared, disk)
            if isinstance(older, Future):
                return older
            if older is None and found is None:
                assert branch is not None
                older = gap(request, branch)
            found = older or found
            assert found is not None
        return self._turn(request, prefixes, found, disk)

    def _recognise(
        self, request: Request, prefixes: Prefixes, branch: Branch | None, shared: int
    ) -> Recognised | None:
        """Apply the table's first rows, and what is known of the request's own session."""
        newest = request.newest_answer
        fate = self._fates.of(prefixes.of(newest), request.session) if newest else None
        found = recognise(request, branch, shared, arrived=fate is not None and fate.arrived)
        if fate is None or branch is None or (found and found.status is not Status.CONTINUED):
            return found
        missed = not fate.arrived and (shared <= newest or not fate.ever)
        return gap(request, branch) if missed else found

    def keep(self, turn: Turn, decided: Mapping[int, Form]) -> Future[None] | None:
        """Keep a turn's decisions. Returns a future if they are written to disk."""
        length = len(turn.request)
        if turn.origin and turn.delivery.arrived is False:
            return None  # a rewrite of history that nobody got
        branch = turn.kept_in = self._branch_of(turn, length)
        if len(branch) == length:
            self._branches.let_end_be_found(branch, turn.prefix)
        branch.asked_at = self._clock()
        if self._store and branch.generation != self._store.generation:
            # Nothing of the branch is in the file, so the next record has to hold all of it.
            branch.stored, branch.generation = array("I"), self._store.generation
        if turn.delivery.arrived is False:
            branch.lost.add(length)
            self._fates.note(turn.prefix, turn.request.session, arrived=False)
        elif turn.status is not Status.REPEATED:
            # If it is the same request again, an answer to it may have arrived before.
            branch.under_way[length] = turn.delivery
        turn.changes = branch.changes
        if branch.name == turn.name:
            branch.held, branch.held_prefix = turn.held, turn.held_prefix
        if self._store is None or not (turn.must_store or turn.forms or branch.stored):
            self._branches.touch(branch)
            return None
        if length in branch.stored and not decided:
            self._branches.touch(branch)
            return None
        saved = self._store.save(_record_of(turn, branch, length))
        if length not in branch.stored:
            insort(branch.stored, length)
            turn.saving = saved
        self._branches.touch(branch)
        self.stats.stored += 1
        return saved

    def keep_without(self, turn: Turn) -> None:
        """Withdraw a kept turn's record, or write it anew, after its decision was taken back."""
        branch, length = turn.kept_in, len(turn.request)
        if not (self._store and branch and length in branch.stored):
            return
        if turn.saving is not None and _never_written(turn.saving):
            # Later records must not build on it. But if it reaches the disk after all, a daemon
            # that is started before the next one does knows how this request was forwarded.
            branch.stored.remove(length)
            turn.saving = self._store.save(_record_of(turn, branch, length))
        else:
            self._store.save_again(_record_of(turn, branch, length))

    def keep_end(
        self, turn: Turn, branch: Branch, *, arrived: bool, withdrawn: bool = False
    ) -> None:
        """Keep how a kept turn's answer ended. With `withdrawn`, it was noted otherwise before."""
        length = len(turn.request)
        if withdrawn:
            self._fates.withdraw(turn.prefix, turn.request.session)
        self._fates.note(turn.prefix, turn.request.session, arrived=arrived)
        if turn.origin and not arrived and branch.changes == turn.changes:
            self._forget(turn, branch)
            return
        branch.under_way.pop(length, None)
        if arrived and length not in branch.lost:
            return  # the record on disk says so already
        if arrived:  # an earlier answer to the same request was lost
            branch.lost.discard(length)
        else:
            branch.lost.add(length)
            self._branches.touch(branch)  # if it was evicted, it must not be read back as arrived
        if self._store and (length in branch.stored or turn.saving is not None):
            self._store.mark(turn.prefix, arrived=arrived)

    def is_quarantined(self, digest: bytes) -> bool:
        """True if an item once cost a worker its life."""
        if digest in self._quarantined:
            return True
        return self._store is not None and self._store.is_quarantined(digest)

    def quarantine(self, digests: Sequence[bytes]) -> None:
        """Never give these items to a worker again."""
        for digest in digests:
            self._quarantined[digest] = None
            if self._store:
                self._store.quarantine(digest)
        while len(self._quarantined) > _MAX_QUARANTINED:
            self._quarantined.popitem(last=False)

    def sweep(self) -> None:
        """Delete what is too old or too much on disk. It takes long, so it needs its own thread."""
        if self._store:
            sweep(self._store)

    def close(self) -> None:
        """Write what is still to be written, and close the disk's store."""
        if self._store:
            self._store.close()

    def _turn(
        self, request: Request, prefixes: Prefixes, found: Recognised, disk: FromDisk
    ) -> Turn:
        branch = found.branch
        at_end = branch is not None and found.shared == len(branch)
        asked_at = branch.asked_at if branch else 0.0
        idle_s = self._clock() - asked_at if asked_at else None
        turn = Turn(self, request, prefixes, found, branch if at_end else None, idle_s)
        if disk.unreadable:
            # The disk may hold a decision about any of these items.
            turn.undecided, turn.must_store = [], True
        return turn

    def _find(self, prefixes: Prefixes, disk: FromDisk) -> tuple[Branch | None, int]:
        """The branch that has most in common with the request, and how many items that is."""
        branch, shared = self._find_in_memory(prefixes)
        reached = branch.request_within(shared) if branch else 0
        if disk.line and disk.line[-1].length > reached:
            branch = self._load(disk.line) if _is_of(disk.line, prefixes) else None
            shared = branch.shared(prefixes.joined) if branch else 0
            if branch:
                self._make_start_findable(branch, prefixes, disk.line[0].length)
        return branch, shared

    def _find_in_memory(self, prefixes: Prefixes) -> tuple[Branch | None, int]:
        """The same, as far as memory knows.

        A branch may be found by the prefix before an answer in its first request, and go on
        otherwise behind that answer. Then another one may share a whole request.
        """
        best: Branch | None = None
        best_shared = best_reached = 0
        for length, branch in self._branches.along(prefixes):
            shared = branch.shared(prefixes.joined)
            reached = branch.request_within(shared)
            if best is None or reached > best_reached:
                best, best_shared, best_reached = branch, shared, reached
            if reached >= length or shared > prefixes.newest_answer:
                break
        return best, best_shared

    def _forget(self, turn: Turn, branch: Branch) -> None:
        """Forget a rewrite of history that did not arrive: the provider has the old forms."""
        self._branches.drop(branch)
        if self._store and len(turn.request) in branch.stored:
            self._store.delete(turn.prefix)

    def _load(self, line: Line) -> Branch | None:
        """Add a line that was read from disk to memory, unless it is there already."""
        prefix = line[-1].chain
        known = self._branches.of(prefix)
        if known and known.request_within(line[-1].length) == line[-1].length:
            return known
        branch = Branch(generation=self._store.generation if self._store else 0)
        for record in line:
            if record.length * DIGEST_BYTES != len(branch.digests) + len(record.digests):
                return None  # the sweep has deleted its start, so its forms are not certain
            branch.append(record.digests, record.forms)
            branch.stored.append(record.length)
            branch.family = record.family
            if not record.delivered:
                branch.lost.add(record.length)
        if known:  # it only begins with these items
            branch.remember(known.name)
        self._branches.keep(branch, prefix)
        self.stats.loaded += 1
        return branch

    def _made_elsewhere(
        self,
        request: Request,
        prefixes: Prefixes,
        branch: Branch | None,
        shared: int,
        disk: FromDisk,
    ) -> Recognised | Future[list[Line]] | None:
        """Recognise a request whose newest answer was not made from this branch.

        It was made from a branch that holds it, or from one of which the client edited items. None
        if there is no such branch, and a future if only the disk can tell.
        """
        family = list(self._family(branch, prefixes))
        if found := _made_from(family, request, prefixes):
            return found
        if self._store and not disk.unreadable:
            if disk.siblings is None:
                known = (name for at, name in prefixes.longest_first() if at <= shared)
                stored = list(filter(self._store.may_hold, known))
                first = prefixes.of(prefixes.first_answer)
                newest = prefixes.of(request.newest_answer)
                if stored or self._store.may_lead(first=first, newest=newest):
                    return self._store.siblings(
                        stored, request.newest_answer, first=first, newest=newest
                    )
            family += filter(None, map(self._load, disk.siblings or ()))
            if found := _made_from(family, request, prefixes):
                return found
        if branch is not None and not request.has_prefix_cache():
            return edited(request, prefixes, branch)
        return None

    def _family(self, branch: Branch | None, prefixes: Prefixes) -> Iterator[Branch]:
        """The branches that may hold the request's newest answer, or explain it."""
        along = [one for _, one in self._branches.along(prefixes) if one is not branch]
        return self._branches.family((*reversed(along), *([branch] if branch else ())))

    def _branch_of(self, turn: Turn, length: int) -> Branch:
        """The branch to keep a turn in: the one that it goes on from, or a new one."""
        branch = turn.branch
        if branch is not None and turn.shared == length:
            if branch.request_within(length) != length:
                # The next answer may be another one than the branch goes on with.
                branch.insert(length)
                self._make_findable(branch, turn)
            branch.asked_again.add(length)
            return branch
        added = turn.request.digests[turn.shared :].joined
        own = of_items(turn.forms, turn.shared, length)
        if branch is not None and turn.shared == len(branch):
            branch.append(added, own)
            if not turn.request.by_model[turn.shared]:
                # No answer ends the part before, so later requests cannot be found by it.
                self._make_findable(branch, turn)
                branch.asked_again.add(turn.shared)
            return branch
        return self._new_branch(turn, added, own)

    def _new_branch(self, turn: Turn, added: bytes, own: dict[int, Form]) -> Branch:
        new = turn.branch.split(turn.shared) if turn.branch else Branch()
        if not new.forms:
            # Without forms it needs no earlier records on disk, so it is a conversation of its own
            # there, which the sweep can delete by itself.
            new.stored, new.family = array("I"), b""
        if turn.name not in self._branches:
            new.name = turn.name
        new.append(added, own)
        new.family = new.family or turn.prefix
        parent = turn.branch or turn.origin or turn.beside
        if parent:
            parent.remember(new.name)
        if turn.origin:
            self._keep_findable(turn.origin, turn.request)
        self._branches.keep(new, turn.prefix)
        self._make_findable(new, turn)
        return new

    def _make_findable(self, branch: Branch, turn: Turn) -> None:
        """Let later requests find the branch by all of the turn's items."""
        self._branches.add_root(branch, turn.prefix)
        self._make_start_findable(branch, turn.prefixes, len(turn.request))

    def _make_start_findable(self, branch: Branch, prefixes: Prefixes, length: int) -> None:
        """Let requests find the branch, too, in which the client changed the last of these items.

        Such a request has all before the newest answer there. If another branch holds that, then
        requests that end there are its own, and it leads to this one.
        """
        start = prefixes.answer_before(length)
        if not start:
            return
        holder = self._branches.find(prefixes, within=start)
        if holder is None or holder.shared(prefixes.joined) < start:
            self._branches.add_root(branch, prefixes.of(start))
        elif holder is not branch and branch.name not in holder.offshoots:
            holder.remember(branch.name)

    def _keep_findable(self, old: Branch, request: Request) -> None:
        """Let requests that go on along the old forms still find these, not the rewritten ones."""
        for length in old.requests:
            if length > len(request):
                joined = bytes(old.digests[: length * DIGEST_BYTES])
                self._branches.add_root(old, name_of(request.scope, joined))


def _is_of(line: Line, prefixes: Prefixes) -> bool:
    """True if a stored line has the digests of the request that names it.

    If not, they changed on the disk, or the sweep has deleted the line's start.
    """
    return prefixes.joined.startswith(b"".join(record.digests for record in line))


def _made_from(
    branches: Sequence[Branch], request: Request, prefixes: Prefixes
) -> Recognised | None:
    """Recognise a request by the one of these that holds its newest answer, or else explains it."""
    most, one = max(((b.shared(prefixes.joined), b) for b in branches), default=(0, None),
                    key=lambda pair: pair[0])  # fmt: skip
    if one is not None and most > request.newest_answer:
        return recognise(request, one, most)
    explaining = best_explanation(branches, request, prefixes)
    return edited(request, prefixes, explaining) if explaining else None


def _never_written(saving: Future[None]) -> bool:
    """True if a record is certainly not on disk and will not be. Withdraws it if that is so."""
    return saving.cancel() or (saving.done() and saving.exception() is not None)


def _record_of(turn: Turn, branch: Branch, length: int) -> Record:
    """What is written to disk of a turn: all after the last stored turn of its branch."""
    before = bisect_left(branch.stored, length)
    parent = branch.stored[before - 1] if before else 0
    prefixes = turn.prefixes
    starts = None
    if prefixes.newest_answer > parent:
        starts = prefixes.of(prefixes.first_answer), prefixes.of(prefixes.newest_answer)
    return Record(
        chain=turn.prefix,
        parent=turn.prefixes.of(parent) if parent else None,
        family=branch.family or turn.prefix,
        length=length,
        digests=turn.request.digests[parent:length].joined,
        forms=of_items(turn.forms, parent, length),
        delivered=turn.delivery.arrived is not False,
        starts=starts,
    )
