"""The file of decisions: its tables, how it is opened, and what happens if it is spoilt."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from pathlib import Path

from tsheadroom.conversations.store import StoreError

log = logging.getLogger(__name__)

FILE_NAME = "conversations.sqlite3"
SCHEMA = 1
_BUSY_MS = 5000

_TABLES = """
CREATE TABLE turn (
  chain BLOB PRIMARY KEY, parent BLOB, family BLOB NOT NULL, length INTEGER NOT NULL,
  digests BLOB NOT NULL, forms BLOB, delivered INTEGER NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX turn_family ON turn (family, at);
CREATE INDEX turn_parent ON turn (parent);
CREATE TABLE costly (digest BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
"""


def open_file(path: Path) -> sqlite3.Connection:
    """Open the file, or create it. Raises StoreError.

    A spoilt file is kept under another name, and an empty one takes its place.
    """
    try:
        # Created here, because SQLite would use the umask, and forms are people's data.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
        with contextlib.closing(connect(path)) as first:
            version = first.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                first.executescript(f"BEGIN;{_TABLES}PRAGMA user_version={SCHEMA};COMMIT;")
        if version > SCHEMA:
            raise StoreError(
                f"{path} was written by a newer tsheadroom (schema {version}, this one"
                f" knows {SCHEMA}); upgrade, or move the file away"
            )
        return connect(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise StoreError(f"{path} cannot be opened: {error}") from error
        return _start_over(path, error)
    except OSError as error:
        raise StoreError(f"{path} cannot be opened: {error}") from error


def connect(path: Path) -> sqlite3.Connection:
    """Another connection to a file that was opened before."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    # After a commit this process may be killed and nothing is lost. A power cut may take back
    # the last commits, but never half of one. An fsync for each turn would cost more than all
    # the rest of it.
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _start_over(path: Path, error: sqlite3.DatabaseError) -> sqlite3.Connection:
    spoilt = path.with_suffix(".spoilt")
    log.error("decisions on disk are spoilt; starting empty err=%s kept=%s", error, spoilt)
    path.replace(spoilt)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    return open_file(path)
