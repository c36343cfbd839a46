"""On a full disk answers stay right; when there is room again, what is decided is durable.

The limit is that of the process on the size of a file, then a small file system of its own.
"""

from __future__ import annotations

import contextlib
import resource
import time
from typing import Any

from scripts.lab.torture import processes
from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import MIB, Target
from scripts.lab.torture.verdict import Verdict

FULL_SECONDS = 3.0
ROOM_SECONDS = 15.0
DISK_MIB = 2


def attack(bench: Bench) -> Verdict:
    """Go on while nothing can be written, and afterwards."""
    target = bench.daemon()
    largest = max(path.stat().st_size for path in target.state.glob("*"))
    limit = max(largest, len(target.log))  # stderr is a file, too
    with processes.limited(target.pid, resource.RLIMIT_FSIZE, limit):
        seen = {"a limit": _full(bench, target)}
    seen["a limit"] |= _room(bench, target)
    target.stop()
    with _places.mounted(target.state, "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "none") as could:
        if could:
            seen["a file system"] = _small(bench, target)
            target.stop()
    well = all(one["durable again"] and not one["broken"] for one in seen.values())
    return Verdict(well, seen)


def _small(bench: Bench, target: Target) -> dict[str, Any]:
    target.start()
    target.wait_ready()
    ballast = target.state / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(MIB // 64))
    seen = _full(bench, target)
    ballast.unlink()
    return seen | _room(bench, target)


def _full(bench: Bench, target: Target) -> dict[str, Any]:
    talk = _places.Talk(bench, target.connect)
    end = time.monotonic() + FULL_SECONDS
    with bench.honest(target, 4, pause=0.1) as honest:
        while time.monotonic() < end:
            talk.turn()
    said = "degraded" in _places.page(target, "/readyz")
    broken = talk.broken + honest.breaks.total()
    return {"said": said, "broken": broken, "slowest turn, s": round(talk.slowest, 2)}


def _room(bench: Bench, target: Target) -> dict[str, Any]:
    talk = _places.Talk(bench, target.connect)
    forms = _places.until(talk.turn, ROOM_SECONDS)
    return {"forms again after, s": forms, "durable again": _places.durable(bench, target)}
