"""Many sessions at once: a soak, an overload, and a search for leaks."""

from __future__ import annotations

import queue
import socket
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scripts.lab.client import Answered, Connection
from scripts.lab.daemon import Daemon, Usage
from scripts.lab.growing import Growing
from scripts.lab.latency import percentile

DEADLINE_MS = 4_000  # the daemon's default
# A conversation of the crowd begins small and grows by a turn with each request, as most do.
CROWD_BYTES = 20_000
# So large that after a thousand turns the workers hold as much as they ever will.
LEAK_BYTES = 200_000
# A request this small takes the daemon a millisecond. It leaves behind as much as any other of what
# is remembered by number: how the latest answers ended, what the latest calls should cost.
FILL_BYTES = 1_000
# Aperture opens a connection for each call that finds no free one.
OVERLOAD_SENDERS = 1_000
# More sessions than senders, because a session sends one request at a time.
OVERLOAD_SESSIONS = 2_000
Connect = Callable[[], socket.socket]
FAILURES = ("worker_PoolBusy", "worker_TimeoutError", "overloaded", "decision_not_durable")
OUTCOME = 'tsheadroom_requests_by_outcome{outcome="%s"}'


@dataclass(slots=True)
class Seen:
    """The answers that came on many connections."""

    answers: list[Answered] = field(default_factory=list)
    broken: int = 0  # connections that ended instead of answering
    client_cpu: float = 0.0  # milliseconds

    def numbers(self) -> dict[str, Any]:
        """The columns of a table row: turns, milliseconds, and answers that were not 200."""
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

    def __init__(
        self, connect: Connect, traces: list[Path], sessions: int, size: int, turns: int
    ) -> None:
        """After `turns` turns a session begins anew, as another one."""
        self._connect = connect
        self._growing = [Growing(traces, size, turns, number) for number in range(sessions)]
        self._turns = turns
        self._taken = [0] * sessions
        self._run = time.time_ns()

    def body(self, session: int) -> bytes:
        """The next request of a session."""
        generation, turn = divmod(self._taken[session], self._turns)
        self._taken[session] += 1
        growing = self._growing[session]
        return growing.request(f"{self._run}-{session}-{generation}", growing.first + turn)

    def closed(self, connections: int, plan: Iterable[int]) -> tuple[Seen, float]:
        """Send a turn for each session of the plan, in order. Returns also the seconds it took.

        A connection sends its next request when it has its answer. A session always uses the same
        connection. All requests are made before the first one is sent.
        """
        seen = Seen()
        shares: list[list[bytes]] = [[] for _ in range(connections)]
        for session in plan:
            shares[session % connections].append(self.body(session))

        def send(share: list[bytes]) -> None:
            line = _Line(self._connect, seen)
            for body in share:
                line.post(body)
            line.close()

        started, spent = time.perf_counter(), time.process_time()
        threads = [threading.Thread(target=send, args=(s,), daemon=True) for s in shares if s]
        _together(threads)
        seen.client_cpu = (time.process_time() - spent) * 1e3
        return seen, time.perf_counter() - started

    def open(self, rate: float, seconds: float) -> tuple[Seen, int]:
        """Send `rate` turns a second. Also returns how many could not be sent in time.

        As with agents, a session's next turn waits for the answer to its last one. If no session
        is free or too many turns wait to be sent, a turn is not sent.
        """
        waiting: queue.Queue[int | None] = queue.Queue()
        idle = deque(range(len(self._growing)))
        seen, unsent = Seen(), 0

        def send() -> None:
            line = _Line(self._connect, seen)
            while (session := waiting.get()) is not None:
                line.post(self.body(session))
                idle.append(session)
            line.close()

        senders = [threading.Thread(target=send, daemon=True) for _ in range(OVERLOAD_SENDERS)]
        for sender in senders:
            sender.start()
        started = time.perf_counter()
        for at in range(int(rate * seconds)):
            time.sleep(max(0.0, started + at / rate - time.perf_counter()))
            if idle and waiting.qsize() < OVERLOAD_SENDERS:
                waiting.put(idle.popleft())
            else:
                unsent += 1
        for _ in senders:
            waiting.put(None)
        for sender in senders:
            sender.join()
        return seen, unsent


class _Line:
    """A connection that is opened again when it breaks. It counts how often it broke."""

    def __init__(self, connect: Connect, seen: Seen) -> None:
        self._connect, self._seen = connect, seen
        self._connection = Connection(connect)

    def post(self, body: bytes) -> None:
        try:
            self._seen.answers.append(self._connection.post(body))
        except OSError:
            self._seen.broken += 1
            self._connection.close()
            self._connection = Connection(self._connect)

    def close(self) -> None:
        self._connection.close()


def _together(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def soak(
    traces: list[Path], sessions: int, connections: int, options: tuple[str, ...]
) -> tuple[str, dict[str, Any]]:
    """In each of several rounds, let every session take a turn, over a few connections."""
    rounds = 5
    rows = []
    with Daemon(*options) as daemon:
        idle = daemon.usage()
        crowd = Crowd(daemon.connect, traces, sessions, CROWD_BYTES, rounds)
        for number in range(rounds):
            left, before = _left_alone(daemon.metrics()), daemon.usage()
            seen, taken = crowd.closed(connections, range(sessions))
            usage, metrics = daemon.usage(), daemon.metrics()
            cpu = {
                "daemon": usage.daemon_cpu - before.daemon_cpu,
                "workers": usage.workers_cpu - before.workers_cpu,
                "client": seen.client_cpu,
            }
            rows.append(
                {
                    "round": number + 1,
                    **seen.numbers(),
                    "left_alone": int(_left_alone(metrics) - left),
                    "turns_per_s": round(len(seen.answers) / taken, 1),
                    **{f"{name}_cpu_ms": round(ms / sessions, 2) for name, ms in cpu.items()},
                    "cores_busy": round(sum(cpu.values()) / 1e3 / taken, 2),
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


def leak(traces: list[Path], fill: int, options: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Send 5,000 turns of 500 conversations, and read memory after each 500 turns.

    `fill` turns of very small conversations come first, and are not in the table.
    """
    rows: list[dict[str, Any]] = []
    with Daemon(*options) as daemon:
        small = Crowd(daemon.connect, traces, 100, FILL_BYTES, 2)
        small.closed(8, (turn % 100 for turn in range(fill)))
        crowd = Crowd(daemon.connect, traces, 500, LEAK_BYTES, 10)
        for batch in range(10):
            sessions = range(50 * batch, 50 * (batch + 1))
            seen, _taken = crowd.closed(8, [s for s in sessions for _ in range(10)])
            time.sleep(0.5)
            sent = (int(rows[-1]["all turns"]) if rows else 0) + len(seen.answers)
            decisions = daemon.metrics().get("tsheadroom_conversations_bytes", 0.0)
            rows.append(
                {
                    "all turns": sent,
                    **seen.numbers(),
                    **_memory(daemon.usage()),
                    "decisions_mib": round(decisions / (1 << 20), 1),
                }
            )
    grown = {
        name: round(rows[-1][f"{name}_mib"] - rows[4][f"{name}_mib"], 1)
        for name in ("daemon", "workers", "pss")
    }
    text = (
        f"\n\nFrom turn 2,500 to the last: {grown['daemon']:+} MiB in the daemon,"
        f" {grown['workers']:+} in the workers"
    )
    return _table(rows) + text, {"rows": rows, "grown_after_2500_mib": grown}


def overload(traces: list[Path], options: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Send twice what the daemon can answer beside this client, and see how it is afterwards."""
    rows: list[dict[str, Any]] = []
    with Daemon(*options) as daemon:
        crowd = Crowd(daemon.connect, traces, OVERLOAD_SESSIONS, CROWD_BYTES, 20)
        crowd.closed(16, range(OVERLOAD_SESSIONS))  # every session's cold first request
        before = daemon.metrics()
        seen, taken = crowd.closed(16, range(0, OVERLOAD_SESSIONS, 2))
        rate = len(seen.answers) / taken
        rows.append({"phase": f"as fast as 16 go: {rate:.0f}/s", **_answers(daemon, seen, before)})
        before = daemon.metrics()
        seen, unsent = crowd.open(2 * rate, 15.0)
        row = {"phase": f"twice that: {2 * rate:.0f}/s for 15 s"}
        rows.append({**row, **_answers(daemon, seen, before), "unsent": unsent})
        for second in (0, 2, 4):
            before = daemon.metrics()
            seen, _ = crowd.closed(1, range(20))
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
        # The largest since the start; without the time that a request waited in the kernel.
        "hook_max_ms": round(after.get("headroom_overhead_ms_max", 0.0), 1),
        "modify": grown(OUTCOME % "modify"),
        "noop": grown(OUTCOME % "noop"),
        "error": grown(OUTCOME % "error"),
        "unsent": 0,
    }


def _left_alone(metrics: dict[str, float]) -> float:
    """How many turns so far had their new items left alone, for want of a worker, disk or time."""
    return sum(metrics.get(f'tsheadroom_events_total{{event="{name}"}}', 0) for name in FAILURES)


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
