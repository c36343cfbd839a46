"""Attacks the daemon and breaks what it stands on, while honest callers check all their answers.

usage: scripts/torture [--minutes N] [--seed S] [--only NAME ...] [--fuzz N] [--traces DIR]
                       [--tailnet] [--json FILE] [--keep DIR]
       scripts/torture --list

NAME is `faults` (recorded conversations on 16 sessions while one fault follows another), `fuzz`
(hostile bodies over the wire) or one of the attacks that --list shows. Without --only all are run,
one after the other. The same seed brings the same faults, bodies and conversations. The exit
status is 1 if a promise was broken; the requests and answers that show it are in --keep.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.lab import traffic
from scripts.lab.clients import isolation
from scripts.lab.clients.errors import ClientsFailed
from scripts.lab.door import ROOT
from scripts.lab.torture import campaign, fuzz, report
from scripts.lab.torture.attacks import attacks
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.conversations import traces
from scripts.lab.torture.verdict import Verdict
from tests.tailnet import private
from tsheadroom.child import environment

FAULTS, FUZZ = "faults", "fuzz"
KEEP = ROOT / ".build" / "torture"


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/torture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=argparse.SUPPRESS,
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="of faults (default: 5)")
    parser.add_argument("--seed", type=int, help="default: another one each time; it is printed")
    parser.add_argument(
        "--only", action="append", metavar="NAME", choices=[FAULTS, FUZZ, *attacks()]
    )
    parser.add_argument("--list", action="store_true", help="print the attacks and end")
    parser.add_argument(
        "--fuzz", type=int, default=20_000, metavar="N", help="bodies (default: 20000)"
    )
    parser.add_argument(
        "--traces",
        type=Path,
        default=traffic.DATA,
        metavar="DIR",
        help="the recorded conversations to replay (default: tests/data)",
    )
    parser.add_argument(
        "--tailnet", action="store_true", help="faults over a private tailnet, also of it (root)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--keep", type=Path, default=KEEP, metavar="DIR", help="default: .build/torture"
    )
    return parser.parse_args(words)


def main() -> None:
    """Run the command."""
    arguments = parse()
    if arguments.list:
        for attack in attacks().values():
            print(f"{attack.name:24} {attack.holds}")
        return
    if arguments.tailnet:
        private.build()
        _isolate()  # its network is made bad, and that of the machine must not be
    environment.apply()  # the checks use Headroom, which must stay offline
    seed = time.time_ns() % 1_000_000 if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    verdicts: dict[str, Verdict] = {}
    for name, run in _chosen(arguments).items():
        with contextlib.ExitStack() as parts:
            folder = arguments.keep / f"{seed}" / name
            folder.mkdir(parents=True, exist_ok=True)
            verdicts[name] = _run(run, Bench(name, seed, folder, parts))
        print(report.lines(name, verdicts[name]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(_figures(seed, verdicts), indent=1) + "\n")
    broken = [name for name, verdict in verdicts.items() if not verdict.holds]
    print(report.summary(seed, broken, len(verdicts), arguments.keep / f"{seed}"))
    sys.exit(bool(broken))


def _isolate() -> None:
    try:
        isolation.enter()
    except ClientsFailed as error:
        sys.exit(f"scripts/torture: {error}")


def _chosen(arguments: argparse.Namespace) -> dict[str, Callable[[Bench], Verdict]]:
    """What is to be run, by name."""
    recordings = traces(arguments.traces)
    seconds = arguments.minutes * 60
    known: dict[str, Callable[[Bench], Verdict]] = {
        FAULTS: lambda bench: campaign.run(bench, recordings, seconds, tailnet=arguments.tailnet),
        FUZZ: lambda bench: fuzz.run(bench, recordings, arguments.fuzz),
        **{name: attack.run for name, attack in attacks().items()},
    }
    return {name: run for name, run in known.items() if name in (arguments.only or known)}


def _run(run: Callable[[Bench], Verdict], bench: Bench) -> Verdict:
    """The verdict; an attack under which the daemon does not serve any more has succeeded."""
    try:
        return run(bench)
    except (OSError, RuntimeError) as error:
        return Verdict(False, {"ended by": repr(error)})


def _figures(seed: int, verdicts: dict[str, Verdict]) -> dict[str, Any]:
    runs = {
        name: {"holds": verdict.holds, "skipped": verdict.why, **verdict.figures}
        for name, verdict in verdicts.items()
    }
    return {"seed": seed, "runs": runs}
