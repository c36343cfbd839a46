"""Many sessions at once: a soak, an overload, and a search for leaks."""

from __future__ import annotations

import itertools
import queue
import statistics
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.client import Answered, Connection
from benchmarks.daemon import Daemon, Usage
from benchmarks.growing import Growing
from benchmarks.latency import percentile

DEADLINE_MS = 4_000  # the daemon's default
# A conversation of the crowd begins small and grows by a turn a request, as most of a day's do.
CROWD_BYTES = 20_000
OVERLOAD_SENDERS = 400  # Aperture opens a connection for each call that finds no free one
OVERLOAD_BYTES = 55_000
OUTCOME = 'tsheadroom_requests_by_outcome{outcome="%s"}'


@dataclass(slots=True)
class Seen:
    """Answers of many connections."""

    answers: list[Answered] = field(default_factory=list)
    broken: int = 0  # connections that ended instead of answering

    def numbers(self) -> dict[str, Any]:
        times = [answer.ms for answer in self.answers] or [0.0]
        return {
            "turns": len(self.answers),
            "p50_ms": round(statistics.median(times), 1),
            "p99_ms": round(percentile(times, 0.99), 1),
            "max_ms": round(max(times), 1),
            "not_ok": sum(answer.status != 200 for answer in self.answers) + self.broken,
        }


class Crowd:
    """Sessions that take turns on a few connections; each grows by a turn whenever it is asked."""

    def __init__(self, port: int, traces: list[Path], sessions: int, size: int, turns: int) -> None:
        self._port = port
        self._growing = [Growing(traces, size, turns, number) for number in range(sessions)]
        self._turns = turns
        self._sessions = sessions
        self._run = time.time_ns()
        # Round by round: each session's next turn follows all others' turns.
        self._next = itertools.count()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """How many turns all sessions have together."""
        return self._sessions * self._turns

    def body(self, number: int) -> bytes:
        """The request of a turn, counted over all sessions; a new generation when all are done."""
        generation, at = divmod(number, self.size)
        turn, session = divmod(at, self._sessions)
        growing = self._growing[session]
        return growing.request(f"{self._run}-{generation}-{session}", growing.first + turn)

    def closed(self, connections: int, count: int) -> tuple[Seen, float]:
        """`count` turns, each connection sending its next when it has its answer; and seconds."""
        with self._lock:
            numbers = iter([next(self._next) for _ in range(count)])
        seen = Seen()

        def send() -> None:
            connection = Connection(self._port)
            while True:
                with self._lock:
                    number = next(numbers, None)
                if number is None:
                    break
                try:
                    seen.answers.append(connection.post(self.body(number)))
                except OSError:
                    seen.broken += 1
                    connection = Connection(self._port)
            connection.close()

        started = time.perf_counter()
        _together(send, connections)
        return seen, time.perf_counter() - started

    def open(self, rate: float, seconds: float) -> tuple[Seen, int]:
        """Turns at a rate, whether answered or not; what came, and how many found no sender."""
        waiting: queue.Queue[bytes | None] = queue.Queue()
        seen, unsent = Seen(), 0

        def send() -> None:
            connection = Connection(self._port)
            while (body := waiting.get()) is not None:
                try:
                    seen.answers.append(connection.post(body))
                except OSError:
                    seen.broken += 1
                    connection = Connection(self._port)
            connection.close()

        senders = [threading.Thread(target=send, daemon=True) for _ in range(OVERLOAD_SENDERS)]
        for sender in senders:
            sender.start()
        started = time.perf_counter()
        for at in range(int(rate * seconds)):
            body = self.body(next(self._next))
            time.sleep(max(0.0, started + at / rate - time.perf_counter()))
            if waiting.qsize() >= OVERLOAD_SENDERS:
                unsent += 1
                continue
            waiting.put(body)
        for _ in senders:
            waiting.put(None)
        for sender in senders:
            sender.join()
        return seen, unsent


def _together(work: Any, count: int) -> None:
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def soak(
    traces: list[Path], sessions: int, connections: int, options: tuple[str, ...]
) -> tuple[str, dict[str, Any]]:
    """Every session takes a turn, again and again, over a few connections."""
    rounds = 5
    rows = []
    with Daemon(*options) as daemon:
        idle = daemon.usage()
        crowd = Crowd(daemon.port, traces, sessions, CROWD_BYTES, rounds)
        for number in range(rounds):
            seen, taken = crowd.closed(connections, sessions)
            usage = daemon.usage()
            metrics = daemon.metrics()
            rows.append(
                {
                    "round": number + 1,
                    **seen.numbers(),
                    "turns_per_s": round(len(seen.answers) / taken, 1),
                    "conversations": int(metrics.get("tsheadroom_conversations", 0)),
                    **_memory(usage),
                }
            )
    found = {
        "sessions": sessions,
        "connections": connections,
        "idle": asdict(idle),
        "rounds": rows,
    }
    title = f"{sessions} sessions, {connections} connections; idle {idle.pss:.0f} MiB\n\n"
    return title + _table(rows), found


def leak(traces: list[Path], options: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """5,000 turns over 500 conversations: memory after each 500."""
    rows: list[dict[str, Any]] = []
    with Daemon(*options) as daemon:
        crowd = Crowd(daemon.port, traces, 500, CROWD_BYTES, 10)
        for _ in range(10):
            seen, _taken = crowd.closed(8, 500)
            time.sleep(0.5)
            sent = (int(rows[-1]["all turns"]) if rows else 0) + len(seen.answers)
            rows.append({"all turns": sent, **seen.numbers(), **_memory(daemon.usage())})
    grown = rows[-1]["pss_mib"] - rows[1]["pss_mib"]
    text = f"\n\nFrom turn 1,000 to the last: {grown:+.1f} MiB"
    return _table(rows) + text, {"rows": rows, "grown_after_1000_mib": round(grown, 1)}


def overload(traces: list[Path], options: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Twice the load that the daemon carries beside this client, and the time after it."""
    rows: list[dict[str, Any]] = []
    with Daemon(*options) as daemon:
        crowd = Crowd(daemon.port, traces, 64, OVERLOAD_BYTES, 20)
        crowd.closed(4, 64)  # every session's cold first request
        seen, taken = crowd.closed(16, 640)
        rate = len(seen.answers) / taken
        rows.append({"phase": f"as fast as 16 go: {rate:.0f}/s", **_answers(daemon, seen, {})})
        before = daemon.metrics()
        seen, unsent = crowd.open(2 * rate, 15.0)
        row = {"phase": f"twice that: {2 * rate:.0f}/s for 15 s"}
        rows.append({**row, **_answers(daemon, seen, before), "unsent": unsent})
        for second in (0, 2, 4):
            before = daemon.metrics()
            seen, _ = crowd.closed(1, 20)
            rows.append({"phase": f"one, {second} s later", **_answers(daemon, seen, before)})
            time.sleep(2.0)
    late = sum(row["max_ms"] > DEADLINE_MS + 1000 for row in rows)
    return _table(rows), {"rate_per_s": round(rate, 1), "phases": rows, "late": late}


def _answers(daemon: Daemon, seen: Seen, before: dict[str, float]) -> dict[str, Any]:
    after = daemon.metrics()

    def grown(name: str) -> int:
        return int(after.get(name, 0) - before.get(name, 0))

    return {
        **seen.numbers(),
        "modify": grown(OUTCOME % "modify"),
        "noop": grown(OUTCOME % "noop"),
        "error": grown(OUTCOME % "error"),
        "unsent": 0,
    }


def _memory(usage: Usage) -> dict[str, float]:
    return {
        "daemon_mib": round(usage.daemon_pss, 1),
        "workers_mib": round(usage.workers_pss, 1),
        "pss_mib": round(usage.pss, 1),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |"]
    lines.append("|---" + "|---:" * (len(names) - 1) + "|")
    for row in rows:
        cells = [f"{v:,}" if isinstance(v, int | float) else str(v) for v in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
