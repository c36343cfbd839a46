"""Decisions on disk: one SQLite table of turns, written before an answer leaves.

A turn has the name of its request's prefix, and says what it adds to an earlier turn: digests and
forms. To find the forms in force at a turn, all earlier ones are read, too. All writes go through
one thread, which commits together what has gathered since its last commit.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec

import msgspec

from tsheadroom.conversations.store import Line, Record, StoreError, StoreState
from tsheadroom.conversations.store.file import SQLITE_ERRORS, DecisionsFile, Spoilt, code_of
from tsheadroom.conversations.store.known import KnownPrefixes
from tsheadroom.conversations.store.rows import (
    BadRow,
    Sign,
    is_name,
    pack,
    sign,
    signposts,
    signs,
    unpack,
)
from tsheadroom.conversations.store.writer import Values, Writer

log = logging.getLogger(__name__)

_LOOK_ROWS = 500  # rows whose names are noted in one go, in some 2 ms
_LOOK_PAUSE_S = 0.01  # between: the event loop needs the interpreter, too
_IN_QUERY = 500  # below SQLite's bound on host parameters
_LOOK_S = 600.0  # for all of it
_LOOK_AGAIN_S = 10.0  # after a look that failed
_READ_S = 2.0  # for one question; half of a turn's deadline
_CHECK_S = 60.0  # for all pages; a larger file than that allows is read as far as turns need it
_SLICE_S = 10.0  # for a slice of an index, which no turn waits for
_BLIND_S = 0.5  # after a question that failed, others fail at once
_TELL_S = 10.0  # and that is shown as trouble
_MAX_READS = 256  # questions that wait
_LINE_BYTES = 512 << 20  # of one conversation in memory
_COSTLY = 10_000  # items that are remembered
_EXPLAINING = 4  # requests that are looked at to explain an answer; nearly always there is one
_BEGUN_ALIKE = 64  # conversations with the same beginning that are looked through for them

_INSERT = "INSERT OR REPLACE INTO turn VALUES (?,?,?,?,?,?,?,?)"
_AND_ANOTHER = ",(?,?,?,?,?,?,?,?)"

_WALK_UP = """
WITH RECURSIVE up(chain, parent, family, length, digests, forms, delivered) AS (
  SELECT chain, parent, family, length, digests, forms, delivered FROM turn WHERE chain = ?
  UNION ALL
  SELECT t.chain, t.parent, t.family, t.length, t.digests, t.forms, t.delivered
  FROM turn t JOIN up ON t.chain = up.parent AND t.length < up.length
) SELECT chain, parent, family, length, digests, forms, delivered FROM up ORDER BY length
"""

_WALK_DOWN = """
WITH RECURSIVE down(chain, length, delivered) AS (
  SELECT chain, length, delivered FROM turn WHERE parent IN ({marks}) AND length <= ?
  UNION
  SELECT t.chain, t.length, t.delivered FROM (
    SELECT digests FROM turn WHERE parent = ? ORDER BY at DESC LIMIT ?
  ) signpost JOIN turn t ON t.chain = signpost.digests WHERE t.length <= ?
  UNION
  SELECT t.chain, t.length, t.delivered FROM turn t JOIN down ON t.parent = down.chain
  WHERE t.length > down.length AND t.length <= ?
) SELECT ifnull((SELECT t.chain FROM turn t WHERE t.parent = down.chain LIMIT 1), chain)
FROM down WHERE length = ? AND delivered LIMIT ?
"""

_BEHIND = """
SELECT t.chain FROM turn signpost JOIN turn t ON t.chain = signpost.digests
WHERE signpost.parent = ? ORDER BY signpost.at DESC LIMIT ?
"""

P = ParamSpec("P")


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    """Makes of a stored turn what it is to be; None if it is to be deleted."""

    apply: Callable[[Record], Record | None]


class SqliteStore:
    """The table, in one directory. One thread reads and one writes; callers get futures.

    No call waits for the disk. What a future waits for is bounded by the caller: one that is no
    longer wanted is cancelled or forgotten.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Open the file, or create it. If that is not possible now, it is tried again."""
        self.clock = clock
        self._file = DecisionsFile(directory)
        # Changes to turns that are on disk, by prefix, until they are written. Nobody waits for
        # these, so a reader may come first, and has to apply them itself.
        self._changes: dict[bytes, list[_Change]] = {}
        self._lock = threading.Lock()  # of the changes
        self._costly: frozenset[bytes] = frozenset()
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="decisions-read")
        self._room = threading.BoundedSemaphore(_MAX_READS)
        self._unreadable: tuple[float, str] = (-_TELL_S, "")  # when the last question failed, why
        self._refused = 0
        self._writer = Writer(self._file, self._opened)
        self._known: KnownPrefixes | None = None  # None until all of the file was looked through
        self._saved: list[bytes] = []  # names that were saved while it is looked through
        self._looked_at = time.monotonic()
        self._looking: Future[KnownPrefixes] | None = self._look_through()

    @property
    def generation(self) -> int:
        """How often the file was begun anew. Turns of an earlier generation are not in it."""
        return self._file.replaced

    @property
    def state(self) -> StoreState:
        """How the store is now."""
        file = self._file
        at, why = self._unreadable
        unreadable = why if time.monotonic() - at < _TELL_S else None
        return StoreState(
            trouble=self._writer.trouble or file.trouble or unreadable,
            replaced=file.replaced,
            replaced_why=file.replaced_why,
            replaced_s=time.time() - file.replaced_at,
            refused=self._refused,
        )

    def _opened(self, connection: sqlite3.Connection) -> None:
        """Take what the daemon has to know from the start. The writer's thread calls this."""
        rows = connection.execute("SELECT digest FROM costly ORDER BY at DESC LIMIT ?", (_COSTLY,))
        found = {row[0] for row in rows if isinstance(row[0], bytes)}
        if new := self._costly - found:  # of a file that was set aside
            now = int(self.clock())
            with contextlib.suppress(sqlite3.OperationalError):
                connection.executemany(
                    "INSERT OR IGNORE INTO costly VALUES (?,?)", [(digest, now) for digest in new]
                )
        self._costly |= found
        self._unreadable = (-_TELL_S, "")

    def may_hold(self, chain: bytes) -> bool:
        """False if this turn is certainly not on disk, so that nobody has to read it."""
        if self._looking is not None:
            if self._looking.done():
                self._take_known(self._looking)
        elif self._known is None and time.monotonic() - self._looked_at > _LOOK_AGAIN_S:
            self._looking = self._look_through()
        return self._known is None or self._known.may_hold(chain)

    def _look_through(self) -> Future[KnownPrefixes]:
        """Start to note all names that are on disk, in a thread of its own and in small slices."""
        looker = ThreadPoolExecutor(1, thread_name_prefix="decisions-look")
        looking = looker.submit(self._all_known)
        looker.shutdown(wait=False)
        return looking

    def _all_known(self) -> KnownPrefixes:
        # When that is done, all that was saved before is in the file.
        self._writer.submit("SELECT 1", ()).result()
        with self._asking(_LOOK_S) as connection:
            count = connection.execute("SELECT count(*) FROM turn").fetchone()[0]
            # A turn that begins a conversation has three rows, which hold five names.
            known = KnownPrefixes(count * 5 // 3)
            rows = connection.execute("SELECT chain, parent FROM turn INDEXED BY turn_parent")
            while not self._writer.closed and (slice_ := rows.fetchmany(_LOOK_ROWS)):
                known.update(filter(is_name, itertools.chain(*slice_)))
                time.sleep(_LOOK_PAUSE_S)
        return known

    def _take_known(self, looking: Future[KnownPrefixes]) -> None:
        self._looking, self._looked_at = None, time.monotonic()
        if looking.exception() is not None:
            log.warning("decisions are read one by one err=%s", looking.exception())
            self._known = None
            self._saved.clear()
            return  # then every turn asks the disk, until the next look
        self._known = looking.result()
        self._known.update(self._saved)
        self._saved.clear()

    def may_lead(self, *, first: bytes, newest: bytes) -> bool:
        """False if certainly no turn on disk started at these prefixes (see `siblings`)."""
        return self.may_hold(sign(Sign.FIRST, first)) or self.may_hold(sign(Sign.NEWEST, newest))

    def _note(self, names: Sequence[bytes]) -> None:
        """Note the names of a turn that is about to be saved, and of the signs that lead to it."""
        if self._known is not None:
            self._known.update(names)
            if self._known.full and self._looking is None:
                self._looking = self._look_through()
        if self._looking is not None:
            # Its own write comes only now, so it may come too late for the look that began with it.
            self._saved += names

    def longest(self, chains: Sequence[bytes]) -> Future[list[Line]]:
        """Read the line to the longest known turn among these; an empty list if none is known.

        The future fails with StoreError if the file cannot be read. It may be cancelled.
        """
        return self._ask(self._longest, chains)

    def siblings(
        self, chains: Sequence[bytes], length: int, *, first: bytes, newest: bytes
    ) -> Future[list[Line]]:
        """Read the lines along which an answer that stands behind `length` items may have come.

        These are lines to requests of this length that went on from one of the turns `chains` or
        began with the prefix `first`. Only requests whose answer arrived count. If a later request
        went on from one of them, the line ends in that one, because it holds the answer. And these
        are lines to first requests that held an answer behind the prefix `newest`.
        """
        return self._ask(self._siblings, chains[:_IN_QUERY], length, first, newest)

    def _ask(
        self, question: Callable[P, list[Line]], *args: P.args, **kw: P.kwargs
    ) -> Future[list[Line]]:
        if not self._room.acquire(blocking=False):
            full: Future[list[Line]] = Future()
            full.set_exception(StoreError("too many questions wait for the decisions on disk"))
            return full
        try:
            future = self._reads.submit(lambda: self._read(question, *args, **kw))
        except BaseException:
            self._room.release()
            raise
        future.add_done_callback(lambda _: self._room.release())
        return future

    def _read(self, question: Callable[P, list[Line]], *args: P.args, **kw: P.kwargs) -> list[Line]:
        at, why = self._unreadable
        if time.monotonic() - at < _BLIND_S:
            # Each of those who wait would wait as long again.
            raise StoreError(f"decisions could not be read just now: {why}")
        try:
            return question(*args, **kw)
        except SQLITE_ERRORS as error:
            self._unreadable = time.monotonic(), str(error)
            raise StoreError(f"decisions could not be read: {error}") from error

    @contextlib.contextmanager
    def _asking(self, seconds: float = _READ_S) -> Iterator[sqlite3.Connection]:
        try:
            with self._file.reading(seconds) as connection:
                yield connection
        finally:
            if self._file.suspected:
                self._writer.wake()

    def _longest(self, chains: Sequence[bytes]) -> list[Line]:
        with self._lock:
            gone = {chain for chain, changes in self._changes.items() if _is_gone(changes)}
        chains = [chain for chain in chains if chain not in gone]
        best: tuple[int, bytes] | None = None
        with self._asking() as connection:
            for batch in _batches(chains, _IN_QUERY):
                marks = ",".join("?" * len(batch))
                found = connection.execute(
                    f"SELECT length, chain FROM turn WHERE chain IN ({marks})"
                    " AND typeof(length) = 'integer' ORDER BY length DESC LIMIT 1",
                    batch,
                ).fetchone()
                best = max(filter(None, (best, found)), default=None)
            return self._lines(connection, [best[1]] if best else [])

    def _siblings(
        self, chains: Sequence[bytes], length: int, first: bytes, newest: bytes
    ) -> list[Line]:
        walk = _WALK_DOWN.format(marks=",".join("?" * len(chains)))
        begun = sign(Sign.FIRST, first), _BEGUN_ALIKE
        with self._asking() as connection:
            found = connection.execute(
                walk, (*chains, length, *begun, length, length, length, _EXPLAINING)
            ).fetchall()
            found += connection.execute(_BEHIND, (sign(Sign.NEWEST, newest), _EXPLAINING))
            return self._lines(connection, list(dict.fromkeys(row[0] for row in found)))

    def _lines(self, connection: sqlite3.Connection, ends: Sequence[bytes]) -> list[Line]:
        """The lines that end in these turns. One that cannot be believed is as if it were not."""
        lines = []
        for chain in ends:
            try:
                if line := self._line(connection, chain):
                    lines.append(line)
            except BadRow as why:
                self._refused += 1
                log.warning("a turn on disk is not believed: its conversation is a gap err=%s", why)
        return lines

    def _line(self, connection: sqlite3.Connection, chain: bytes) -> Line:
        """The turns from the conversation's start to this one. Raises BadRow."""
        # Changes are looked at before and after. A change that is written while the rows are read
        # is forgotten then, but it was still there before.
        before = self._unwritten()
        rows = connection.execute(_WALK_UP, (chain,)).fetchall()
        changes = before | self._unwritten()
        line, room = [], _LINE_BYTES
        for row in rows:
            record = unpack(row)
            room -= len(record.digests) + sum(form.size for form in record.forms.values())
            if room < 0:
                raise BadRow("a conversation that is too large")
            for change in changes.get(record.chain, ()):
                record = change.apply(record) or record
            line.append(record)
        return line

    def _unwritten(self) -> dict[bytes, list[_Change]]:
        with self._lock:
            return {chain: list(changes) for chain, changes in self._changes.items()}

    def is_quarantined(self, digest: bytes) -> bool:
        """True if the disk says that this item cost a worker its life."""
        return digest in self._costly

    def save(self, record: Record) -> Future[None]:
        """Write a turn. It is durable when the future is done.

        If the future fails (with StoreError), or if its `cancel()` returns True, the turn is not on
        disk and never will be. If `cancel()` returns False, it is being written just now or was, so
        it has to be saved again or deleted.
        """
        self._note([record.chain, *signs(record)])
        return self._writer.submit(*self._rows(record))

    def _rows(self, record: Record) -> tuple[str, Callable[[], Values]]:
        """The statement that writes a turn and what leads to it, and what makes its values.

        To pack the forms of a large conversation takes long, so the writer's thread does that.
        """
        at = int(self.clock())
        more = signposts(record, at)
        return (
            _INSERT + _AND_ANOTHER * len(more),
            lambda: (*pack(record, at), *itertools.chain(*more)),
        )

    def mark(self, chain: bytes, *, arrived: bool) -> None:
        """Note how a turn's answer ended.

        Like `save_again` and `delete`, this counts at once for whoever reads, and is on disk soon,
        or as soon as the disk can be written again.
        """
        change = _Change(lambda record: msgspec.structs.replace(record, delivered=arrived))
        self._change(chain, change, "UPDATE turn SET delivered = ? WHERE chain = ?",
                     (arrived, chain))  # fmt: skip

    def save_again(self, record: Record) -> None:
        """Write a turn again, before all else, because its decision was taken back.

        Until that is done, a killed daemon leaves the wrong one.
        """
        self._change(record.chain, _Change(lambda _: record), *self._rows(record), first=True)

    def delete(self, chain: bytes) -> None:
        """Delete a turn that no other turn goes on from."""
        gone = _Change(lambda _: None)
        self._change(chain, gone, "DELETE FROM turn WHERE chain = ?", (chain,))

    def _change(
        self,
        chain: bytes,
        change: _Change,
        sql: str,
        values: Values | Callable[[], Values],
        *,
        first: bool = False,
    ) -> None:
        with self._lock:
            self._changes.setdefault(chain, []).append(change)
        write = self._writer.keep(sql, values, first=first)
        write.add_done_callback(lambda _: self._written(chain, change))

    def _written(self, chain: bytes, change: _Change) -> None:
        """Forget a change that is on disk. The writer's thread calls this, so it needs the lock."""
        with self._lock:
            changes = self._changes[chain]
            changes.remove(change)
            if not changes:
                del self._changes[chain]

    def quarantine(self, digest: bytes) -> None:
        """Note an item that must not be given to a worker again."""
        self._writer.keep("INSERT OR REPLACE INTO costly VALUES (?,?)", (digest, int(self.clock())))

    def release_quarantined(self, before: float) -> Future[None]:
        """Forget which items cost a worker its life before this time (seconds since 1970)."""
        return self._writer.submit("DELETE FROM costly WHERE at < ?", (int(before),))

    def forget(self, family: bytes, last: int, limit: int) -> Future[None]:
        """Delete up to `limit` turns of a conversation that has not gone on since `last`.

        The latest go first. What is left is then still a conversation, with an earlier end.
        """
        return self._writer.submit(
            "DELETE FROM turn WHERE chain IN (SELECT chain FROM turn WHERE family = ?1"
            " AND (SELECT max(at) FROM turn WHERE family = ?1) <= ?2 ORDER BY at DESC LIMIT ?3)",
            (family, last, limit),
        )

    def check(self) -> None:
        """Look at the form of every page; a file that is spoilt somewhere is begun anew.

        SQLite may read for long, and find nothing, in a tree whose pages were mixed up. This
        blocks, so it is for a thread of the caller's. Raises StoreError and sqlite3.Error.
        """
        with self._asking(_CHECK_S) as connection:
            try:
                found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            except sqlite3.OperationalError as error:
                if code_of(error) == sqlite3.SQLITE_INTERRUPT:
                    return
                raise
            if found != b"ok":
                self._file.suspected = Spoilt(found.decode(errors="replace"))

    def wipe(self, before: float) -> None:
        """See to it that what was deleted cannot be read from the files any more.

        Spoilt files that were set aside before this time (seconds since 1970) are deleted, too.
        """
        self._writer.empty_log()
        try:
            self._file.drop_aside(before)
        except OSError as error:
            log.warning("spoilt files could not be deleted err=%s", error)

    def families(self, slice_: int) -> Iterator[tuple[bytes, int, int]]:
        """Yield for each conversation its name, when it went on last, and its number of turns.

        This blocks, so it is for a thread of the caller's. It reads an index in slices, without the
        turns themselves, and so nobody has to wait. Raises StoreError and sqlite3.Error.
        """
        after: bytes | None = b""
        while after is not None:
            with self._asking(_SLICE_S) as connection:
                found = connection.execute(
                    "SELECT family, max(at), count(*) FROM turn WHERE family > ?"
                    " GROUP BY family ORDER BY family LIMIT ?",
                    (after, slice_),
                ).fetchall()
            after = found[-1][0] if found else None
            for family, last, turns in found:
                yield family, last if isinstance(last, int) else 0, turns

    def size(self) -> int:
        """Bytes of the file that are in use. This blocks, so it is for a thread of the caller's."""
        with self._asking(_SLICE_S) as connection:
            pages, free, page = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
        return int((pages - free) * page)

    def close(self) -> None:
        """Write what is queued, move SQLite's log into the file, and close it."""
        self._reads.shutdown(cancel_futures=True)
        self._writer.close()
        if self._looking is not None:
            wait([self._looking])  # it stops at its next slice
        self._file.close()


def _is_gone(changes: Sequence[_Change]) -> bool:
    nothing = Record(b"", None, b"", 0, b"", {})
    return changes[-1].apply(nothing) is None


def _batches(all_: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(all_), size):
        yield all_[start : start + size]
