"""A file of decisions that is spoilt, gone, locked or full: what is lost, and what comes back."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conversations.test_store import FORM, found, name, record
from tests.served import until
from tsheadroom.conversations.store import Record, StoreError, writer
from tsheadroom.conversations.store import file as file_module
from tsheadroom.conversations.store.file import FILE_NAME
from tsheadroom.conversations.store.sqlite import SqliteStore
from tsheadroom.conversations.store.sweep import sweep

PATIENCE = 60.0
TURNS = 200


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for constant in ("_PATIENCE_S", "_RETRY_S", "_CHECK_S", "_IDLE_S"):
        monkeypatch.setattr(writer, constant, 0.02)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A state directory with a file of TURNS conversations, as a daemon leaves it."""
    with opened(tmp_path) as store:
        for number in range(TURNS):
            last = store.save(record(number))
        last.result(PATIENCE)
    return tmp_path


@contextlib.contextmanager
def opened(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    try:
        yield store
    finally:
        store.close()


def works(store: SqliteStore, number: int = 10_000) -> None:
    """Wait until a turn can be written and read back."""

    def kept() -> bool:
        try:
            store.save(record(number)).result(PATIENCE)
            return found(store, number) == record(number)
        except StoreError:
            return False

    until(kept)
    until(lambda: store.state.trouble is None)


def aside(path: Path) -> list[Path]:
    return sorted(path.glob("conversations.spoilt-*.sqlite3"))


def random_pages(path: Path) -> None:
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        for page in range(1, pages):
            file.seek(page * 4096)
            file.write(random.Random(page).randbytes(4096))


def written(sql: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.executescript(sql)

    return write


def header(at: int, value: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(at)
            file.write(value)

    return write


def another(path: Path) -> None:
    path.unlink()
    written("CREATE TABLE a (b)")(path)


SPOILT: dict[str, Callable[[Path], object]] = {
    "random pages": random_pages,
    "empty": lambda path: path.write_bytes(b""),
    "cut off in its header": lambda path: os.truncate(path, 50),
    "cut off behind its first page": lambda path: os.truncate(path, 4096),
    "cut off in a page": lambda path: os.truncate(path, 3 * 4096 + 100),
    "no database": lambda path: path.write_bytes(b"rubbish" * 10_000),
    "a format of the future": header(18, b"\x07\x07"),
    "another schema format": header(44, b"\xff\xff\xff\xff"),
    "another encoding": header(56, b"\x00\x00\x00\x02"),
    "another database": another,
    "a newer schema": written("PRAGMA user_version = 2"),
    "a missing index": written("DROP INDEX turn_parent"),
    "a missing column": written("ALTER TABLE turn DROP COLUMN delivered"),
    "a trigger": written(
        "CREATE TRIGGER t AFTER INSERT ON turn BEGIN DELETE FROM turn; END"
    ),
    "a view in the place of a table": written("DROP TABLE costly; CREATE VIEW costly AS SELECT 1"),
}  # fmt: skip


@pytest.mark.parametrize("damage", SPOILT.values(), ids=SPOILT)
def test_a_spoilt_file_is_set_aside_and_begun_anew(
    directory: Path, damage: Callable[[Path], object]
) -> None:
    path = directory / FILE_NAME
    damage(path)
    size = path.stat().st_size
    with opened(directory) as store:
        with contextlib.suppress(StoreError):
            store.longest([name(number) for number in range(TURNS)]).result(PATIENCE)
        until(lambda: store.state.replaced == 1)
        works(store)
        assert store.generation == 1
        assert "begun anew" in (store.state.degraded or "")
        assert found(store, 1) is None
    (kept,) = aside(directory)
    assert kept.stat().st_size >= size
    with opened(directory) as again:
        assert found(again, 10_000)
        assert again.state.degraded is None


def test_pages_that_are_spoilt_while_it_runs(directory: Path) -> None:
    with opened(directory) as store:
        works(store)
        store.wipe(0.0)
        until(lambda: Path(f"{directory / FILE_NAME}-wal").stat().st_size == 0)
        random_pages(directory / FILE_NAME)
        with contextlib.suppress(StoreError):
            store.longest([name(number) for number in range(TURNS)]).result(PATIENCE)
        until(lambda: store.state.replaced == 1)
        works(store, 10_001)


def test_a_sweep_finds_pages_that_no_turn_has_read_yet(directory: Path) -> None:
    pages = (directory / FILE_NAME).read_bytes()
    leaf = max(at for at in range(0, len(pages), 4096) if pages[at] == 10)  # SQLite's mark of one
    with (directory / FILE_NAME).open("r+b") as file:
        file.seek(leaf)
        file.write(bytes(4096))
    with opened(directory) as store:
        with contextlib.suppress(StoreError):  # the sweep may meet it even before the check does
            sweep(store)
        until(lambda: store.state.replaced == 1)
        works(store)


def test_rubbish_in_the_log_costs_what_was_in_it(directory: Path) -> None:
    Path(f"{directory / FILE_NAME}-wal").write_bytes(b"rubbish" * 10_000)
    Path(f"{directory / FILE_NAME}-shm").write_bytes(b"rubbish" * 10_000)
    with opened(directory) as store:
        assert found(store, 1)
        works(store)


def replaced_by_a_copy(directory: Path) -> None:
    shutil.copyfile(directory / FILE_NAME, directory / "copy")
    (directory / "copy").replace(directory / FILE_NAME)


GONE: dict[str, Callable[[Path], object]] = {
    "the file": lambda directory: (directory / FILE_NAME).unlink(),
    "its log": lambda directory: Path(f"{directory / FILE_NAME}-wal").unlink(),
    "the directory": shutil.rmtree,
    "the file, replaced": replaced_by_a_copy,
}


@pytest.mark.parametrize("remove", GONE.values(), ids=GONE)
def test_what_is_deleted_in_use_is_noticed_and_begun_anew(
    directory: Path, remove: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    with opened(directory) as store:
        store.quarantine(name(7))
        works(store)
        remove(directory)
        until(lambda: store.state.replaced == 1)
        works(store, 10_001)
        assert found(store, 1) is None
    assert caplog.text.count("begun anew") == 1
    with opened(directory) as again:
        assert found(again, 10_001), "it was written to the deleted file"
        # What memory knows of it, the new file knows, too.
        assert not again.is_quarantined(name(8))


def test_quarantined_items_survive_the_file(directory: Path) -> None:
    with opened(directory) as store:
        store.quarantine(name(7))
        works(store)
    with opened(directory) as store:
        assert store.is_quarantined(name(7))
        (directory / FILE_NAME).unlink()
        until(lambda: store.state.replaced == 1)
        works(store)
    with opened(directory) as store:
        assert store.is_quarantined(name(7))


def test_only_a_few_spoilt_files_are_kept(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / FILE_NAME).write_bytes(b"%d" % number * 1000)
        SqliteStore(tmp_path).close()
    assert len(aside(tmp_path)) == file_module._ASIDE_FILES


def test_spoilt_files_are_swept_like_conversations(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"somebody's texts")
    with opened(tmp_path) as store:
        sweep(store)
        assert aside(tmp_path)
        sweep(store, max_age=-10)
        assert not aside(tmp_path)


NOT_OURS: dict[str, Callable[[Path], object]] = {
    "a link": lambda path: path.symlink_to("victim"),
    "a link that leads nowhere": lambda path: path.symlink_to("nowhere"),
    "a FIFO": os.mkfifo,
    "a directory": Path.mkdir,
}


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("plant", NOT_OURS.values(), ids=NOT_OURS)
def test_what_is_no_file_is_not_touched_and_not_waited_for(
    tmp_path: Path, plant: Callable[[Path], object], suffix: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / f"{FILE_NAME}{suffix}"
    plant(path)
    with opened(tmp_path) as store:
        assert "not a regular file" in (store.state.degraded or "")
        with pytest.raises(StoreError, match="not a regular file"):
            store.save(record(1)).result(PATIENCE)
        with pytest.raises(StoreError, match="cannot be used"):
            store.longest([name(1)]).result(PATIENCE)
        assert victim.read_text() == "precious"
        path.rmdir() if path.is_dir() else path.unlink()
        works(store)
        assert store.state.replaced == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_not_used(directory: Path) -> None:
    os.chown(directory / FILE_NAME, 12345, 12345)
    with opened(directory) as store:
        assert "belongs to user 12345" in (store.state.degraded or "")
        os.chown(directory / FILE_NAME, 0, 0)
        works(store)
        assert found(store, 1)


@contextlib.contextmanager
def locked(directory: Path, how: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """The file, while another process has it locked."""
    other = sqlite3.connect(directory / FILE_NAME, isolation_level=None)
    if how == "BEGIN EXCLUSIVE":  # also against readers
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute(how)
    try:
        yield
    finally:
        other.close()


def test_while_it_is_locked_writes_fail_and_reads_do_not(directory: Path) -> None:
    with opened(directory) as store:
        with locked(directory):
            with pytest.raises(StoreError, match="locked"):
                store.save(record(500)).result(PATIENCE)
            until(lambda: "locked" in (store.state.degraded or ""))
            assert store.save(record(501)).done()  # nobody has to wait for the next one
            assert found(store, 1)
            store.mark(name(1), arrived=False)
        works(store)
        until(lambda: not store._changes)  # what nobody waits for is written late
        assert store.state.replaced == 0
    with opened(directory) as again:
        first = found(again, 1)
        assert first
        assert not first.delivered
        assert found(again, 500) is None
        assert found(again, 501) is None


def test_a_short_lock_costs_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PATIENCE_S", PATIENCE)
    with opened(directory) as store:
        with locked(directory):
            saves = [store.save(record(number)) for number in range(500, 520)]
            assert not any(save.done() for save in saves)
        for save in saves:
            save.result(PATIENCE)
        assert found(store, 519)


def test_a_file_that_is_locked_at_the_start_is_opened_later(directory: Path) -> None:
    with locked(directory, "BEGIN EXCLUSIVE"):
        store = SqliteStore(directory)
        assert "locked" in (store.state.degraded or "")
        with pytest.raises(StoreError, match="locked"):
            store.longest([name(1)]).result(PATIENCE)
        with pytest.raises(StoreError, match="locked"):
            store.save(record(500)).result(PATIENCE)
    works(store)
    assert found(store, 1)
    assert store.state.replaced == 0
    store.close()


def test_a_queue_of_writes_has_an_end(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PATIENCE_S", PATIENCE)
    monkeypatch.setattr(writer, "_MAX_QUEUED", 10)
    with opened(directory) as store, locked(directory):
        saves = [store.save(record(number)) for number in range(500, 600)]
        refused = [save for save in saves if save.done()]
        assert len(refused) in (90, 91)  # the look through the file may wait, too
        for save in saves:
            save.cancel()


def test_a_file_that_missed_too_many_changes_is_not_believed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would say of lost answers that they arrived, so a restart would use their forms."""
    monkeypatch.setattr(writer, "_MAX_KEPT", 10)
    with opened(directory) as store:
        with locked(directory):
            for number in range(20):
                store.mark(name(number), arrived=False)
        until(lambda: store.state.replaced == 1)
        works(store)
        assert found(store, 15) is None


@pytest.fixture
def limited() -> Iterator[Callable[[int], None]]:
    """Set how large a file may become, which is how a full disk looks to SQLite."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_is_trouble_that_passes(
    directory: Path, limited: Callable[[int], None]
) -> None:
    with opened(directory) as store:
        limited(directory.joinpath(FILE_NAME).stat().st_size // 2)
        saves = [store.save(record(number)) for number in range(500, 2000)]
        assert isinstance(saves[-1].exception(PATIENCE), StoreError)
        until(lambda: store.state.trouble is not None)
        limited(-1)
        works(store)
        assert found(store, 1)
        assert store.state.replaced == 0


def edit(directory: Path, sql: str, *values: Any) -> None:
    with contextlib.closing(sqlite3.connect(directory / FILE_NAME)) as other, other:
        other.execute(sql, values)


def test_a_bad_row_is_a_row_that_is_not_there(directory: Path) -> None:
    edit(directory, "UPDATE turn SET forms = x'00' WHERE chain = ?", name(1))
    edit(directory, "UPDATE turn SET length = 'abc' WHERE chain = ?", name(2))
    with opened(directory) as store:
        assert found(store, 1) is None
        assert found(store, 2) is None
        assert found(store, 3)
        assert store.state.refused == 1  # the other one was not even looked for
        assert store.state.trouble is None
        store.save(record(1)).result(PATIENCE)
        assert found(store, 1) == record(1)


def test_a_text_in_the_place_of_bytes_is_a_bad_row(directory: Path) -> None:
    edit(directory, "UPDATE turn SET family = CAST(x'ff' AS TEXT), length = 7 WHERE chain = ?",
         name(1))  # fmt: skip
    with opened(directory) as store:
        assert found(store, 1) is None
        assert store.state.refused == 1
        assert store.state.trouble is None
        sweep(store)


def test_parents_in_a_circle_have_an_end(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(2):
            digests = name(number)
            parent = name(1 - number)
            store.save(Record(name(number), parent, name(0), 2, digests, {1: FORM})).result(
                PATIENCE
            )
        edit(tmp_path, "INSERT INTO turn SELECT ?, ?, family, 3, digests, NULL, delivered, at"
             " FROM turn LIMIT 1", name(3), name(3))  # fmt: skip
        (line,) = store.longest([name(0)]).result(PATIENCE)
        assert len(line) == 1
        (line,) = store.longest([name(3)]).result(PATIENCE)
        assert len(line) == 1
        assert len(store.siblings([name(0)], 2, first=b"", newest=b"").result(PATIENCE)) == 1
        assert store.siblings([name(0)], 99, first=b"", newest=b"").result(PATIENCE) == []


def test_what_was_forgotten_is_in_no_file_any_more(tmp_path: Path) -> None:
    """Neither in a free page nor in SQLite's log."""
    marks = [b"%032x" % random.Random(number).getrandbits(128) for number in range(TURNS)]

    def left() -> int:
        raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        return sum(mark in raw for mark in marks)

    with opened(tmp_path) as store:
        for number, mark in enumerate(marks):
            last = store.save(Record(name(number), None, name(number), 2, mark, {}))
        last.result(PATIENCE)
        assert left() == TURNS
        sweep(store, max_age=-10)
        until(lambda: left() == 0)
        last = store.save(Record(name(1), None, name(1), 2, marks[1], {}))
        last.result(PATIENCE)
        store.delete(name(1))
        until(lambda: left() == 0)  # on a schedule, without a sweep
