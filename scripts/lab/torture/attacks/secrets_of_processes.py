"""No process of the daemon shows the auth key, and no worker any secret of its environment.

Workers run unprivileged, filtered, and may leave no core.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from scripts.lab.torture.attacks import _common, _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict, skipped

KEY = b"TS_AUTHKEY=any"  # as the daemon is started here
SECRETS = ("ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "OF_ANY_NAME")
FILTERED = "2"  # seccomp's mode with a filter


def attack(bench: Bench) -> Verdict:
    """Start it with secrets around it, and read what /proc shows."""
    if not Path("/proc/self/environ").exists():
        return skipped("this system has no /proc")
    target = bench.daemon()
    secret = bench.salt()
    try:
        os.environ.update(dict.fromkeys(SECRETS, secret))
        _places.restart(target)
    finally:
        for name in SECRETS:
            del os.environ[name]
    target.line().ask(bench.call(bench.rows(_common.ROWS)))
    workers = target.workers()
    children = [_seen(pid, secret.encode()) for pid in target.children()]
    figures: dict[str, Any] = {
        "daemon": _seen(target.pid, KEY),
        "children": children,
        "without a filter": [
            pid for pid in target.children() if _places.status_of(pid).get("Seccomp") != FILTERED
        ],
        "with privileges": [pid for pid in workers if _privileged(pid)],
        "may leave a core": [pid for pid in [target.pid, *target.children()] if _core(pid)],
    }
    well = not figures["daemon"] and not any(children) and len(children) > 2
    wrong = [name for name, found in figures.items() if name.startswith(("w", "m")) and found]
    return Verdict(well and not wrong, figures)


def _seen(pid: int, secret: bytes) -> list[str]:
    """Where a process shows this."""
    found = []
    for name in ("environ", "cmdline"):
        try:
            if secret in (Path("/proc") / str(pid) / name).read_bytes():
                found.append(name)
        except PermissionError:
            continue  # only root sees more
    return found


def _privileged(pid: int) -> bool:
    status = _places.status_of(pid)
    return status["NoNewPrivs"] != "1" or int(status["CapEff"], 16) != 0


def _core(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    words = next(line for line in lines if line.startswith("Max core")).split()
    return words[4] != "0"
