"""The file of decisions: its tables, how it is opened, and when it is begun anew.

Two kinds of trouble are kept apart. What passes by itself (the disk is full, another process has
the file locked, it may not be read) leaves the file as it is, and it is tried again. What does not
(it is no database, its pages are spoilt, its tables are others, it was deleted or replaced under
us) sets it aside under another name, and an empty one takes its place. Conversations that memory
does not hold then go back to the originals, once: a gap.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tsheadroom.conversations.store import StoreError
from tsheadroom.conversations.store.rows import MAX_CELL
from tsheadroom.errors import TsheadroomError
from tsheadroom.files import FileRefused, open_directory, open_regular, regular

log = logging.getLogger(__name__)

FILE_NAME = "conversations.sqlite3"
SCHEMA = 1
_STEPS = 10_000  # of SQLite's machine, some tenths of a millisecond
_RETURN_SECONDS = 2.0
_BUSY_MS = 100  # who waits longer asks again, so that nobody is kept for longer than it wants
_ASIDE = "conversations.spoilt-"
_ASIDE_FILES = 3  # spoilt files that are kept at most
_ASIDE_BYTES = 256 << 20  # together, but for the newest one
_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
_WITH = ("", "-wal", "-shm")  # what SQLite appends to the names of its files

_TABLES = """
CREATE TABLE turn (
  chain BLOB PRIMARY KEY, parent BLOB, family BLOB NOT NULL, length INTEGER NOT NULL,
  digests BLOB NOT NULL, forms BLOB, delivered INTEGER NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX turn_family ON turn (family, at);
CREATE INDEX turn_parent ON turn (parent);
CREATE TABLE costly (digest BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
"""
_SETTINGS = (
    f"PRAGMA busy_timeout={_BUSY_MS}",
    "PRAGMA journal_mode=WAL",
    # After a commit this process may be killed and nothing is lost. A power cut may take back
    # the last commits, but never half of one. An fsync for each turn would cost more than all
    # the rest of it.
    "PRAGMA synchronous=NORMAL",
    # What is deleted is overwritten with zeros: rows hold excerpts of people's texts.
    "PRAGMA secure_delete=ON",
    # A spoilt page is told by its form, before anything in it is believed.
    "PRAGMA cell_size_check=ON",
    "PRAGMA trusted_schema=OFF",
)

SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What the binding raises for trouble with a file."""

Identity = tuple[int, int]
"""A file's device and inode: another file of the same name has others."""


class Spoilt(TsheadroomError):
    """The file is no file of decisions, or no longer the one that was opened."""


def code_of(error: BaseException) -> int:
    """SQLite's primary result code; 0 if the error is not SQLite's."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def is_spoilt(error: BaseException) -> bool:
    """True if the file itself is damaged, so that it will not get better."""
    if isinstance(error, UnicodeDecodeError):
        return True  # SQLite's own message quotes what it found in the file
    cut_off = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHORT_READ
    return cut_off or code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """The file as it was opened once. Who holds a connection asks whether this is still in use."""

    identity: Identity
    log_identity: Identity | None  # of SQLite's log


class DecisionsFile:
    """The file in a directory. One thread opens it and begins it anew, others connect to it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.path = directory / FILE_NAME
        self.opened: Opened | None = None
        self.trouble: str | None = "not opened yet"  # why it cannot be used now
        self.suspected: Spoilt | None = None  # why it is to be begun anew
        self.replaced = 0  # how often it was begun anew
        self.replaced_at = 0.0  # seconds since 1970
        self.replaced_why = ""
        self._returned = threading.Condition()  # guards what is lent, and that nothing is anew
        self._lent = 0
        self._idle: list[sqlite3.Connection] = []

    def open(self) -> sqlite3.Connection:
        """Open it, or create it; if it is spoilt, begin it anew. Raises StoreError.

        Returns a connection for whoever writes.
        """
        self._close_lent()
        try:
            if self.suspected is None:
                try:
                    return self._open()
                except Spoilt as why:
                    self.suspected = Spoilt(str(why))  # without what its traceback holds open
            self._set_aside(str(self.suspected))
            return self._open()
        except (*SQLITE_ERRORS, OSError, Spoilt, FileRefused) as error:
            raise StoreError(f"{self.path} cannot be opened: {_reason(error)}") from error

    def _open(self) -> sqlite3.Connection:
        with self._returned:
            self._create()
            before = self._identities()
            connection = None
            try:
                with contextlib.closing(self._connected()) as first:
                    _check_tables(first)
                connection = self._connected()
                # SQLite opens its log only when it is asked for something.
                connection.execute("SELECT 1 FROM turn LIMIT 1").fetchone()
                identity, log_identity = self._identities()
                if identity is None or identity != before[0]:
                    raise StoreError(f"{self.path} was replaced while it was opened")
            except BaseException as error:
                if connection is not None:
                    connection.close()
                # An unknown format is a plain error of SQLite's. There is no other here.
                if is_spoilt(error) or code_of(error) == sqlite3.SQLITE_ERROR:
                    raise Spoilt(str(error)) from None
                raise
            self.opened = Opened(identity, log_identity)
            return connection

    def _create(self) -> None:
        """See to it that there is a file, and that it is ours and nobody else's to read.

        SQLite must not have it open in this process: it would lose its locks.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = open_directory(self._directory)
        try:
            for suffix in _WITH:
                regular(FILE_NAME + suffix, directory)
            info = regular(FILE_NAME, directory)
            if info is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
                os.close(open_regular(FILE_NAME, flags, directory=directory))
                return
            if info.st_mode & 0o077:
                self.path.chmod(0o600)
            _check_header(directory)
        finally:
            os.close(directory)

    @contextlib.contextmanager
    def reading(self, seconds: float) -> Iterator[sqlite3.Connection]:
        """A connection to read with. A question that takes longer than this is broken off.

        Raises StoreError and sqlite3.Error.
        """
        opened, connection = self._lend()
        until = time.monotonic() + seconds
        connection.set_progress_handler(
            lambda: self.opened is not opened or time.monotonic() > until, _STEPS
        )
        try:
            yield connection
        except SQLITE_ERRORS as error:
            self._suspect(opened, error)
            raise
        finally:
            self._take_back(opened, connection)

    def _lend(self) -> tuple[Opened, sqlite3.Connection]:
        with self._returned:
            opened = self.opened
            if opened is None:
                raise StoreError(f"the decisions on disk cannot be used: {self.trouble}")
            connection = self._idle.pop() if self._idle else self._another(opened)
            self._lent += 1
            return opened, connection

    def _another(self, opened: Opened) -> sqlite3.Connection:
        if self.moved() is None:
            try:
                connection = self._connected()
            except SQLITE_ERRORS as error:
                self._suspect(opened, error)
                raise
            if self.moved() is None:
                return connection
            connection.close()
        raise StoreError("the decisions on disk were deleted or replaced")

    def _suspect(self, opened: Opened, error: Exception) -> None:
        # The statements are always the same ones, so a plain error is one of the tables.
        spoilt = is_spoilt(error) or code_of(error) == sqlite3.SQLITE_ERROR
        if spoilt and self.opened is opened:
            self.suspected = Spoilt(str(error))

    def _take_back(self, opened: Opened, connection: sqlite3.Connection) -> None:
        with self._returned:
            self._lent -= 1
            if self.opened is opened and not self._idle:
                self._idle.append(connection)
            else:
                connection.close()
            self._returned.notify_all()

    def close(self) -> None:
        """Let nobody read any more, and close what was lent."""
        with contextlib.suppress(StoreError):
            self._close_lent()

    def _close_lent(self) -> None:
        """Close what was lent. Raises StoreError if somebody does not give it back.

        The connection of who writes has to be closed before. No connection may be left to a file
        that has another name by now: when SQLite closes the last one, it deletes the log by its
        name, which would be the new file's.
        """
        with self._returned:
            self.opened = None  # whoever reads is broken off
            if not self._returned.wait_for(lambda: not self._lent, _RETURN_SECONDS):
                raise StoreError("a question is still being answered from the old file")
            while self._idle:
                self._idle.pop().close()

    def _connected(self) -> sqlite3.Connection:
        # Never created here: if it is gone, that has to be noticed. SQLite itself follows no link
        # at the names of its log and its index; the file's was looked at just before.
        address = f"file:{quote(str(self.path))}?mode=rw"
        connection = sqlite3.connect(
            address, uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            connection.text_factory = bytes  # a text need not be one
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CELL)
            for setting in _SETTINGS:
                connection.execute(setting)
        except BaseException:
            connection.close()
            raise
        return connection

    def moved(self) -> Spoilt | None:
        """Say so if the name leads to another file by now, or to none.

        What is written to a deleted file is lost, so it is not gone on with. Nor is another file: a
        copy of an earlier day knows nothing of what was forwarded since.
        """
        opened = self.opened
        if opened is None:
            return None
        try:
            identity, log_identity = self._identities()
        except OSError:
            return None  # nobody can say just now
        if identity != opened.identity:
            was = "deleted" if identity is None else "replaced"
            return Spoilt(f"it was {was} while it was in use")
        if log_identity != opened.log_identity:
            return Spoilt("SQLite's log was deleted or replaced while it was in use")
        return None

    def _identities(self) -> tuple[Identity | None, Identity | None]:
        return _identity(self.path), _identity(Path(f"{self.path}-wal"))

    def _set_aside(self, why: str) -> None:
        """Give the file another name. Raises StoreError if that does not work."""
        with self._returned:
            try:
                kept = self._renamed()
            except OSError as error:
                raise StoreError(f"{why}; it cannot be moved away: {_reason(error)}") from error
            with contextlib.suppress(OSError):
                self.drop_aside()
        self.suspected = None
        self.replaced += 1
        self.replaced_at, self.replaced_why = time.time(), why
        log.error(
            "decisions on disk are begun anew: conversations that memory does not hold go back to"
            " their original texts, once err=%s kept=%s",
            why,
            kept,
        )

    def _renamed(self) -> Path | None:
        if not os.path.lexists(self.path):
            for suffix in _WITH[1:]:  # of another file's life; SQLite would believe the log
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            return None
        now = time.time()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f".{now % 1 * 1e6:06.0f}Z"
        kept = self._directory / f"{_ASIDE}{stamp}.sqlite3"
        for suffix in reversed(_WITH):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").replace(f"{kept}{suffix}")
        return kept

    def drop_aside(self, before: float = 0.0) -> None:
        """Delete spoilt files that are too many, too large, or were set aside `before` this time.

        They hold excerpts of people's texts as well.
        """
        found = sorted(self._directory.glob(f"{_ASIDE}*.sqlite3"), reverse=True)
        room = _ASIDE_BYTES
        for number, path in enumerate(found):
            info = path.lstat()
            room -= info.st_size
            if number >= _ASIDE_FILES or (number and room < 0) or info.st_ctime < before:
                for suffix in _WITH:
                    Path(f"{path}{suffix}").unlink(missing_ok=True)


def _check_header(directory: int) -> None:
    """Raise Spoilt if the file does not begin as SQLite's do.

    SQLite takes an empty one for a new one, and one of a newer format for one that cannot be
    written.
    """
    opened = open_regular(FILE_NAME, os.O_RDONLY, directory=directory)
    try:
        header = os.read(opened, _HEADER_BYTES)
    finally:
        os.close(opened)
    if len(header) < _HEADER_BYTES:
        raise Spoilt("it is cut off" if header else "it is empty")
    if not header.startswith(_MAGIC) or any(format_ not in (1, 2) for format_ in header[18:20]):
        raise Spoilt("it is not a database")


def _check_tables(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file. Raises Spoilt if there are others than ours."""
    found = _tables(connection)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not found and version == 0:
        connection.executescript(f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version={SCHEMA};COMMIT;")
    elif version > SCHEMA:
        raise Spoilt(f"a newer tsheadroom wrote it (schema {version}, this one knows {SCHEMA})")
    elif version != SCHEMA or found != _expected_tables():
        raise Spoilt("it has other tables than those of a tsheadroom")


def _expected_tables() -> dict[bytes, list[tuple[object, ...]]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as empty:
        empty.text_factory = bytes
        empty.executescript(_TABLES)
        return _tables(empty)


def _tables(connection: sqlite3.Connection) -> dict[bytes, list[tuple[object, ...]]]:
    """Tables, indexes, views and triggers, each with its columns."""
    names = connection.execute(
        "SELECT type || ' ' || name, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    ).fetchall()
    return {
        kind: connection.execute("SELECT * FROM pragma_table_xinfo(?)", (name,)).fetchall()
        + connection.execute("SELECT * FROM pragma_index_xinfo(?)", (name,)).fetchall()
        for kind, name in names
    }


def _identity(path: Path) -> Identity | None:
    try:
        info = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return info.st_dev, info.st_ino


def _reason(error: BaseException) -> object:
    return (isinstance(error, OSError) and error.strerror) or error
