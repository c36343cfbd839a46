"""Measures the daemon on this machine: it starts `tsheadroom serve` by itself.

Without a mode: warm turns of growing conversations at 55 KB, 213 KB and 1 MB, and of 16 at once,
with the CPU time of daemon and workers and the memory before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from scripts.lab import beside, cold, crowd, latency, micro, profiling, restart, traffic
from scripts.lab.reference import NoReference

UNITS = {"KB": 1_000, "MB": 1_000_000}


def case(text: str) -> latency.Case:
    """Read a row such as 213KB, or 213KBx16 for 16 sessions."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(KB|MB)(?:x(\d+))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a row such as 55KB or 213KBx16")
    return latency.Case(round(float(found[1]) * UNITS[found[2]]), int(found[3] or 1))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Options after -- go to `tsheadroom serve`.",
    )
    parser.add_argument("traces", nargs="*", type=Path, metavar="TRACE",
                        help="conversations to stitch together (default: tests/data)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print for machines")
    parser.add_argument("--row", action="append", type=case, metavar="SIZE[xSESSIONS]",
                        help="other rows than the usual, e.g. 2MB or 213KBx4")  # fmt: skip
    parser.add_argument("--tailnet", action="store_true",
                        help="the rows over a private tailnet instead of loopback")  # fmt: skip
    parser.add_argument("--turns", type=int, default=40, help="measured turns a session")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--sessions", type=int, metavar="N",
                      help="soak: N conversations take turns on --connections")  # fmt: skip
    parser.add_argument("--connections", type=int, default=200, metavar="N")
    mode.add_argument("--overload", action="store_true",
                      help="twice the load that it carries, and the time after")  # fmt: skip
    mode.add_argument("--leak", action="store_true",
                      help="memory over 5,000 turns of 500 conversations")  # fmt: skip
    parser.add_argument("--fill", type=int, default=0, metavar="N",
                        help="with --leak: N turns of very small conversations first")  # fmt: skip
    mode.add_argument("--restart", type=int, nargs="?", const=restart.USUAL, metavar="N",
                      help="N restarts as a tailnet caller sees them (usually 20)")  # fmt: skip
    mode.add_argument("--micro", action="store_true",
                      help="split, hash, plan, splice alone, at 50 KB, 1 MB, 20 MB")  # fmt: skip
    mode.add_argument("--cold", action="store_true",
                      help="large conversations that are new, and what several workers would"
                      " make of one")  # fmt: skip
    mode.add_argument("--profile", type=Path, metavar="FILE.svg",
                      help="draw where the event loop's time goes")  # fmt: skip
    mode.add_argument("--beside", type=Path, metavar="BINARY",
                      help="the same with the Go daemon; see lab/beside.py")  # fmt: skip
    parser.add_argument("--worker", type=Path, metavar="WORKER.PY",
                        help="with --beside: the Go daemon's worker")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, metavar="N",
                        help="with --beside: how often each row is measured")  # fmt: skip
    given = parser.parse_args(own_words())
    if bool(given.beside) != bool(given.worker):
        parser.error("--beside and --worker go together")
    if given.rounds < 1:
        parser.error("--rounds must be at least 1")
    return given


def own_words() -> list[str]:
    """Return the words of the command line that are for this script: those before `--`."""
    return sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]


def run(given: argparse.Namespace, options: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """Measure in the mode that was asked for. Returns the text to print, and the figures.

    `options` go to `tsheadroom serve`.
    """
    traces = given.traces or sorted(traffic.DATA.glob("*.jsonl"))
    if given.micro:
        return micro.run(traces)
    if given.sessions:
        return crowd.soak(traces, given.sessions, given.connections, options)
    if given.overload:
        return crowd.overload(traces, options)
    if given.leak:
        return crowd.leak(traces, given.fill, options)
    if given.restart:
        return restart.run(traces, given.restart, options)
    if given.cold:
        sizes = [case.size for case in given.row or ()]
        return cold.run(traces, sizes or cold.SIZES, options)
    if given.profile:
        cases = given.row or [latency.Case(213_000)]
        return profiling.run(traces, cases[0], given.profile, options)
    if given.beside:
        return beside.run(
            given.beside.resolve(),
            given.worker.resolve(),
            traces,
            given.row or list(beside.USUAL),
            given.turns,
            given.rounds,
            options,
        )
    return latency.run(
        traces, given.row or list(latency.USUAL), given.turns, options, given.tailnet
    )


def main() -> None:
    """Run the command."""
    given = parse()
    machine = {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }
    try:
        text, found = run(given, tuple(sys.argv[2 + len(own_words()) :]))
    except (beside.NotComparable, NoReference) as error:
        sys.exit(f"scripts/bench: {error}")
    if given.json:
        print(json.dumps({"machine": machine, **found}, indent=1))
        return
    print("{cores} cores, load {load} before, Python {python}\n".format(**machine))
    print(text)
