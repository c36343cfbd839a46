"""What was sent never changes: recorded conversations through the real daemon, whatever happens."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conversation import TRACES, Body, Provider, call, plain, turns
from tests.served import Served, until


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served.ready()
    served.stop()


LONGEST = max(TRACES, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_recorded_conversations(daemon: Served, path: Path) -> None:
    provider = Provider()
    for body in turns(path):
        provider.receive(body, daemon.hook(call(body)))
    assert provider.saved >= 0
    if path == LONGEST:
        assert provider.saved > 100_000


def test_killed_between_turns_and_restarted(daemon: Served) -> None:
    provider = Provider()
    for number, body in enumerate(turns(LONGEST)):
        provider.receive(body, daemon.hook(call(body)))
        if number % 12 == 11:
            daemon.kill()
            daemon.start()
            if number % 24 == 11:  # the other times the first turn finds no warm worker
                daemon.ready()
    assert provider.saved > 50_000


def test_turns_that_went_out_while_the_daemon_was_down(daemon: Served) -> None:
    provider = Provider()
    broken = 0
    for number, body in enumerate(turns(LONGEST)):
        down = 20 <= number < 23
        answer = None if down else daemon.hook(call(body))
        try:
            provider.receive(body, answer)
        except AssertionError:
            broken += 1
            provider.seen = plain((answer or {}).get("request_body", body)["messages"])
    # Only the first original breaks what was sent before; from there on it is the newest view.
    assert broken == 1
    assert provider.saved > 10_000


@pytest.mark.parametrize("first", [1, 7, 30])
def test_switched_on_in_the_middle(daemon: Served, first: int) -> None:
    provider = Provider()
    for number, body in enumerate(turns(LONGEST)):
        provider.receive(body, daemon.hook(call(body)) if number >= first else None)
    assert provider.saved > 0


def test_an_answer_that_nobody_took_is_a_gap(daemon: Served) -> None:
    bodies = list(turns(LONGEST))
    provider = Provider()
    for body in bodies[:20]:
        provider.receive(body, daemon.hook(call(body)))
    raw = call(bodies[20])
    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(raw))
        connection.sendall(raw)
    until(lambda: daemon.metric('tsheadroom_events_total{event="caller_hung_up"}') == 1)
    provider.seen = plain(bodies[20]["messages"])  # Aperture sent the original
    for body in bodies[21:]:
        provider.receive(body, daemon.hook(call(body)))


def test_the_same_request_at_once_gets_the_same_bytes(daemon: Served) -> None:
    bodies = list(turns(LONGEST))
    body = call(bodies[-1], login_name="at once")
    answers: list[str] = []

    def ask() -> None:
        answers.append(daemon.ask("POST", "/", body)[1])

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12
    assert len(set(answers)) == 1


def test_agents_under_one_session(daemon: Served) -> None:
    """Interleaved turns of conversations that share a session id and a start."""
    start: Body = {"role": "user", "content": "You are one of several agents."}
    providers = {path: Provider() for path in TRACES}
    pending = {path: turns(path) for path in TRACES}
    while pending:
        for path, bodies in list(pending.items()):
            body = next(bodies, None)
            if body is None:
                del pending[path]
                continue
            body = {**body, "messages": [start, *body["messages"]]}
            answer = daemon.hook(call(body, session_id="one"))
            providers[path].receive(body, answer)


def test_counting_tokens_replays_and_records_nothing(daemon: Served) -> None:
    bodies = list(turns(LONGEST))
    for body in bodies[:25]:
        answer = daemon.hook(call(body))
    counted = daemon.hook(call(bodies[24], url="/v1/messages/count_tokens"))
    assert counted == answer
    unknown = dict(bodies[30], messages=bodies[30]["messages"][1:])
    assert daemon.hook(call(unknown, url="/v1/messages/count_tokens")) == {"action": "allow"}


def test_without_a_worker_what_is_known_is_replayed_at_once(tmp_path: Path) -> None:
    daemon = Served(tmp_path)
    daemon.ready()
    bodies = list(turns(LONGEST))
    provider = Provider()
    for body in bodies[:30]:
        provider.receive(body, daemon.hook(call(body)))
    daemon.stop()
    daemon = Served(tmp_path, "--python", "/bin/false")
    with contextlib.ExitStack() as stack:
        stack.callback(daemon.stop)
        assert daemon.ask("GET", "/readyz")[0] == 503
        before = provider.saved
        for body in bodies[30:40]:
            provider.receive(body, daemon.hook(call(body)))
        assert provider.saved > before
        assert "reason" in daemon.log


def test_no_history_forgets_and_says_so(tmp_path: Path) -> None:
    daemon = Served(tmp_path, "--no-history")
    daemon.ready()
    for body in list(turns(LONGEST))[:25]:
        daemon.hook(call(body))
    daemon.stop()
    assert not list(tmp_path.rglob("*.sqlite3*"))
