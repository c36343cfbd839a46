"""Measures restarts as a caller on the tailnet sees them.

A conversation goes on through all of them: its turn is sent when the new process has just been
started, with the patience that Aperture has. What its provider gets is checked as a prompt cache
would. Beside it new connections are tried all the time, for the time of the first answer.
"""

from __future__ import annotations

import http.client
import json
import signal
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.lab import traffic
from scripts.lab.daemon import HOST, Daemon
from scripts.lab.growing import Growing
from tests.tailnet import private

USUAL = 20  # restarts
SIGNALS = (signal.SIGTERM, signal.SIGKILL)  # in turns
CALLER_SECONDS = 5.0  # Aperture's timeout, if nobody sets another one
TURNS_BETWEEN = 3  # turns of the conversation between two restarts
FIRST_BYTES = 20_000
SETTLE_SECONDS = 1.5  # without a packet before the restart, as between two turns of an agent
PROBE_EVERY_SECONDS = 0.25
PROBE_SECONDS = 40.0
PORT = 80


@dataclass(slots=True)
class Seen:
    """What the restarts by one signal were like. Times are seconds from the new process's start."""

    first: list[float] = field(default_factory=list)  # answers on a new connection
    turn: list[float] = field(default_factory=list)  # answers to the conversation's turn
    unanswered: int = 0  # such turns without an answer in time
    broken: int = 0  # requests that changed what the provider had


class Caller:
    """Aperture's part: a kept connection, a new one where that has died, and a timeout."""

    def __init__(self, node: private.Caller) -> None:
        self._node = node
        self._kept: http.client.HTTPConnection | None = None

    def ask(self, method: str, body: bytes | None, seconds: float) -> bytes | None:
        """Send a request: a call, or a probe if there is no body. None without an answer in time.

        What comes after the time is no answer.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            connection, self._kept = self._kept, None
            try:
                connection = connection or self._dial(left)
                connection.sock.settimeout(max(0.01, end - time.monotonic()))
                connection.request(method, "/" if body else "/livez", body)
                answer = connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                if connection:
                    connection.close()
                time.sleep(0.05)
                continue
            self._kept = connection
            return answer if time.monotonic() < end else None
        return None

    def _dial(self, seconds: float) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(HOST, PORT, timeout=seconds)
        node = self._node
        connection.sock = private.socks5(node.proxy, "tsnet", node.password, HOST, PORT, seconds)
        return connection

    def close(self) -> None:
        """Close the kept connection."""
        connection, self._kept = self._kept, None
        if connection:
            connection.close()


class Conversation:
    """A conversation that grows turn by turn, and what its provider has of it."""

    def __init__(self, traces: list[Path], turns: int) -> None:
        self._growing = Growing(traces, FIRST_BYTES, turns)
        self._turn = self._growing.first
        self._session = f"restart-{time.time_ns()}"
        self._had: list[Any] = []
        self.turns = 0
        self.changed = 0  # turns that were forwarded shortened

    def turn(self, caller: Caller) -> tuple[bool, bool]:
        """Send the next turn. Returns whether it was answered, and whether the prefix is whole."""
        call = self._growing.request(self._session, self._turn)
        self._turn += 1
        answer = caller.ask("POST", call, CALLER_SECONDS)
        self.turns += 1
        sent = json.loads(call)["request_body"]
        if answer is not None and (said := json.loads(answer))["action"] == "modify":
            sent = said["request_body"]
            self.changed += 1
        had, self._had = self._had, traffic.plain(sent["messages"])
        return answer is not None, self._had[: len(had)] == had


def first_answer(node: private.Caller, started: float) -> float:
    """Seconds from `started` until a new connection gets an answer. Several are tried at once."""
    times: list[float] = []

    def probe() -> None:
        caller = Caller(node)
        if caller.ask("GET", None, PROBE_SECONDS) is not None:
            times.append(time.monotonic() - started)
        caller.close()

    threads: list[threading.Thread] = []
    while not times and time.monotonic() - started < PROBE_SECONDS:
        threads.append(threading.Thread(target=probe, daemon=True))
        threads[-1].start()
        threads[-1].join(PROBE_EVERY_SECONDS)
    for thread in threads:
        thread.join()
    return min(times, default=PROBE_SECONDS)


def one(
    daemon: Daemon, number: int, conversation: Conversation, caller: Caller, seen: Seen
) -> None:
    """Restart once, and then let the conversation go on."""
    assert daemon.caller
    time.sleep(SETTLE_SECONDS)
    daemon.stop(number)
    started = time.monotonic()
    daemon.start()
    found: list[tuple[bool, bool, float]] = []

    def turn() -> None:
        found.append((*conversation.turn(caller), time.monotonic() - started))

    turning = threading.Thread(target=turn)
    turning.start()
    seen.first.append(first_answer(daemon.caller, started))
    turning.join()
    answered, whole, taken = found[0]
    seen.turn.append(taken)
    seen.unanswered += not answered
    seen.broken += not whole
    daemon.wait_ready()
    # Restarts are hours apart, and kept connections seconds old. One that was opened in a restart
    # takes the path for slow: kept until the next, it would wait for long until it sends again.
    caller.close()
    for _ in range(TURNS_BETWEEN):
        answered, whole = conversation.turn(caller)
        seen.unanswered += not answered
        seen.broken += not whole


def run(traces: list[Path], restarts: int, options: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Measure. Returns a table, and the same figures for machines."""
    conversation = Conversation(traces, (restarts + 1) * (TURNS_BETWEEN + 1))
    all_seen = {number: Seen() for number in SIGNALS}
    with Daemon(*options, tailnet=True) as daemon:
        assert daemon.caller
        # The control server needs a moment to tell the caller of a node that it has never seen.
        daemon.caller.connect(HOST, PORT).close()
        caller = Caller(daemon.caller)
        for _ in range(TURNS_BETWEEN):
            assert conversation.turn(caller) == (True, True), "a turn before the first restart"
        for count in range(restarts):
            number = SIGNALS[count % len(SIGNALS)]
            one(daemon, number, conversation, caller, all_seen[number])
        caller.close()
    rows = [_row(number.name, seen) for number, seen in all_seen.items() if seen.first]
    turns, changed = conversation.turns, conversation.changed
    text = f"{_table(rows)}\n\n{changed} of {turns} turns were forwarded shortened"
    return text, {"rows": rows, "turns": turns, "changed": changed}


def _row(name: str, seen: Seen) -> dict[str, Any]:
    return {
        "ended by": name,
        "restarts": len(seen.first),
        "first answer p50 s": round(statistics.median(seen.first), 2),
        "worst s": round(max(seen.first), 2),
        "turn p50 s": round(statistics.median(seen.turn), 2),
        "turn worst s": round(max(seen.turn), 2),
        "unanswered": seen.unanswered,
        "broken prefixes": seen.broken,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(str(row[column]) for column in columns) + " |" for row in rows]
    return "\n".join(lines)
