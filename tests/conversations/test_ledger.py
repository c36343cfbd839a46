from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.conversations.asking import begin, decide
from tests.served import until
from tsheadroom.aperture.digests import Names, digest, names_of
from tsheadroom.conversations.branches import Branch, Branches
from tsheadroom.conversations.forms import Edit, Form
from tsheadroom.conversations.ledger import Conversations, FromDisk
from tsheadroom.conversations.prefixes import Prefixes, Request
from tsheadroom.conversations.recognise import Status
from tsheadroom.conversations.store import Line, Record
from tsheadroom.conversations.store.file import FILE_NAME
from tsheadroom.conversations.store.sqlite import SqliteStore
from tsheadroom.conversations.store.sweep import sweep
from tsheadroom.conversations.store.writer import Write
from tsheadroom.conversations.turn import Turn


def request(words: str, **more: object) -> Request:
    """A conversation in words: those in capitals are the model's."""
    items = words.split()
    return Request(
        scope=str(more.pop("scope", "")).encode(),
        digests=Names(names_of(item.encode() for item in items)),
        by_model=bytes(item.isupper() for item in items),
        **more,  # type: ignore[arg-type]
    )


def form(name: str) -> Form:
    return Form(name.encode().ljust(16), (Edit(("content",), 0, 9, b'"x"'),), (), 7)


def ask(ledger: Conversations, words: str, *, arrives: bool = True, **more: object) -> Turn:
    """One request, answered: every item at first sight gets a form named after its index."""
    turn = begin(ledger, request(words, **more))
    decide(turn, {i: form(f"f{i}") for i in turn.undecided}, arrives=arrives)
    return turn


def goes_on_after_a_restart(
    ledger: Conversations, directory: Path, words: str, before: Turn
) -> None:
    """Close the ledger: another one forwards the next request with the forms of the one before."""
    ledger.close()
    ledger = Conversations(directory=directory)
    ledger.open()
    turn = begin(ledger, request(words))
    assert turn.status is Status.CONTINUED
    assert turn.forms == before.forms
    ledger.close()


@pytest.fixture(params=["memory", "disk", "disk, forgotten after every request"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Conversations]:
    memory = 0 if "forgotten" in request.param else 1 << 20
    ledger = Conversations(directory=tmp_path if "disk" in request.param else None, memory=memory)
    ledger.open()
    if "forgotten" in request.param:
        known = ledger.begin

        def forgetful(
            request: Request, prefixes: Prefixes, disk: FromDisk
        ) -> Turn | Future[list[Line]]:
            if disk.line is None:
                ledger._branches = Branches(1 << 20)
            return known(request, prefixes, disk)

        ledger.begin = forgetful  # type: ignore[method-assign]
    yield ledger
    ledger.close()


def test_a_new_conversation_is_at_first_sight(ledger: Conversations) -> None:
    turn = ask(ledger, "a b")
    assert (turn.status, turn.undecided, set(turn.forms)) == (Status.NEW, [0, 1], {0, 1})


def test_forms_are_replayed_and_only_new_items_are_at_first_sight(ledger: Conversations) -> None:
    ask(ledger, "a")
    turn = ask(ledger, "a B c")
    assert (turn.status, turn.undecided) == (Status.CONTINUED, [2])
    turn = ask(ledger, "a B c D e f")
    assert (turn.status, turn.undecided) == (Status.CONTINUED, [4, 5])
    assert turn.forms == {i: form(f"f{i}") for i in (0, 2, 4, 5)}


def test_a_repeated_request_gets_the_same(ledger: Conversations) -> None:
    ask(ledger, "a")
    first = ask(ledger, "a B c")
    again = begin(ledger, request("a B c"))
    assert (again.status, again.undecided, again.forms) == (Status.REPEATED, [], first.forms)


def test_history_from_before_this_daemon_is_left_alone(ledger: Conversations) -> None:
    turn = ask(ledger, "a B c D e")
    assert (turn.status, turn.undecided, set(turn.forms)) == (Status.UNKNOWN, [4], {4})
    turn = ask(ledger, "a B c D e F g")
    assert (turn.status, turn.undecided, set(turn.forms)) == (Status.CONTINUED, [6], {4, 6})


def test_a_gap_makes_the_originals_the_newest_view(ledger: Conversations) -> None:
    ask(ledger, "a")
    ask(ledger, "a B c")
    turn = ask(ledger, "a B c D e F g")  # nobody asked about "a B c D e"
    assert (turn.status, turn.undecided, set(turn.forms)) == (Status.GAP, [6], {6})
    turn = ask(ledger, "a B c D e F g H i")
    assert (turn.status, set(turn.forms)) == (Status.CONTINUED, {6, 8})


def test_an_undelivered_answer_is_a_gap(ledger: Conversations) -> None:
    ask(ledger, "a")
    ask(ledger, "a B c", arrives=False)
    turn = ask(ledger, "a B c D e")
    assert (turn.status, set(turn.forms)) == (Status.GAP, {4})


def test_an_undelivered_answer_that_arrives_the_second_time_is_none(ledger: Conversations) -> None:
    ask(ledger, "a")
    ask(ledger, "a B c", arrives=False)
    ask(ledger, "a B c")
    turn = ask(ledger, "a B c D e")
    assert (turn.status, set(turn.forms)) == (Status.CONTINUED, {0, 2, 4})


@pytest.mark.parametrize("missing_first", [True, False])
@pytest.mark.parametrize("end", ["lost", "withdrawn"])
def test_equal_conversations_are_told_apart_by_their_sessions(
    ledger: Conversations, missing_first: bool, end: str
) -> None:
    ask(ledger, "a")
    for missing in (missing_first, not missing_first):
        session = b"missing" if missing else b"taking"
        turn = ask(ledger, "a B c", arrives=not missing or end == "withdrawn", session=session)
        if missing and end == "withdrawn":
            turn.not_taken()
    taking = ask(ledger, "a B c D e", session=b"taking")
    missing_one = ask(ledger, "a B c D f", session=b"missing")
    assert (taking.status, set(taking.forms)) == (Status.CONTINUED, {0, 2, 4})
    assert (missing_one.status, set(missing_one.forms)) == (Status.GAP, {4})
    assert ask(ledger, "a B c D g", session=b"resumed").status is Status.CONTINUED


def test_a_rewrite_that_nobody_got_leaves_the_old_view(ledger: Conversations) -> None:
    ask(ledger, "a")
    ask(ledger, "a B c")
    for early in (False, True):
        turn = begin(ledger, request("a B c D e"))
        turn.rewrite({0: form("new")}, 0)
        if early:
            turn.lost()
        decide(turn, {}, arrives=False)
        again = begin(ledger, request("a B c D e f"))
        assert (again.status, again.forms) == (Status.CONTINUED, {0: form("f0"), 2: form("f2")})


def test_a_rewind_keeps_what_is_shared(ledger: Conversations) -> None:
    ask(ledger, "a")
    ask(ledger, "a B c")
    ask(ledger, "a B c D e")
    turn = ask(ledger, "a B other")
    assert (turn.status, turn.undecided, set(turn.forms)) == (Status.CONTINUED, [2], {0, 2})
    turn = ask(ledger, "a B c D e F g")
    assert (turn.status, set(turn.forms)) == (Status.CONTINUED, {0, 2, 4, 6})
    turn = ask(ledger, "a B other G h")
    assert (turn.status, set(turn.forms)) == (Status.CONTINUED, {0, 2, 4})


@pytest.mark.parametrize("binds", [False, True])
def test_an_edit_by_the_client_costs_what_stood_there(ledger: Conversations, binds: bool) -> None:
    before = {}
    for words in ("a", "a B c", "a B c D e"):
        before = ask(ledger, words).forms
    turn = ask(ledger, "a B edited D e F g", binds_after=lambda _: binds)
    assert turn.status is Status.EDITED
    assert turn.undecided == ([6] if binds else [2, 6])
    assert {i: turn.forms[i] for i in (0, 4)} == {i: before[i] for i in (0, 4)}
    later = ask(ledger, "a B edited D e F g H i", binds_after=lambda _: binds)
    assert (later.status, later.undecided) == (Status.CONTINUED, [8])
    assert set(later.forms) == ({0, 4, 6, 8} if binds else {0, 2, 4, 6, 8})


def test_interleaved_agents_share_their_start_only(ledger: Conversations) -> None:
    for agent in "pqrs":
        ask(ledger, f"a {agent}")
    for agent in "pqrs":
        turn = ask(ledger, f"a {agent} X{agent.upper()} {agent}2")
        assert (turn.status, turn.undecided) == (Status.CONTINUED, [3])
    for agent in "pqrs":
        turn = ask(ledger, f"a {agent} X{agent.upper()} {agent}2 Y z")
        assert (turn.status, set(turn.forms)) == (Status.CONTINUED, {0, 1, 3, 5})


def test_a_gap_is_no_edit_because_another_agent_is_as_far(ledger: Conversations) -> None:
    ask(ledger, "a p")
    ask(ledger, "a q")
    ask(ledger, "a q X q2")
    turn = ask(ledger, "a p X p2 Y p3")
    assert (turn.status, set(turn.forms)) == (Status.GAP, {5})


def test_another_answer_of_the_same_place_is_a_gap_and_no_edit(ledger: Conversations) -> None:
    ask(ledger, "a")
    ask(ledger, "a B c")
    ask(ledger, "a B c D e")
    turn = ask(ledger, "a B other OTHER e")  # nobody asked about "a B other"
    assert (turn.status, set(turn.forms)) == (Status.GAP, {4})


def test_more_items_without_an_answer_between_are_found_again(ledger: Conversations) -> None:
    ask(ledger, "a p")
    ask(ledger, "a p q")
    ask(ledger, "a p q r")
    turn = ask(ledger, "a p q X s")  # the answer to the second, which the third went past
    assert (turn.status, set(turn.forms)) == (Status.CONTINUED, {0, 1, 2, 4})


def test_a_repetition_that_did_not_arrive_takes_nothing_back() -> None:
    ledger = Conversations(directory=None)
    ask(ledger, "a")
    ask(ledger, "a B c")
    ask(ledger, "a", arrives=False)
    turn = ask(ledger, "a B d")
    assert (turn.status, set(turn.forms)) == (Status.CONTINUED, {0, 2})


def test_what_others_build_on_is_not_written_anew(tmp_path: Path) -> None:
    def opened() -> Conversations:
        ledger = Conversations(directory=tmp_path)
        ledger.open()
        return ledger

    ledger = opened()
    for words in ("a", "a B c", "a B c D e"):
        last = ask(ledger, words)
    ledger.close()
    ledger = opened()
    ask(ledger, "a other")  # brings back the first turn only
    again = begin(ledger, request("a B c"))
    assert (again.status, again.forms) == (Status.REPEATED, {0: form("f0"), 2: form("f2")})
    assert ask(ledger, "a B c D e F g").forms == last.forms | {6: form("f6")}
    ledger.close()


def test_after_a_restart_an_edit_keeps_all_that_is_before_it(tmp_path: Path) -> None:
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    ask(ledger, "a")
    ask(ledger, "a B c d e")
    ledger.close()
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    turn = ask(ledger, "a B c d edited F g")
    assert (turn.status, set(turn.forms)) == (Status.EDITED, {0, 2, 3, 6})
    ledger.close()


def test_branches_that_share_no_form_age_by_themselves(tmp_path: Path) -> None:
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    decide(begin(ledger, request("system")), {}, arrives=True)
    lines = [ask_last(ledger, f"system u{i}") for i in range(100)]
    assert len({line.family for line in lines}) == 100
    assert max(len(line.offshoots) for line in lines) <= 64
    ledger.close()


def ask_last(ledger: Conversations, words: str) -> Branch:
    """One request whose last item gets a form; where it was recorded."""
    turn = begin(ledger, request(words))
    decide(turn, {turn.undecided[-1]: form("f")}, arrives=True)
    assert turn.kept_in
    return turn.kept_in


def test_a_late_decision_to_leave_alone_is_kept(ledger: Conversations) -> None:
    late = begin(ledger, request("a"))
    late.must_store = True
    decide(late, {}, arrives=True)
    again = begin(ledger, request("a"))
    assert (again.status, again.undecided) == (Status.REPEATED, [])


def test_scopes_share_nothing(ledger: Conversations) -> None:
    ask(ledger, "a", scope="alice")
    assert ask(ledger, "a B c", scope="bob").status is Status.UNKNOWN


def test_without_a_prefix_cache_every_item_may_get_a_form(ledger: Conversations) -> None:
    turn = ask(ledger, "a B c D e", has_prefix_cache=lambda: False)
    assert turn.undecided == [0, 2, 4]


def test_items_that_cost_a_worker_are_remembered(ledger: Conversations) -> None:
    ledger.quarantine([digest(b"bad")])
    assert ledger.is_quarantined(digest(b"bad"))
    assert not ledger.is_quarantined(digest(b"good"))


def test_a_long_conversation_without_forms_takes_under_64_kib() -> None:
    ledger = Conversations(directory=None)
    ledger.open()
    words = "a"
    for i in range(500):
        decide(begin(ledger, request(words)), {}, arrives=True)
        words += f" X{i} u{i}"
    assert len(words.split()) == 1001
    assert 16_000 < ledger.memory < 64 << 10


def test_memory_is_bounded_and_the_disk_remembers(tmp_path: Path) -> None:
    ledger = Conversations(directory=tmp_path, memory=20_000)
    ledger.open()
    for i in range(50):
        ask(ledger, f"first{i}")
    assert ledger.memory <= 20_000
    assert ledger.evicted > 30
    assert ask(ledger, "first0 B c").status is Status.CONTINUED
    ledger.close()


def test_a_branch_that_a_repeated_request_brings_back_is_counted(tmp_path: Path) -> None:
    ledger = Conversations(directory=tmp_path, memory=20_000)
    ledger.open()
    ask(ledger, "a")
    again = begin(ledger, request("a"))
    assert again.status is Status.REPEATED
    for i in range(50):
        ask(ledger, f"first{i}")
    assert again.branch is not None
    assert again.branch.name not in ledger._branches
    decide(again, {})
    found = ledger._branches.of(again.prefix)
    assert found is again.branch
    assert found.name in ledger._branches
    assert ledger.memory <= 20_000
    ledger.close()


KILLED = """
import sys; from pathlib import Path
from tests.conversations.test_ledger import ask
from tsheadroom.conversations.ledger import Conversations
ledger = Conversations(directory=Path(sys.argv[1])); ledger.open()
words = "a"
for i in range(1000):
    ask(ledger, words); print(words, flush=True); words += f" X{i} u{i}"
"""


def test_killed_at_any_instant_it_comes_back_whole(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    for answered in (1, 7, 20):
        state = tmp_path / str(answered)
        state.mkdir()
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(state)], stdout=subprocess.PIPE, text=True, cwd=root
        )
        assert child.stdout
        lines = [child.stdout.readline().strip() for _ in range(answered)]
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        ledger = Conversations(directory=state)
        ledger.open()
        turn = begin(ledger, request(lines[-1] + " X next"))
        assert turn.status is Status.CONTINUED
        assert len(turn.forms) == answered
        ledger.close()


def test_old_conversations_are_forgotten_whole(tmp_path: Path) -> None:
    now = [0.0]
    store = SqliteStore(tmp_path, clock=lambda: now[0])

    a1, a2, b1 = (digest(name) for name in (b"a1", b"a2", b"b1"))

    def put(chain: bytes, parent: bytes | None, family: bytes) -> None:
        length = 1 if parent is None else 2
        store.save(Record(chain, parent, family, length, chain, {})).result(10)

    put(a1, None, a1)
    put(b1, None, b1)
    now[0] = 100.0
    put(a2, a1, a1)
    sweep(store, max_age=50)
    assert [line[-1].chain for line in store.longest([a1]).result(10)] == [a1]
    assert store.longest([b1]).result(10) == []
    sweep(store, max_bytes=1)
    assert store.longest([a2]).result(10) == []
    store.close()


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    ask(ledger, "a")
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    ledger.close()


@pytest.mark.parametrize("damage", [lambda b: b"rubbish" * 1000, lambda b: b[:100]])
def test_a_spoilt_file_is_set_aside(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    ask(ledger, "a")
    ledger.close()
    path = next(p for p in tmp_path.iterdir() if p.suffix == ".sqlite3")
    path.write_bytes(damage(path.read_bytes()))
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    assert ask(ledger, "a").status is Status.NEW
    assert len(list(tmp_path.glob("conversations.spoilt-*.sqlite3"))) == 1
    assert ledger.disk
    assert ledger.disk.replaced == 1
    ledger.close()


def test_after_the_file_was_begun_anew_a_conversation_in_memory_is_kept_whole(
    tmp_path: Path,
) -> None:
    """Its next record must not build on one that went with the old file."""
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    ask(ledger, "a")
    ask(ledger, "a B c")
    (tmp_path / FILE_NAME).unlink()
    until(lambda: ledger.disk is not None and ledger.disk.replaced == 1)
    before = ask(ledger, "a B c D e")
    assert set(before.forms) == {0, 2, 4}
    goes_on_after_a_restart(ledger, tmp_path, "a B c D e F g", before)


def test_a_conversation_that_memory_had_let_go_is_a_gap_after_that(tmp_path: Path) -> None:
    ledger = Conversations(directory=tmp_path, memory=0)
    ledger.open()
    ask(ledger, "a")
    ask(ledger, "z")
    (tmp_path / FILE_NAME).unlink()
    until(lambda: ledger.disk is not None and ledger.disk.replaced == 1)
    turn = ask(ledger, "a B c")
    assert (turn.status, turn.undecided) == (Status.UNKNOWN, [2])
    ledger.close()


def test_later_records_do_not_build_on_one_that_could_not_be_written(tmp_path: Path) -> None:
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    ask(ledger, "a")
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        turn = begin(ledger, request("a B c"))
        saved = turn.decide({2: form("f2")})
        assert saved
        until(lambda: saved.cancel() or saved.done())
        turn.take_back()
        turn.arrived()
        assert set(turn.forms) == {0}
    until(lambda: ledger.disk is not None and ledger.disk.trouble is None)
    before = ask(ledger, "a B c D e")
    assert set(before.forms) == {0, 4}
    goes_on_after_a_restart(ledger, tmp_path, "a B c D e F g", before)


@pytest.mark.parametrize("arrives", [True, False])
def test_a_turn_that_was_not_on_disk_in_time_is_known_there_later(
    tmp_path: Path, arrives: bool
) -> None:
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    ask(ledger, "a")
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert ledger._store
        busy = ledger._store.save(Record(b"x" * 16, None, b"x" * 16, 1, b"y" * 16, {}, True))
        assert isinstance(busy, Write)
        until(lambda: busy.begun)
        turn = begin(ledger, request("a B c"))
        saved = turn.decide({2: form("f2")})
        assert saved
        turn.take_back()  # behind a write that is waiting for the disk
        assert saved.cancelled()
        turn.arrived() if arrives else turn.lost()
        assert set(turn.forms) == {0}
    busy.exception(20)
    ledger.close()
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    later = begin(ledger, request("a B c D e"))
    assert later.status is (Status.CONTINUED if arrives else Status.GAP)
    assert set(later.forms) == ({0} if arrives else set())
    ledger.close()


def test_a_stored_turn_with_other_digests_than_its_name_says_is_unknown(tmp_path: Path) -> None:
    """A byte of it changed on the disk. Whether its forms are of these items, nobody can say."""
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    ask(ledger, "a B c")
    ledger.close()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as other, other:
        other.execute("UPDATE turn SET digests = zeroblob(length(digests))")
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    turn = begin(ledger, request("a B c D e"))
    assert (turn.status, turn.forms, turn.undecided) == (Status.UNKNOWN, {}, [4])
    ledger.close()
