"""Writes to the file of decisions, one thread for all, and together what has gathered.

The same thread opens the file, sees whether it is still there, and begins it anew when it is
spoilt. So nobody else has to wait for any of that.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from tsheadroom.conversations.store import StoreError
from tsheadroom.conversations.store.file import (
    SCHEMA,
    SQLITE_ERRORS,
    DecisionsFile,
    Spoilt,
    code_of,
    is_spoilt,
)

log = logging.getLogger(__name__)

_GROUPED = 512  # writes in one transaction at most, so that the first does not wait too long
_PATIENCE_S = 2.0  # how long writes wait for a file that is locked; half of a turn's deadline
_RETRY_LOCKED_S = 0.02  # between two tries meanwhile; SQLite itself waits as well
_RETRY_S = 0.5  # and after that; writes fail at once then
_STUCK_S = 2.0  # if one write takes longer, the disk does not answer
_CHECK_S = 1.0  # between two looks whether the file is still there
_IDLE_S = 2.0  # without a write, after which SQLite's log is emptied
_LOG_S = 60.0  # and how long it may grow at most: it holds what was deleted
_TELL_S = 60.0  # between two log lines of the same trouble
_END_S = 5.0  # for all at the end
_MAX_QUEUED = 4096  # writes that somebody waits for
_MAX_KEPT = 20_000  # changes that wait for a file that cannot be written

# These say something about one statement's values, and nothing about the file.
_OF_ONE_WRITE = (0, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH)


Values = tuple[object, ...]


class Write(Future[None]):
    """A statement and its values. It is durable when this future is done.

    The values may be given as a function; it is called when they are first asked for, which the
    writer's thread does.

    If it fails (with StoreError), or if `cancel()` returns True, it was not written and will not
    be. What is to be kept cannot be cancelled: it is tried again until the file can be written,
    and fails only at the end.
    """

    def __init__(
        self,
        sql: str,
        values: Values | Callable[[], Values],
        lock: threading.Condition,
        *,
        keep: bool,
    ) -> None:
        super().__init__()
        self.sql = sql
        self._values = values
        self.keep = keep
        self._lock = lock
        self.begun = False  # it is being written just now, so it is too late to cancel it
        self.unwanted = False  # it was to be cancelled, and is left out if that is still possible

    @property
    def values(self) -> Values:
        """The statement's values."""
        if callable(self._values):
            self._values = self._values()
        return self._values

    def cancel(self) -> bool:
        """Withdraw it, if it was not begun yet. If it was, it may still be left out."""
        with self._lock:
            if self.keep:
                return False
            self.unwanted = True
            return not self.begun and super().cancel()


class Writer:
    """The thread that writes. Writes are done in the order in which they come."""

    def __init__(self, file: DecisionsFile, opened: Callable[[sqlite3.Connection], None]) -> None:
        """`opened` is called whenever the file was opened, in the thread that did."""
        self._file = file
        self._opened = opened
        self._connection: sqlite3.Connection | None = None
        self._wake = threading.Condition()  # guards the queue, and what has begun
        self._queue: deque[Write] = deque()
        self._kept = 0  # writes in the queue that are to be kept
        self._taken = 0  # writes that are being tried and may come back to it, but for such ones
        self.closed = False
        self._closed_at = 0.0
        self._failing_since: float | None = None
        self._began = math.inf  # when the write that is under way began
        self._down = False  # it fails for so long that new writes fail at once
        self._not_before = 0.0  # when to try again
        self._told: tuple[str, float] = ("", 0.0)
        self._checked = self._wrote = 0.0
        self._emptied = time.monotonic()
        self._dirty = False  # something was written since SQLite's log was emptied
        self._try_to_open()
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """Why nothing can be written now; None if it can."""
        if self._down:
            return self._file.trouble
        late = time.monotonic() - self._began > _STUCK_S
        return "the disk does not answer" if late else None

    def submit(self, sql: str, values: Values | Callable[[], Values]) -> Write:
        """Write something. If the file cannot be written now, that fails at once."""
        return self._queued(Write(sql, values, self._wake, keep=False))

    def keep(
        self, sql: str, values: Values | Callable[[], Values], *, first: bool = False
    ) -> Write:
        """Write something now, or as soon as the file can be written.

        With `first`, it comes before all others, but for those that are being written just now.
        """
        return self._queued(Write(sql, values, self._wake, keep=True), first=first)

    def _queued(self, write: Write, *, first: bool = False) -> Write:
        with self._wake:
            refused = self._refused(keep=write.keep)
            if refused is None:
                (self._queue.appendleft if first else self._queue.append)(write)
                self._kept += write.keep
                self._wake.notify()
        if refused is not None:
            write.set_exception(StoreError(refused))
        return write

    def _refused(self, *, keep: bool) -> str | None:
        """Why a write cannot be queued; None if it can."""
        if self.closed:
            return "the decisions on disk are closed"
        if keep and self._kept >= _MAX_KEPT:
            # It no longer says which answers were lost. Believed later, it would be worth less
            # than nothing.
            self._file.suspected = Spoilt("it could not be written for too long")
        elif not keep and (trouble := self.trouble):
            return f"the decisions on disk cannot be used: {trouble}"
        elif not keep and len(self._queue) + self._taken - self._kept >= _MAX_QUEUED:
            return "too many writes wait for the decisions on disk"
        return None

    def wake(self) -> None:
        """Look after the file now."""
        with self._wake:
            self._wake.notify()

    def empty_log(self) -> None:
        """Move SQLite's log into the file soon, and cut it off."""
        self._emptied = self._wrote = 0.0
        self.wake()

    def close(self) -> None:
        """Write what is queued, and move SQLite's log into the file."""
        with self._wake:
            self.closed, self._closed_at = True, time.monotonic()
            self._wake.notify()
        self._thread.join(_END_S)
        if self._thread.is_alive():
            log.error("the disk does not answer; the daemon ends without it")

    def _run(self) -> None:
        while not self._ended():
            try:
                self._look_after()
                if batch := self._next():
                    self._began = time.monotonic()
                    self._write(batch)
                    self._began, self._taken = math.inf, 0
            except Exception as error:
                self._began, self._taken = math.inf, 0
                # Without this thread nothing would ever be written again.
                log.exception("decisions could not be looked after")
                self._close_connection()
                self._note_failure(f"a defect: {type(error).__name__}", down=True)
        self._end()

    def _ended(self) -> bool:
        late = time.monotonic() - self._closed_at > _STUCK_S
        return self.closed and (not self._queue or self._connection is None or late)

    def _next(self) -> list[Write]:
        """What to write now, after a wait; empty if it is time to look after the file."""
        with self._wake:
            now = time.monotonic()
            if now < self._not_before:
                self._wake.wait(self._not_before - now)
            elif not self._queue and not self.closed and self._failing_since is None:
                self._wake.wait(_CHECK_S)
            if self._connection is None or self._file.suspected:
                return []
            if time.monotonic() < self._not_before:
                return []
            taken = [self._queue.popleft() for _ in range(min(len(self._queue), _GROUPED))]
            self._kept -= sum(write.keep for write in taken)
            batch = [write for write in taken if not write.cancelled()]
            if not batch and self._failing_since is not None:
                batch = [self._probe()]
            for write in batch:
                write.begun = True
            self._taken = sum(not write.keep for write in batch)
        return batch

    def _probe(self) -> Write:
        """A write that changes nothing, to see if the file can be written again."""
        return Write(f"PRAGMA user_version={SCHEMA}", (), self._wake, keep=False)

    def _write(self, batch: Sequence[Write]) -> None:
        connection = self._connection
        assert connection is not None
        if any(write.unwanted for write in batch):
            self._put_back(batch)
            return
        try:
            # A single write commits by itself. Each further statement would have to wait until
            # the event loop's thread lets go of the interpreter.
            if len(batch) > 1:
                connection.execute("BEGIN IMMEDIATE")
            for write in batch:
                connection.execute(write.sql, write.values)
            if len(batch) > 1 and any(write.unwanted for write in batch):
                connection.execute("ROLLBACK")
                self._put_back(batch)
                return
            if len(batch) > 1:
                connection.execute("COMMIT")
        except Exception as error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            self._failed(batch, error)
        else:
            self._works()
            self._dirty, self._wrote = True, time.monotonic()
            for write in batch:
                write.set_result(None)

    def _failed(self, batch: Sequence[Write], error: Exception) -> None:
        code = code_of(error)
        if is_spoilt(error):
            self._file.suspected = Spoilt(str(error))
            self._put_back(batch)  # the new file gets them
            return
        if code in _OF_ONE_WRITE:
            if len(batch) > 1:
                for write in batch:
                    self._write([write])
            else:
                self._fail(batch, error)
            return
        locked = code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        now = time.monotonic()
        since = self._failing_since or now
        self._note_failure(str(error), down=not locked or now - since >= _PATIENCE_S)
        self._put_back(batch)
        if self._needs_opening(code):
            self._close_connection()

    def _needs_opening(self, code: int) -> bool:
        """True if the connection will not get better. Without it nobody can read either."""
        if code == sqlite3.SQLITE_READONLY:  # SQLite opened it so, or the disk has become so
            return os.access(self._file.path, os.W_OK) and os.access(
                self._file.path.parent, os.W_OK
            )
        return code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)

    def _put_back(self, batch: Sequence[Write]) -> None:
        """Queue it again, as the first; what nobody keeps fails if there is no hope for now.

        What nobody wants any more is left out.
        """
        with self._wake:
            unwanted = [write for write in batch if write.unwanted]
            again = [write for write in batch if not write.unwanted]
            for write in again:
                write.begun = False
            self._queue.extendleft(reversed(again))
            self._kept += sum(write.keep for write in again)
            self._taken = 0
            failed: list[Write] = []
            if self._down:
                failed = [write for write in self._queue if not write.keep]
                self._queue = deque(write for write in self._queue if write.keep)
                for write in failed:
                    write.begun = True
        self._fail(unwanted, "it was withdrawn")
        self._fail([write for write in failed if not write.cancelled()], self._file.trouble)

    def _fail(self, batch: Sequence[Write], why: object) -> None:
        for write in batch:
            write.set_exception(StoreError(f"decisions could not be written: {why}"))

    def _note_failure(self, trouble: str, *, down: bool) -> None:
        now = time.monotonic()
        with self._wake:
            self._failing_since = self._failing_since or now
            self._not_before = now + (_RETRY_S if down else _RETRY_LOCKED_S)
            if not down:
                return
            self._down, self._file.trouble = True, trouble
        told, at = self._told
        if told != trouble or now - at > _TELL_S:
            self._told = trouble, now
            log.error("decisions on disk cannot be used; new items are left alone err=%s", trouble)

    def _works(self) -> None:
        if self._failing_since is None and self._file.trouble is None:
            return
        with self._wake:
            was_down, self._down = self._down, False
            self._failing_since, self._file.trouble = None, None
        if was_down:
            log.info("decisions on disk can be used again")

    def _look_after(self) -> None:
        """Open the file, see if it is still there, begin it anew, empty SQLite's log."""
        now = time.monotonic()
        if self._connection is None:
            if now >= self._not_before:
                self._try_to_open()
            return
        if self._file.suspected is None and now - self._checked >= _CHECK_S:
            self._checked = now
            self._file.suspected = self._file.moved()
        if self._file.suspected:
            self._close_connection()
            self._try_to_open()
        elif self._dirty and (now - self._wrote >= _IDLE_S or now - self._emptied >= _LOG_S):
            self._empty_log()

    def _try_to_open(self) -> None:
        self._open()
        if self._connection is None and self._file.suspected:
            self._open()  # what it holds was spoilt; it is begun anew

    def _open(self) -> None:
        try:
            connection = self._connection = self._file.open()
            self._opened(connection)
        except (StoreError, *SQLITE_ERRORS) as error:
            if is_spoilt(error):
                self._file.suspected = Spoilt(str(error))
            self._close_connection()
            self._note_failure(str(error), down=True)
            self._put_back(())
        else:
            self._checked = time.monotonic()
            if self._failing_since is None:
                self._works()
            self._not_before = 0.0

    def _empty_log(self) -> None:
        """Move SQLite's log into the file, and cut it off: it holds what was deleted, too."""
        assert self._connection is not None
        self._emptied = time.monotonic()
        try:
            busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except SQLITE_ERRORS as error:
            if is_spoilt(error):
                self._file.suspected = Spoilt(str(error))
            busy = True
        if busy:  # somebody reads an old state
            self._wrote = self._emptied
        else:
            self._dirty = False

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _end(self) -> None:
        with self._wake:
            left = [write for write in self._queue if not write.cancelled()]
            self._queue.clear()
            for write in left:
                write.begun = True
        self._fail(left, "the daemon ends")
        if self._connection is not None:
            self._empty_log()
            self._close_connection()
