"""Measures latency: warm turns of growing conversations, by size and number of sessions."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from scripts.lab.client import Answered, Connection
from scripts.lab.daemon import Daemon, Usage
from scripts.lab.growing import Growing

SETTLE_SECONDS = 0.5  # for work that a turn leaves to be done after its answer
PHASES = ("read", "plan", "wait", "worker", "write")
MODIFIED = 'tsheadroom_requests_by_outcome{outcome="modify"}'


class Measurable(Protocol):
    """A daemon that runs: ours, or one beside it."""

    def connect(self) -> socket.socket:
        """Open a connection to it."""

    def usage(self) -> Usage:
        """Read its CPU and memory now."""

    def metrics(self) -> dict[str, float]:
        """Read its series, by name with labels."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a row measures: bytes of messages in the first measured request, sessions at once."""

    size: int
    sessions: int = 1


USUAL = (Case(55_000), Case(213_000), Case(1_000_000), Case(213_000, 16))


@dataclass(slots=True)
class Row:
    """The figures of a case. Times are milliseconds; CPU is for each measured turn."""

    size: int
    messages: int
    sessions: int
    turns: int
    p50_ms: float
    p99_ms: float
    turns_per_s: float
    cpu_daemon_ms: float
    cpu_workers_ms: float
    answer_bytes: int
    not_ok: int
    modified: int = 0  # turns whose answer was to forward something else
    phases_ms: dict[str, float] = field(default_factory=dict)

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds a turn, of daemon and workers together."""
        return self.cpu_daemon_ms + self.cpu_workers_ms


@dataclass(slots=True)
class _Session:
    """The client of one conversation. It lets it grow, waits for the start, then measures."""

    growing: Growing
    name: str
    connect: Callable[[], socket.socket]
    turns: int
    gate: threading.Barrier
    answers: list[Answered] = field(default_factory=list)
    failed: BaseException | None = None

    def run(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.failed = error
            self.gate.abort()

    def _run(self) -> None:
        connection = Connection(self.connect)
        growing, first = self.growing, self.growing.first
        for turn in range(first):
            connection.post(growing.request(self.name, turn))
        bodies = [growing.request(self.name, first + turn) for turn in range(self.turns)]
        self.gate.wait()  # all are ready
        self.gate.wait()  # now
        self.answers = [connection.post(body) for body in bodies]
        self.gate.wait()  # all are done
        connection.close()


def measure(
    daemon: Measurable,
    case: Case,
    traces: list[Path],
    turns: int,
    variety: int,
    on_start: Callable[[], None] = lambda: None,
    on_end: Callable[[], None] = lambda: None,
) -> Row:
    """Measure one case with a running daemon.

    The daemon must not have seen `variety` yet, nor the next ones, one for each session.
    """
    gate = threading.Barrier(case.sessions + 1)
    run = time.time_ns()
    sessions = [
        _Session(
            Growing(traces, case.size, turns, variety + number),
            f"{run}-{number}",
            daemon.connect,
            turns,
            gate,
        )
        for number in range(case.sessions)
    ]
    threads = [threading.Thread(target=session.run, daemon=True) for session in sessions]
    for thread in threads:
        thread.start()
    try:
        gate.wait()
        time.sleep(SETTLE_SECONDS)
        before, series = daemon.usage(), daemon.metrics()
        on_start()
        started = time.perf_counter()
        gate.wait()
        gate.wait()
        taken = time.perf_counter() - started
        on_end()
    except threading.BrokenBarrierError:
        raise next(s.failed for s in sessions if s.failed) from None
    time.sleep(SETTLE_SECONDS)
    after = daemon.usage()
    answers = [answer for session in sessions for answer in session.answers]
    row = _row(case, sessions[0].growing, answers, taken, before, after)
    series_after = daemon.metrics()
    row.modified = int(series_after.get(MODIFIED, 0) - series.get(MODIFIED, 0))
    row.phases_ms = _phases(series, series_after, len(answers))
    return row


def _row(
    case: Case, growing: Growing, answers: list[Answered], taken: float, before: Usage, after: Usage
) -> Row:
    times = [answer.ms for answer in answers]
    return Row(
        size=case.size,
        messages=growing.messages(growing.first),
        sessions=case.sessions,
        turns=len(times),
        p50_ms=round(statistics.median(times), 2),
        p99_ms=round(percentile(times, 0.99), 2),
        turns_per_s=round(len(times) / taken, 1),
        cpu_daemon_ms=round((after.daemon_cpu - before.daemon_cpu) / len(times), 2),
        cpu_workers_ms=round((after.workers_cpu - before.workers_cpu) / len(times), 2),
        answer_bytes=answers[-1].size,
        not_ok=sum(answer.status != 200 for answer in answers),
    )


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values are below: 0.99 for the 99th percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _phases(before: dict[str, float], after: dict[str, float], turns: int) -> dict[str, float]:
    """Milliseconds of each phase in a turn, from the daemon's own histograms."""
    result = {}
    for phase in PHASES:
        name = f'tsheadroom_phase_seconds_sum{{phase="{phase}"}}'
        result[phase] = round(1e3 * (after.get(name, 0) - before.get(name, 0)) / turns, 2)
    return result


def table(rows: list[Row], idle: Usage, busy: Usage) -> str:
    """Three tables for people: the rows, where their time went, and memory before and after."""
    head = (
        "| conversation | messages | sessions | p50 ms | p99 ms | turns/s"
        " | CPU ms a turn | daemon | workers |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    )
    lines = [
        f"| {size_name(row.size)} | {row.messages} | {row.sessions} | {row.p50_ms:.1f}"
        f" | {row.p99_ms:.1f} | {row.turns_per_s:.0f} | {row.cpu_ms:.1f}"
        f" | {row.cpu_daemon_ms:.1f} | {row.cpu_workers_ms:.1f} |"
        for row in rows
    ]
    phases = [
        "",
        "| conversation | sessions | " + " | ".join(f"{name} ms" for name in PHASES) + " |",
        "|---:|" * 1 + "---:|" * (len(PHASES) + 1),
        *(
            f"| {size_name(row.size)} | {row.sessions} | "
            + " | ".join(f"{row.phases_ms[name]:.2f}" for name in PHASES)
            + " |"
            for row in rows
        ),
    ]
    memory = [
        "",
        "| PSS MiB | daemon | workers and their parent | together |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {usage.daemon_pss:.0f} | {usage.workers_pss:.0f} | {usage.pss:.0f} |"
            for name, usage in (("idle", idle), ("after the above", busy))
        ),
    ]
    return head + "\n".join([*lines, *phases, *memory])


def size_name(size: int) -> str:
    """A number of bytes as the tables show it, such as 213 KB or 1 MB."""
    return f"{size / 1e6:g} MB" if size >= 1_000_000 else f"{size / 1e3:g} KB"


def run(
    traces: list[Path],
    cases: list[Case],
    turns: int,
    options: tuple[str, ...],
    tailnet: bool = False,
) -> tuple[str, dict[str, Any]]:
    """Measure all cases with one daemon. Returns the table, and the same figures for machines."""
    variety = 0
    with Daemon(*options, tailnet=tailnet) as daemon:
        idle = daemon.usage()
        rows = []
        for case in cases:
            rows.append(measure(daemon, case, traces, turns, variety))
            variety += case.sessions
        busy = daemon.usage()
    found = {
        "rows": [{**asdict(row), "cpu_ms": round(row.cpu_ms, 2)} for row in rows],
        "pss_mib": {"idle": asdict(idle), "after": asdict(busy)},
    }
    return table(rows, idle, busy), found
