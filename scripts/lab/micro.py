"""Measures some of the daemon's steps alone, by the body's size.

`split` and `names` are of a call that is not known, the next ones of the call a turn later.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from scripts.lab import traffic
from scripts.lab.growing import Growing
from scripts.lab.latency import size_name
from tsheadroom.aperture import answer
from tsheadroom.aperture.call import HookCall, read, read_rest
from tsheadroom.aperture.names import Digests, outline_of
from tsheadroom.aperture.outline import Found, Outlines
from tsheadroom.conversations.ledger import Conversations, FromDisk
from tsheadroom.conversations.prefixes import Prefixes
from tsheadroom.conversations.turn import Turn
from tsheadroom.economy.account import Account
from tsheadroom.memory import keep_pages
from tsheadroom.settings import Settings
from tsheadroom.turns.rules import Rules
from tsheadroom.web import codings

SIZES = (50_000, 1_000_000, 20_000_000)
LEAST_RUNS = 5
SECONDS = 1.0  # for each step at each size
_DOCUMENT = "x" * 40_000  # makes up the largest body: agents' conversations end far below 20 MB


def _bodies(traces: list[Path], size: int) -> tuple[bytes, bytes]:
    """Make hook calls of about `size` bytes, one turn after the other.

    Above a megabyte they are filled up with long texts.
    """
    growing = Growing(traces, min(size, 1_000_000), 1)
    calls = [growing.request("micro", growing.first + turn) for turn in range(2)]
    short = max(0, size - len(calls[0]))
    padding = [{"role": "user", "content": _DOCUMENT}, {"role": "assistant", "content": "ok"}]
    chunk = traffic.dumps(padding)[1:-1]
    mark = b'"messages":['
    filled = mark + (chunk + b",") * (short // len(chunk))
    first, then = (call.replace(mark, filled, 1) for call in calls)
    return first, then


def _read(data: bytes, found: Found | None) -> HookCall:
    call = read_rest(data, found) if found else read(data)
    assert isinstance(call, HookCall)
    return call


def _timed(step: Callable[[], object]) -> dict[str, float]:
    step()
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(times) < LEAST_RUNS or time.perf_counter() < end:
        started = time.perf_counter()
        step()
        times.append((time.perf_counter() - started) * 1e3)
    return {
        "median_ms": round(statistics.median(times), 3),
        "least_ms": round(min(times), 3),
        "runs": len(times),
    }


def _splice(call: HookCall) -> Callable[[], object]:
    """Return the step that gives every tenth item a form."""
    changes = [(*call.items[index], b'{"role":"user","content":"a form"}')
               for index in range(0, len(call.items), 10)]  # fmt: skip
    return lambda: answer.modify(call, changes)


def _plan(call: HookCall, digests: Digests) -> Callable[[], object]:
    """Return the step that finds a known conversation."""
    request = Rules.of(call, digests, Settings(), Account().model_of(call)).request
    conversations = Conversations(directory=None)

    def begin() -> Turn:
        turn = conversations.begin(request, Prefixes(request), FromDisk())
        assert isinstance(turn, Turn)  # there is no disk to ask
        return turn

    begin().decide({})
    return begin


def run(traces: list[Path]) -> tuple[str, dict[str, Any]]:
    """Measure all steps. Returns the table, and the same figures for machines."""
    keep_pages()  # as the daemon does
    rows: list[dict[str, Any]] = []
    for size in SIZES:
        first, data = _bodies(traces, size)
        before = _read(first, None)
        outlines = Outlines()
        outlines.keep(outline_of(before, Digests.of(before)), None)
        call = _read(data, outlines.find(data))
        digests = Digests.of(call)
        steps: dict[str, Callable[[], object]] = {
            "split": partial(_read, first, None),
            "names": partial(Digests.of, before),
            "recognise": partial(outlines.find, data),
            "split the rest": partial(_read, data, call.known),
            "names of the rest": partial(Digests.of, call),
            "outline": partial(outline_of, call, digests),
            "plan": _plan(call, digests),
            "splice": _splice(call),
            "gzip": partial(codings.encode_gzip, data),
        }
        for name, step in steps.items():
            row = {"bytes": len(data), "messages": len(call.items), "step": name}
            rows.append({**row, **_timed(step)})
    lines = ["| body | messages | step | median ms | least ms |", "|---:|---:|---|---:|---:|"]
    lines += [
        f"| {size_name(round(row['bytes'], -4))} | {row['messages']} | {row['step']}"
        f" | {row['median_ms']:.3f} | {row['least_ms']:.3f} |"
        for row in rows
    ]
    return "\n".join(lines), {"steps": rows}
