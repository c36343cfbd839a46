"""Measures the daemon beside its reference, the one in Go: the same turns, one daemon at a time.

The reference is https://github.com/tailscale/tsheadroom. Clone it, and run `go build -o
tsheadroom-go .` there. That binary and the `worker.py` of the clone are what `scripts/bench
--beside BINARY --worker WORKER.PY` wants.

Both use this Python and its Headroom. They do not do equal work: the reference gives each whole
request to Headroom, with Headroom's own settings, which remove texts. Ours gives it what is new,
and removes nothing unless it is told to.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.lab.daemon import Daemon
from scripts.lab.latency import Case, Row, measure, size_name
from scripts.lab.reference import Reference

USUAL = (Case(1_200_000), Case(213_000, 16))
POOL = 2
# Of the measured turns. What a daemon does not shorten it need not encode, so others are cheaper.
MOSTLY = 0.9


class NotComparable(Exception):
    """A daemon did not do what is measured, so its times would say nothing."""


@dataclass(frozen=True, slots=True)
class Run:
    """One row of one daemon: its figures, its MiB afterwards, and what else the machine did."""

    row: Row
    pss_mib: float
    load: float  # one minute's average before the run
    others_cores: float  # cores that were busy with other work while the turns were measured


Start = Callable[[], Daemon | Reference]


def measure_run(start: Start, case: Case, traces: list[Path], turns: int) -> Run:
    """Start a daemon, measure one case, and end it."""
    load = os.getloadavg()[0]
    times: list[tuple[float, float, float]] = []
    with start() as daemon:
        row = measure(
            daemon,
            case,
            traces,
            turns,
            variety=0,
            on_start=lambda: times.append(_times()),
            on_end=lambda: times.append(_times()),
        )
        pss = daemon.usage().pss
    clock, busy, client = (after - before for before, after in zip(*times, strict=True))
    own = client + row.cpu_ms * row.turns / 1e3
    return Run(row, round(pss, 1), round(load, 2), round(max(0.0, busy - own) / clock, 2))


def _times() -> tuple[float, float, float]:
    """Seconds: of the clock, that the machine's cores were busy, that this process used of them."""
    words = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    user, nice, system, _idle, _iowait, interrupts, soft = (int(word) for word in words[:7])
    busy = (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), busy, time.process_time()


def check(name: str, row: Row) -> None:
    """Raise NotComparable unless nearly all turns of a run were answered, and shortened."""
    where = f"{name}, {size_name(row.size)} x {row.sessions}"
    if row.not_ok:
        raise NotComparable(f"{where}: {row.not_ok} of {row.turns} answers were not 200")
    if row.modified < MOSTLY * row.turns:
        raise NotComparable(
            f"{where}: only {row.modified} of {row.turns} answers were `modify`; a daemon that"
            " leaves requests alone does not do the work that is measured"
        )


def names(number: int) -> list[str]:
    """The daemons in the order of a round: who comes first changes each time."""
    order = ["reference", "ours"]
    return order[::-1] if number % 2 else order


def run(
    binary: Path,
    worker: Path,
    traces: list[Path],
    cases: list[Case],
    turns: int,
    rounds: int,
    options: tuple[str, ...],
) -> tuple[str, dict[str, Any]]:
    """Measure all cases in each round. Returns a table, and the same figures for machines.

    `options` go to ours. Raises NotComparable where a run says nothing.
    """
    starts: dict[str, Start] = {
        "reference": lambda: Reference(binary, worker, POOL),
        "ours": lambda: Daemon(*options, pool=POOL),
    }
    runs: dict[str, list[list[Run]]] = {name: [[] for _ in cases] for name in starts}
    for number in range(rounds):
        for at, case in enumerate(cases):
            for name in names(number):
                found = measure_run(starts[name], case, traces, turns)
                check(name, found.row)
                runs[name][at].append(found)
    text = "\n".join([*table(runs["reference"], runs["ours"]), "", machine(runs)])
    return text, {name: [[asdict(one) for one in of] for of in runs[name]] for name in starts}


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table."""

    name: str
    value: Callable[[Run], float]
    digits: int
    time: bool  # a ratio of times is shown as 1/10, others as 0.5x or 10x
    bold: bool  # what the row is there for, with its number of sessions


def figures(sessions: int) -> list[Figure]:
    """The lines of a row. One session is about a turn's cost, many are about a host's."""
    one = sessions == 1
    return [
        Figure("p50 ms", lambda run: run.row.p50_ms, 1, True, one),
        Figure("p99 ms", lambda run: run.row.p99_ms, 1, True, False),
        Figure("CPU ms a turn", lambda run: run.row.cpu_ms, 1, True, one),
        Figure("turns/s", lambda run: run.row.turns_per_s, 1, False, not one),
        Figure("PSS MiB after", lambda run: run.pss_mib, 0, False, not one),
    ]


def table(reference: list[list[Run]], ours: list[list[Run]]) -> list[str]:
    """The lines of a table for people, from the runs of each case, in the order of the rounds.

    The ratio is that of the medians. Those of the single rounds tell how far to trust it.
    """
    lines = [
        "| conversation | sessions | figure | reference | ours | ratio | in each round |",
        "|---:|---:|---|---:|---:|---:|---|",
    ]
    for theirs, mine in zip(reference, ours, strict=True):
        row = mine[0].row
        for figure in figures(row.sessions):
            pairs = [(figure.value(a), figure.value(b)) for a, b in zip(theirs, mine, strict=True)]
            one, other = (statistics.median(values) for values in zip(*pairs, strict=True))
            mark = "**" if figure.bold else ""
            each = ", ".join(ratio(*pair, figure.time) for pair in pairs) if figure.bold else ""
            lines.append(
                f"| {size_name(row.size)} | {row.sessions} | {mark}{figure.name}{mark}"
                f" | {one:.{figure.digits}f} | {other:.{figure.digits}f}"
                f" | {mark}{ratio(one, other, figure.time)}{mark} | {each} |"
            )
    return lines


def ratio(reference: float, ours: float, time: bool) -> str:
    """Ours to the reference's, as 1/10.2 if it is a time, else as 0.42x."""
    if time:
        return f"1/{reference / ours:.1f}" if ours else "-"
    return f"{ours / reference:.2f}x" if reference else "-"


def machine(runs: dict[str, list[list[Run]]]) -> str:
    """A sentence about what else the machine did meanwhile."""
    every = [one for cases in runs.values() for of in cases for one in of]
    loads = [one.load for one in every]
    others = [one.others_cores for one in every]
    return (
        f"Load before a run: {min(loads)} to {max(loads)}, the runs' own included. While turns were"
        f" measured, other work took {statistics.median(others):.2f} cores in the median, at most"
        f" {max(others):.2f}."
    )
