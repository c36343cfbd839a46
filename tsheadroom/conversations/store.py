"""Decisions on disk: one SQLite table of turns, written before an answer leaves.

A turn names its request by the chain of its items and says what it adds to an earlier turn: digests
and forms. The forms in force at a turn are found by walking up. All writes go through one thread,
which commits whatever has gathered since its last commit at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec
import zstandard

from tsheadroom.conversations.decisions import Form
from tsheadroom.errors import TsheadroomError

log = logging.getLogger(__name__)

FILE_NAME = "conversations.sqlite3"
SCHEMA = 1
MAX_AGE_S = 30 * 86400  # no provider keeps a prefix, nor a client a session, for longer
MAX_BYTES = 1 << 30  # about 300,000 turns with forms; keeps a small disk usable
SWEEP_EVERY_S = 3600.0
_GROUPED = 512  # writes in one transaction at most, so that the first does not wait for ever
_IN_QUERY = 500  # below SQLite's bound on host parameters
_BUSY_MS = 5000
_LEVEL = 3  # zstd's default: forms are small and written once
_ROW_BYTES = 250  # a row beside its digests and forms: three names, and both indexes
_EXPLAINING = 4  # requests looked at to explain an answer; more than one is an odd coincidence

_TABLES = """
CREATE TABLE turn (
  chain BLOB PRIMARY KEY, parent BLOB, family BLOB NOT NULL, length INTEGER NOT NULL,
  digests BLOB NOT NULL, forms BLOB, delivered INTEGER NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX turn_family ON turn (family, at);
CREATE INDEX turn_parent ON turn (parent);
CREATE TABLE costly (digest BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
"""
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

Forms = dict[int, Form]
_FORMS = msgspec.msgpack.Decoder(Forms)


class StoreError(TsheadroomError):
    """The decisions on disk cannot be opened."""


class Record(msgspec.Struct, frozen=True):
    """One turn. `digests` and `forms` are of the items from `parent`'s end on."""

    chain: bytes
    parent: bytes | None
    family: bytes
    length: int
    digests: bytes
    forms: Forms
    delivered: bool = True


class Store:
    """The table, in one directory. Reads are made by the caller's thread, writes by its own."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Open or create it. Raises StoreError with a sentence."""
        self._path = directory / FILE_NAME
        self._clock = clock
        self._reader = self._open()
        # Marks that are not on disk yet: nobody waits for these, so a reader may come before them.
        self._marks: dict[bytes, tuple[Future[None], bool]] = {}
        self._queue: queue.SimpleQueue[tuple[_Write, Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="decisions", daemon=True)
        self._thread.start()

    def longest(self, chains: Iterable[bytes]) -> bytes | None:
        """Which of these chains is the longest known turn; None for none."""
        best: tuple[int, bytes] | None = None
        for batch in _batches(list(chains), _IN_QUERY):
            marks = ",".join("?" * len(batch))
            found = self._reader.execute(
                f"SELECT length, chain FROM turn WHERE chain IN ({marks})"
                " ORDER BY length DESC LIMIT 1",
                batch,
            ).fetchone()
            best = max(filter(None, (best, found)), default=None)
        return best[1] if best else None

    def line(self, chain: bytes) -> list[Record]:
        """The turns from the conversation's start to this one."""
        rows = self._reader.execute(_WALK_UP, (chain,)).fetchall()
        unpack = zstandard.ZstdDecompressor().decompress

        def marked(chain: bytes, stored: int) -> bool:
            return self._marks.get(chain, (None, bool(stored)))[1]

        return [
            Record(c, p, f, n, d, _FORMS.decode(unpack(z)) if z else {}, marked(c, ok))
            for c, p, f, n, d, z, ok in rows
        ]

    def continued(self, chain: bytes, length: int) -> list[bytes]:
        """Requests of this length, delivered, that went on from the turn named `chain`.

        Where one is known to have gone on, that next request stands for it: it holds the answer.
        """
        found = self._reader.execute(_WALK_DOWN, (chain, length, length, _EXPLAINING))
        return [row[0] for row in found.fetchall()]

    def costly(self) -> list[bytes]:
        """Digests of items that killed or outlived a worker, the newest last."""
        return [row[0] for row in self._reader.execute("SELECT digest FROM costly ORDER BY at")]

    def save(self, record: Record) -> Future[None]:
        """Write a turn; the future is done when it is durable."""
        forms = None
        if record.forms:
            pack = zstandard.ZstdCompressor(_LEVEL).compress
            forms = pack(msgspec.msgpack.encode(record.forms))
        return self._submit(
            "INSERT OR REPLACE INTO turn VALUES (?,?,?,?,?,?,?,?)",
            (record.chain, record.parent, record.family, record.length, record.digests, forms,
             record.delivered, int(self._clock())),
        )  # fmt: skip

    def mark(self, chain: bytes, *, delivered: bool) -> Future[None]:
        """Note whether a turn's answer arrived."""
        written = self._submit("UPDATE turn SET delivered = ? WHERE chain = ?", (delivered, chain))
        self._marks[chain] = written, delivered
        written.add_done_callback(lambda _: self._forget(chain, written))
        return written

    def _forget(self, chain: bytes, written: Future[None]) -> None:
        if self._marks.get(chain, (None, False))[0] is written:
            del self._marks[chain]

    def avoid(self, digest: bytes) -> Future[None]:
        """Note an item that must not be processed again."""
        return self._submit(
            "INSERT OR REPLACE INTO costly VALUES (?,?)", (digest, int(self._clock()))
        )

    def sweep(self, *, max_age: float = MAX_AGE_S, max_bytes: int = MAX_BYTES) -> Future[None]:
        """Forget what was not continued for `max_age` seconds, then the oldest beyond the size."""
        cutoff = int(self._clock() - max_age)
        self._submit("DELETE FROM costly WHERE at < ?", (cutoff,))
        self._submit(
            "DELETE FROM turn WHERE family IN"
            " (SELECT family FROM turn GROUP BY family HAVING max(at) < ?)",
            (cutoff,),
        )
        return self._submit(
            "DELETE FROM turn WHERE family IN (SELECT family FROM ("
            f" SELECT family, sum(sum({_ROW_BYTES} + length(digests) + ifnull(length(forms), 0)))"
            "  OVER (ORDER BY max(at) DESC, family) AS newer"
            " FROM turn GROUP BY family) WHERE newer > ?)",
            (max_bytes,),
        )

    def close(self) -> None:
        """Write what is queued, fold the log into the file, close."""
        self._queue.put(None)
        self._thread.join()
        self._reader.close()

    def _submit(self, sql: str, values: tuple[object, ...]) -> Future[None]:
        future: Future[None] = Future()
        # From here on nobody can cancel it: a write is not undone because its caller hung up.
        future.set_running_or_notify_cancel()
        self._queue.put(((sql, values), future))
        return future

    def _open(self) -> sqlite3.Connection:
        try:
            # Created by hand first: SQLite would use the umask, and forms are people's data.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._path.chmod(0o600)
            with contextlib.closing(self._connect()) as first:
                version = first.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    first.executescript(f"BEGIN;{_TABLES}PRAGMA user_version={SCHEMA};COMMIT;")
            if version > SCHEMA:
                raise StoreError(
                    f"{self._path} was written by a newer tsheadroom (schema {version}, this one"
                    f" knows {SCHEMA}); upgrade, or move the file away"
                )
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise StoreError(f"{self._path} cannot be opened: {error}") from error
            return self._start_over(error)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be opened: {error}") from error

    def _start_over(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        spoilt = self._path.with_suffix(".spoilt")
        log.error("decisions on disk are spoilt; starting empty err=%s kept=%s", error, spoilt)
        self._path.replace(spoilt)
        for suffix in ("-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        return self._open()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        connection.execute("PRAGMA journal_mode=WAL")
        # A commit survives the death of this process at once; a power cut may take back the last
        # ones, never half of one. An fsync a turn would cost more than all the rest of it.
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _write_all(self) -> None:
        connection = self._connect()
        for batch in self._gathered():
            try:
                # A lone write commits by itself: each statement more is a wait for the loop's
                # thread to let go of the interpreter.
                if len(batch) > 1:
                    connection.execute("BEGIN IMMEDIATE")
                for (sql, values), _ in batch:
                    connection.execute(sql, values)
                if len(batch) > 1:
                    connection.execute("COMMIT")
            except sqlite3.Error as error:
                log.error("decisions could not be written err=%s turns=%d", error, len(batch))
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                _resolve(batch, error)
            else:
                _resolve(batch, None)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def _gathered(self) -> Iterator[list[tuple[_Write, Future[None]]]]:
        while True:
            first = self._queue.get()
            if first is None:
                return
            batch = [first]
            while len(batch) < _GROUPED and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    yield batch
                    return
                batch.append(more)
            yield batch


_Write = tuple[str, tuple[object, ...]]


def _resolve(batch: Sequence[tuple[_Write, Future[None]]], error: sqlite3.Error | None) -> None:
    for _, future in batch:
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(StoreError(f"decisions could not be written: {error}"))


def _batches(all_: list[bytes], size: int) -> Iterator[list[bytes]]:
    for start in range(0, len(all_), size):
        yield all_[start : start + size]
