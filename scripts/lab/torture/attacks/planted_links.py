"""Links that somebody has planted in the state directory are never followed.

Each name that the daemon uses there leads to another file once, at start and while it runs: that
file stays as it is. Where the daemon starts, it answers.
"""

from __future__ import annotations

import os
from pathlib import Path

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

PRECIOUS = b"precious\n"
MODE = 0o644
START_SECONDS = 20.0
NOTICED_SECONDS = 5.0


def attack(bench: Bench) -> Verdict:
    """Plant one after the other, and look at what they lead to."""
    target = bench.daemon(pool=1)
    talk = _places.Talk(bench, target.connect)
    talk.turn()
    names = sorted({path.name for path in target.state.iterdir()} | {"conversations.sqlite3-wal"})
    figures: dict[str, object] = {}
    well = True
    for name in names:
        victim = bench.folder / f"victim of {name}"
        victim.write_bytes(PRECIOUS)
        victim.chmod(MODE)
        target.stop()
        _plant(target.state / name, victim)
        how = _start(target)
        whole = _whole(victim)
        (target.state / name).unlink(missing_ok=True)
        target.stop()
        target.start()
        target.wait_ready()
        _plant(target.state / name, victim)
        for _ in range(int(NOTICED_SECONDS / 0.5)):
            talk.forget()
            talk.turn()
            _places.until(lambda: False, 0.5)
        well = well and whole and _whole(victim) and "Traceback" not in target.log
        figures[name] = {"at start": how, "untouched": whole, "while running": _whole(victim)}
        target.stop()
        (target.state / name).unlink(missing_ok=True)
        target.start()
        target.wait_ready()
    return Verdict(well and not talk.broken, {**figures, **talk.figures()})


def _plant(path: Path, victim: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(victim)


def _start(target: Target) -> str:
    """Start it: whether it serves, or what it says."""
    logged = len(target.log)
    target.start()
    _places.until(
        lambda: not target.running or _places.page(target, "/livez") == "ok\n", START_SECONDS
    )
    if target.running:
        return _places.page(target, "/readyz").replace("\n", " ")
    return target.log[logged:].strip().rpartition("\n")[2]


def _whole(victim: Path) -> bool:
    info = os.lstat(victim)
    return victim.read_bytes() == PRECIOUS and info.st_mode & 0o777 == MODE and info.st_nlink == 1
