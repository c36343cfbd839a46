"""Decisions on disk: one SQLite table of turns, written before an answer leaves.

A turn has the name of its request's prefix, and says what it adds to an earlier turn: digests and
forms. To find the forms in force at a turn, all earlier ones are read, too. All writes go through
one thread, which commits together what has gathered since its last commit.
"""

from __future__ import annotations

import contextlib
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
import zstandard

from tsheadroom.conversations.store import Forms, Line, Record, StoreError
from tsheadroom.conversations.store.file import FILE_NAME, connect, open_file
from tsheadroom.conversations.store.known import KnownPrefixes
from tsheadroom.conversations.store.writer import Write, Writer

log = logging.getLogger(__name__)

_LOOK_ROWS = 1000  # names of turns noted in one go, in some 2 ms
_LOOK_PAUSE_S = 0.01  # between: the event loop needs the interpreter, too
_IN_QUERY = 500  # below SQLite's bound on host parameters
_LEVEL = 3  # zstd's default: forms are small and written once
_EXPLAINING = 4  # requests that are looked at to explain an answer; nearly always there is one

_WALK_UP = """
WITH RECURSIVE up(chain, parent, family, length, digests, forms, delivered) AS (
  SELECT chain, parent, family, length, digests, forms, delivered FROM turn WHERE chain = ?
  UNION ALL
  SELECT t.chain, t.parent, t.family, t.length, t.digests, t.forms, t.delivered
  FROM turn t JOIN up ON t.chain = up.parent
) SELECT chain, parent, family, length, digests, forms, delivered FROM up ORDER BY length
"""

_WALK_DOWN = """
WITH RECURSIVE down(chain, length, delivered) AS (
  SELECT chain, length, delivered FROM turn WHERE parent = ?
  UNION ALL
  SELECT t.chain, t.length, t.delivered FROM turn t JOIN down ON t.parent = down.chain
  WHERE t.length <= ?
) SELECT ifnull((SELECT t.chain FROM turn t WHERE t.parent = down.chain LIMIT 1), chain)
FROM down WHERE length = ? AND delivered LIMIT ?
"""

P = ParamSpec("P")
_FORMS = msgspec.msgpack.Decoder(Forms)


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    """Makes of a stored turn what it is to be; None if it is to be deleted."""

    apply: Callable[[Record], Record | None]


class SqliteStore:
    """The table, in one directory. One thread reads and one writes; callers get futures."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Open the file, or create it. Raises StoreError."""
        self._path = directory / FILE_NAME
        self.clock = clock
        self._reader = open_file(self._path)
        # Changes to turns that are on disk, by prefix, until they are written. Nobody waits for
        # these, so a reader may come first, and has to apply them itself.
        self._changes: dict[bytes, list[_Change]] = {}
        self._lock = threading.Lock()  # of the changes
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="decisions-read")
        self._writer = Writer(self._path)
        self._known: KnownPrefixes | None = None  # None until all of the file was looked through
        self._saved: list[bytes] = []  # turns that were saved while it is looked through
        self._looking: Future[KnownPrefixes] | None = self._look_through()

    def may_hold(self, chain: bytes) -> bool:
        """False if this turn is certainly not on disk, so that nobody has to read it."""
        if self._looking is not None and self._looking.done():
            self._take_known(self._looking)
        return self._known is None or self._known.may_hold(chain)

    def _look_through(self) -> Future[KnownPrefixes]:
        """Start to note every turn that is on disk, in a thread of its own and in small slices."""
        looker = ThreadPoolExecutor(1, thread_name_prefix="decisions-look")
        looking = looker.submit(self._all_known)
        looker.shutdown(wait=False)
        return looking

    def _all_known(self) -> KnownPrefixes:
        self._writer.submit(
            "SELECT 1", ()
        ).result()  # then all that was saved before is in the file
        with contextlib.closing(connect(self._path)) as connection:
            count = connection.execute("SELECT count(*) FROM turn").fetchone()[0]
            known = KnownPrefixes(count)
            rows = connection.execute("SELECT chain FROM turn INDEXED BY turn_parent")
            while not self._writer.closed and (slice_ := rows.fetchmany(_LOOK_ROWS)):
                known.update(row[0] for row in slice_)
                time.sleep(_LOOK_PAUSE_S)
        return known

    def _take_known(self, looking: Future[KnownPrefixes]) -> None:
        self._looking = None
        if looking.exception() is not None:
            log.warning("decisions are read one by one err=%s", looking.exception())
            return  # then every turn asks the disk
        self._known = looking.result()
        self._known.update(self._saved)
        self._saved.clear()

    def _note(self, chain: bytes) -> None:
        if self._known is not None:
            self._known.add(chain)
            if self._known.full and self._looking is None:
                self._looking = self._look_through()
        if self._looking is not None:
            # Its own write comes only now, so it may come too late for the look that began with it.
            self._saved.append(chain)

    def longest(self, chains: Sequence[bytes]) -> Future[list[Line]]:
        """Read the line to the longest known turn among these; an empty list if none is known.

        The future fails with StoreError if the file cannot be read.
        """
        return self._reads.submit(self._read, self._longest, chains)

    def siblings(self, chain: bytes, length: int) -> Future[list[Line]]:
        """Read the lines to requests of this length that went on from the turn named `chain`.

        Only requests whose answer arrived count. If a later request went on from one of them, the
        line ends in that one, because it holds the answer.
        """
        return self._reads.submit(self._read, self._siblings, chain, length)

    def _read(self, question: Callable[P, list[Line]], *args: P.args, **kw: P.kwargs) -> list[Line]:
        try:
            return question(*args, **kw)
        except (sqlite3.Error, zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise StoreError(f"decisions could not be read: {error}") from error

    def _longest(self, chains: Sequence[bytes]) -> list[Line]:
        with self._lock:
            gone = [chain for chain, changes in self._changes.items() if _is_gone(changes)]
        chains = [chain for chain in chains if chain not in gone]
        best: tuple[int, bytes] | None = None
        for batch in _batches(chains, _IN_QUERY):
            marks = ",".join("?" * len(batch))
            found = self._reader.execute(
                f"SELECT length, chain FROM turn WHERE chain IN ({marks})"
                " ORDER BY length DESC LIMIT 1",
                batch,
            ).fetchone()
            best = max(filter(None, (best, found)), default=None)
        return [self._line(best[1])] if best else []

    def _siblings(self, chain: bytes, length: int) -> list[Line]:
        found = self._reader.execute(_WALK_DOWN, (chain, length, length, _EXPLAINING))
        return [self._line(row[0]) for row in found.fetchall()]

    def _line(self, chain: bytes) -> Line:
        """The turns from the conversation's start to this one."""
        # Changes are looked at before and after. A change that is written while the rows are read
        # is forgotten then, but it was still there before.
        before = self._unwritten()
        rows = self._reader.execute(_WALK_UP, (chain,)).fetchall()
        changes = before | self._unwritten()
        unpack = zstandard.ZstdDecompressor().decompress
        line = []
        for c, p, f, n, d, z, ok in rows:
            record = Record(c, p, f, n, d, _FORMS.decode(unpack(z)) if z else {}, bool(ok))
            for change in changes.get(c, ()):
                record = change.apply(record) or record
            line.append(record)
        return line

    def _unwritten(self) -> dict[bytes, list[_Change]]:
        with self._lock:
            return {chain: list(changes) for chain, changes in self._changes.items()}

    def quarantined(self) -> list[bytes]:
        """Digests of items that cost a worker its life, the newest last."""
        return [row[0] for row in self._reader.execute("SELECT digest FROM costly ORDER BY at")]

    def save(self, record: Record) -> Future[None]:
        """Write a turn. It is durable when the future is done."""
        self._note(record.chain)
        return self._writer.submit(*self._insert(record))

    def _insert(self, record: Record) -> Write:
        forms = None
        if record.forms:
            pack = zstandard.ZstdCompressor(_LEVEL).compress
            forms = pack(msgspec.msgpack.encode(record.forms))
        return (
            "INSERT OR REPLACE INTO turn VALUES (?,?,?,?,?,?,?,?)",
            (record.chain, record.parent, record.family, record.length, record.digests, forms,
             record.delivered, int(self.clock())),
        )  # fmt: skip

    def mark(self, chain: bytes, *, arrived: bool) -> None:
        """Note how a turn's answer ended.

        Like `save_again` and `delete`, this counts at once for whoever reads, and is on disk soon.
        """
        change = _Change(lambda record: msgspec.structs.replace(record, delivered=arrived))
        self._change(chain, change, "UPDATE turn SET delivered = ? WHERE chain = ?",
                     (arrived, chain))  # fmt: skip

    def save_again(self, record: Record) -> None:
        """Write a turn again, because its decision was taken back."""
        self._change(record.chain, _Change(lambda _: record), *self._insert(record))

    def delete(self, chain: bytes) -> None:
        """Delete a turn that no other turn goes on from."""
        gone = _Change(lambda _: None)
        self._change(chain, gone, "DELETE FROM turn WHERE chain = ?", (chain,))

    def _change(self, chain: bytes, change: _Change, sql: str, values: tuple[object, ...]) -> None:
        with self._lock:
            self._changes.setdefault(chain, []).append(change)
        self._writer.submit(sql, values).add_done_callback(lambda _: self._written(chain, change))

    def _written(self, chain: bytes, change: _Change) -> None:
        """Forget a change that is on disk. The writer's thread calls this, so it needs the lock."""
        with self._lock:
            changes = self._changes[chain]
            changes.remove(change)
            if not changes:
                del self._changes[chain]

    def quarantine(self, digest: bytes) -> Future[None]:
        """Note an item that must not be given to a worker again."""
        return self._writer.submit(
            "INSERT OR REPLACE INTO costly VALUES (?,?)", (digest, int(self.clock()))
        )

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

    def families(self, slice_: int) -> Iterator[tuple[bytes, int, int]]:
        """Yield for each conversation its name, when it went on last, and its number of turns.

        This blocks, so it is for a thread of the caller's. It reads an index in slices, without the
        turns themselves, and so nobody has to wait.
        """
        after = b""
        with contextlib.closing(connect(self._path)) as connection:
            while found := connection.execute(
                "SELECT family, max(at), count(*) FROM turn WHERE family > ?"
                " GROUP BY family ORDER BY family LIMIT ?",
                (after, slice_),
            ).fetchall():
                yield from found
                after = found[-1][0]

    def size(self) -> int:
        """Bytes of the file that are in use. This blocks, so it is for a thread of the caller's."""
        with contextlib.closing(connect(self._path)) as connection:
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
        self._reader.close()


def _is_gone(changes: Sequence[_Change]) -> bool:
    nothing = Record(b"", None, b"", 0, b"", {})
    return changes[-1].apply(nothing) is None


def _batches(all_: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(all_), size):
        yield all_[start : start + size]
