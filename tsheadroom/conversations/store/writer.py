"""Writes to the file of decisions, one thread for all, and together what has gathered."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

from tsheadroom.conversations.store import StoreError
from tsheadroom.conversations.store.file import connect

log = logging.getLogger(__name__)

Write = tuple[str, tuple[object, ...]]
"""A statement and its values."""

_GROUPED = 512  # writes in one transaction at most, so that the first does not wait too long


class Writer:
    """The thread that writes. Writes are done in the order in which they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # of the queue's end
        self.closed = False
        self._queue: queue.SimpleQueue[tuple[Write, Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="decisions", daemon=True)
        self._thread.start()

    def submit(self, sql: str, values: tuple[object, ...]) -> Future[None]:
        """Write something. It is durable when the future is done; fails with StoreError."""
        future: Future[None] = Future()
        # From here on nobody can cancel it: if a caller hangs up, its decision is still written.
        future.set_running_or_notify_cancel()
        with self._lock:
            if self.closed:
                future.set_exception(StoreError("the decisions on disk are closed"))
            else:
                self._queue.put(((sql, values), future))
        return future

    def close(self) -> None:
        """Write what is queued, and move SQLite's log into the file."""
        with self._lock:
            self.closed = True
            self._queue.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        connection = connect(self._path)
        for batch in self._gathered():
            try:
                # A single write commits by itself. Each further statement would have to wait until
                # the event loop's thread lets go of the interpreter.
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

    def _gathered(self) -> Iterator[list[tuple[Write, Future[None]]]]:
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


def _resolve(batch: Sequence[tuple[Write, Future[None]]], error: sqlite3.Error | None) -> None:
    for _, future in batch:
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(StoreError(f"decisions could not be written: {error}"))
