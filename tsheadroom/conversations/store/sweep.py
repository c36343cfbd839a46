"""Deletes old decisions on disk, a few at a time, so that no turn has to wait for it.

A thread of its own reads an index in slices to find what is too old or too much. The writer gets
only what has to be deleted, in transactions of some milliseconds.
"""

from __future__ import annotations

import heapq
import logging

from tsheadroom.conversations.store import StoreError
from tsheadroom.conversations.store.file import SQLITE_ERRORS
from tsheadroom.conversations.store.sqlite import SqliteStore

log = logging.getLogger(__name__)

SWEEP_EVERY_S = 3600.0
MAX_AGE_S = 30 * 86400  # no provider keeps a prefix for longer, and no client a session
MAX_BYTES = 1 << 30  # about 300,000 turns with forms; a small disk has room for it
SPARE = 0.9  # when there is too much, this share of MAX_BYTES stays, so that it lasts for a while
_SLICE = 500  # conversations looked at in one go, in some milliseconds
_TURNS_AT_ONCE = 100  # in one transaction
_OLDEST = 5_000  # conversations that one sweep chooses from, to stay below the size
_WRITE_SECONDS = 60.0  # if the writer takes longer for a few rows, something else is wrong


def sweep(store: SqliteStore, *, max_age: float = MAX_AGE_S, max_bytes: int = MAX_BYTES) -> None:
    """Forget conversations that have not gone on for `max_age` seconds, then the oldest ones.

    The oldest go if the file has more than `max_bytes`. Blocks until it is done, so it is to be
    called in a thread. Raises StoreError.
    """
    try:
        _sweep(store, int(store.clock() - max_age), max_bytes)
        store.check()
    except SQLITE_ERRORS as error:
        raise StoreError(f"decisions could not be read: {error}") from error


def _sweep(store: SqliteStore, cutoff: int, max_bytes: int) -> None:
    store.release_quarantined(cutoff).result(_WRITE_SECONDS)
    gone = 0
    for family, last, turns in store.families(_SLICE):
        if last < cutoff:
            _forget(store, family, last, turns)
            gone += 1
    if store.size() > max_bytes:
        gone += _shrink(store, int(max_bytes * SPARE))
    store.wipe(cutoff)
    if gone:
        log.info("old conversations forgotten conversations=%d bytes=%d", gone, store.size())


def _shrink(store: SqliteStore, wanted: int) -> int:
    """Forget the conversations that have rested longest, until `wanted` bytes are left."""
    oldest = heapq.nsmallest(_OLDEST, ((last, f, n) for f, last, n in store.families(_SLICE)))
    for gone, (last, family, turns) in enumerate(oldest):
        if store.size() <= wanted:
            return gone
        _forget(store, family, last, turns)
    return len(oldest)


def _forget(store: SqliteStore, family: bytes, last: int, turns: int) -> None:
    for _ in range(0, turns, _TURNS_AT_ONCE):
        store.forget(family, last, _TURNS_AT_ONCE).result(_WRITE_SECONDS)
