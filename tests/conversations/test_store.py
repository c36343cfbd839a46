"""Decisions on disk: what is found again, what is changed behind a reader's back, what is swept."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec
import pytest

from tests.served import until
from tsheadroom.conversations.forms import Edit, Form
from tsheadroom.conversations.store import Record, StoreError, known
from tsheadroom.conversations.store import sweep as sweep_module
from tsheadroom.conversations.store.file import FILE_NAME
from tsheadroom.conversations.store.sqlite import SqliteStore
from tsheadroom.conversations.store.sweep import sweep
from tsheadroom.conversations.store.writer import Write

FORM = Form(b"t" * 16, (Edit(("content",), 0, 9, b'"x"'),), (), 7)


def name(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()[:16]


def record(number: int, *, family: int | None = None, forms: bool = True) -> Record:
    """A conversation of one turn, or one more turn of a family that nobody reads."""
    own = name(number)
    group = own if family is None else name(family)
    return Record(own, None, group, 1, own, {0: FORM} if forms else {})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path)
    yield opened
    opened.close()


def looked_through(store: SqliteStore) -> SqliteStore:
    """Wait until it knows what is on disk."""
    if store._looking is not None:
        store._looking.result(60)
    return store


def test_what_is_on_disk_may_be_there_and_other_things_are_not(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path)
    for number in range(3000):
        last = first.save(record(number, forms=False))
    last.result(60)
    first.close()
    again = looked_through(SqliteStore(tmp_path))
    assert all(again.may_hold(name(number)) for number in range(3000))
    assert sum(again.may_hold(name(number)) for number in range(5000, 6000)) < 50
    again.save(record(5000)).result(60)
    assert again.may_hold(name(5000))
    again.close()


def test_where_a_turn_started_may_lead_to_it_and_other_places_do_not(tmp_path: Path) -> None:
    def starts(number: int) -> dict[str, bytes]:
        return {"first": name(number), "newest": name(number + 1)}

    store = looked_through(SqliteStore(tmp_path))
    assert not any(store.may_lead(**starts(number)) for number in range(0, 500, 2))
    for number in range(0, 200, 2):
        one = record(1000 + number, forms=False)
        last = store.save(msgspec.structs.replace(one, starts=(name(number), name(number + 1))))
        assert store.may_lead(**starts(number))
    last.result(60)
    store.close()
    again = looked_through(SqliteStore(tmp_path))
    assert all(again.may_lead(first=name(at), newest=b"") for at in range(0, 200, 2))
    assert all(again.may_lead(first=b"", newest=name(at)) for at in range(1, 200, 2))
    assert sum(again.may_lead(first=name(at), newest=name(at - 1)) for at in range(1, 200, 2)) < 5
    again.close()


def test_until_it_was_looked_through_everything_may_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    look = SqliteStore._all_known

    def slow(self: SqliteStore) -> known.KnownPrefixes:
        found = look(self)
        go.wait(60)
        return found

    monkeypatch.setattr(SqliteStore, "_all_known", slow)
    store = SqliteStore(tmp_path)
    assert store.may_hold(name(1))
    store.save(record(1)).result(60)  # behind the back of who looks
    go.set()
    looked_through(store)
    assert store.may_hold(name(1))
    assert not store.may_hold(name(2))
    store.close()


def test_a_filter_that_is_full_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "_LEAST", 8)
    store = looked_through(SqliteStore(tmp_path))
    for number in range(500):
        store.save(record(number, forms=False)).result(60)
        assert store.may_hold(name(number))
    looked_through(store)
    assert all(store.may_hold(name(number)) for number in range(500))
    assert sum(store.may_hold(name(number)) for number in range(1000, 2000)) < 100
    store.close()


def test_the_turn_that_fills_the_filter_is_in_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for before it is written, if the look is quick."""
    monkeypatch.setattr(known, "_LEAST", 8)
    store = looked_through(SqliteStore(tmp_path))

    def at_once() -> Future[known.KnownPrefixes]:
        looking: Future[known.KnownPrefixes] = Future()
        looking.set_result(store._all_known())
        return looking

    monkeypatch.setattr(store, "_look_through", at_once)
    for number in range(60):
        store.save(record(number, forms=False)).result(60)
        assert store.may_hold(name(number))
    store.close()


def found(store: SqliteStore, number: int) -> Record | None:
    lines = store.longest([name(number)]).result(60)
    return lines[0][-1] if lines else None


@pytest.fixture
def stopped_writer(store: SqliteStore, tmp_path: Path) -> Iterator[SqliteStore]:
    """A store whose writer waits: another process has the file."""
    store.save(record(1)).result(60)
    other = sqlite3.connect(tmp_path / FILE_NAME)
    other.execute("BEGIN IMMEDIATE")
    yield store
    other.rollback()
    other.close()


def test_changes_count_at_once_for_who_reads(stopped_writer: SqliteStore) -> None:
    stopped_writer.mark(name(1), arrived=False)
    one = found(stopped_writer, 1)
    assert one
    assert not one.delivered
    stopped_writer.save_again(record(1, forms=False))
    stopped_writer.mark(name(1), arrived=True)
    one = found(stopped_writer, 1)
    assert one
    assert (one.delivered, one.forms) == (True, {})
    stopped_writer.delete(name(1))
    assert found(stopped_writer, 1) is None


def test_changes_are_forgotten_once_they_are_on_disk(store: SqliteStore) -> None:
    store.save(record(1)).result(60)
    store.mark(name(1), arrived=False)
    store.save(record(2)).result(60)  # behind the mark
    assert not store._changes
    one = found(store, 1)
    assert one
    assert not one.delivered


def test_after_the_end_nothing_waits_for_ever(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.close()
    with pytest.raises(StoreError):
        store.save(record(1)).result(60)


def test_a_write_that_waits_can_be_withdrawn_and_one_that_is_done_cannot(
    stopped_writer: SqliteStore, tmp_path: Path
) -> None:
    waiting = stopped_writer.save(record(2))
    until(waiting.cancel)  # not in the very moment in which it is tried
    stopped_writer.mark(name(1), arrived=False)
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        assert other.execute("SELECT count(*) FROM turn").fetchone() == (1,)
    assert found(stopped_writer, 2) is None


def test_a_sweep_deletes_a_few_turns_at_a_time(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever writes meanwhile comes between two of its steps."""
    for number in range(350):
        last = store.save(record(number, family=0, forms=False))
    last.result(60)
    sizes: list[int] = []
    forget = store.forget

    def counted(family: bytes, last: int, limit: int) -> Future[None]:
        sizes.append(limit)
        return forget(family, last, limit)

    monkeypatch.setattr(store, "forget", counted)
    sweep(store, max_age=-10)
    assert found(store, 0) is None
    assert found(store, 349) is None
    assert sizes == [sweep_module._TURNS_AT_ONCE] * 4


def test_a_sweep_of_a_small_file_looks_for_nothing_to_make_it_smaller(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(record(1)).result(60)

    def looked(*_: object) -> int:
        raise AssertionError("the file is small enough")

    monkeypatch.setattr(sweep_module, "_shrink", looked)
    sweep(store)
    assert found(store, 1)


def test_what_went_on_meanwhile_is_not_swept(tmp_path: Path) -> None:
    now = [1000.0]
    store = SqliteStore(tmp_path, clock=lambda: now[0])
    store.save(record(1, family=1)).result(60)
    (family, last, turns), *_ = store.families(10)
    now[0] = 2000.0
    store.save(record(2, family=1)).result(60)  # between the look and the deletion
    store.forget(family, last, turns).result(60)
    assert found(store, 1)
    store.close()


class HeldWriter:
    """Holds the writer's thread at one point of a transaction, until `let_go`."""

    def __init__(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, *, at: str) -> None:
        self._store, self._at = store, at
        self._reached, self._go = threading.Event(), threading.Event()
        self.batches: list[list[tuple[object, ...]]] = []  # the values of what was written
        self._write = store._writer._write
        monkeypatch.setattr(store._writer, "_write", self._held)

    def _held(self, batch: Sequence[Write]) -> None:
        if self._at == "begun":
            self._wait()
        self._write(batch)
        self.batches.append([write.values for write in batch if not write.unwanted])
        if self._at == "committed":
            self._wait()

    def _wait(self) -> None:
        self._reached.set()
        assert self._go.wait(60)

    def reached(self) -> None:
        assert self._reached.wait(60)

    def let_go(self) -> None:
        self._go.set()


def after_a_kill(folder: Path, other: Path, number: int) -> Record | None:
    """What a daemon finds that starts with the files as they are now."""
    shutil.copytree(folder, other)
    again = SqliteStore(other)
    try:
        return found(again, number)
    finally:
        again.close()


def test_a_write_that_has_begun_is_left_out_if_it_is_not_wanted_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = looked_through(SqliteStore(tmp_path / "a"))
    held = HeldWriter(store, monkeypatch, at="begun")
    saved = store.save(record(1))
    held.reached()
    assert not saved.cancel()  # too late to say for certain
    store.save_again(record(1, forms=False))
    assert after_a_kill(tmp_path / "a", tmp_path / "b", 1) is None
    held.let_go()
    with pytest.raises(StoreError, match="withdrawn"):
        saved.result(60)
    store.save(record(2)).result(60)
    assert after_a_kill(tmp_path / "a", tmp_path / "c", 1) == record(1, forms=False)
    assert not any(values[5] for batch in held.batches[:-1] for values in batch)
    store.close()


def test_others_of_the_same_transaction_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = looked_through(SqliteStore(tmp_path))
    held = HeldWriter(store, monkeypatch, at="begun")
    store.save(record(0))
    held.reached()
    saved = [store.save(record(number)) for number in range(1, 4)]  # these wait together
    write = store._writer._write

    def withdrawn(batch: Sequence[Write]) -> None:
        if len(batch) == 3:
            assert not saved[1].cancel()
        write(batch)

    monkeypatch.setattr(store._writer, "_write", withdrawn)
    held.let_go()
    for number in (1, 3):
        saved[number - 1].result(60)
    assert isinstance(saved[1].exception(60), StoreError)
    assert [found(store, number) is not None for number in range(4)] == [True, True, False, True]
    store.close()


def test_what_takes_a_decision_back_is_written_before_all_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = looked_through(SqliteStore(tmp_path))
    held = HeldWriter(store, monkeypatch, at="committed")
    saved = store.save(record(1))
    held.reached()
    waiting = [store.save(record(number)) for number in range(2, 700)]
    assert not saved.cancel()
    store.save_again(record(1, forms=False))
    held.let_go()
    waiting[-1].result(60)
    assert held.batches[1][0][0] == name(1)
    one = found(store, 1)
    assert one
    assert one.forms == {}
    store.close()


def test_a_turn_is_found_by_where_it_starts(store: SqliteStore) -> None:
    first, newest, other = (b"%16d" % number for number in range(3))
    begun = Record(name(1), None, name(1), 5, name(1) * 5, {4: FORM}, starts=(first, newest))
    store.save(begun)
    more = Record(name(2), name(1), name(1), 7, name(2) * 2, {})
    store.save(more).result(60)

    def lines(length: int, first: bytes, newest: bytes) -> list[list[int]]:
        lines = store.siblings([], length, first=first, newest=newest).result(60)
        return [[one.length for one in line] for line in lines]

    assert lines(7, first, other) == [[5, 7]]  # a request of this length
    assert lines(5, first, other) == [[5, 7]]  # it goes on in the one that holds its answer
    assert lines(6, first, other) == []
    assert lines(3, other, newest) == [[5]]  # a request that holds an answer behind this prefix
    assert lines(7, newest, first) == []
    assert store.longest([first, newest]).result(60) == []  # a signpost is no turn


def test_signposts_go_with_their_conversation(store: SqliteStore) -> None:
    starts = b"f" * 16, b"n" * 16
    store.save(Record(name(1), None, name(1), 5, name(1) * 5, {}, starts=starts)).result(60)
    sweep(store, max_age=-10)
    with store._asking() as connection:
        assert connection.execute("SELECT count(*) FROM turn").fetchone() == (0,)
