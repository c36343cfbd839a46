"""Links that somebody has planted in the state directory are never followed.

Each name that the daemon uses there leads to another file, while it runs and at start: that file
stays as it is, and the daemon answers. Only a linked lock keeps it from starting, with a sentence.
"""

from __future__ import annotations

import time
from pathlib import Path

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

PRECIOUS = b"precious\n"
MODE = 0o644
LOCK = "tsheadroom.lock"
START_SECONDS = 20.0
PLANTED_SECONDS = 2.5  # it looks after its files every second or two


def attack(bench: Bench) -> Verdict:
    """Plant one after the other while it runs, then all before a start, and the lock's."""
    target = bench.daemon(pool=1)
    talk = _places.Talk(bench, target.connect)
    talk.turn()
    names = {path.name for path in target.state.iterdir()}
    names |= {path.name for path in _places.with_log(target.store)}
    touched = [name for name in sorted(names) if not _running(bench, target, talk, name)]
    figures = {"names": sorted(names), "touched while running": touched}
    at_start, said = _at_start(bench, target, names - {LOCK})
    lock, refused = _at_start(bench, target, {LOCK})
    figures |= {"touched at start": at_start + lock}
    clear = f"{LOCK} is a symbolic link" in refused and not target.running
    well = not touched + at_start + lock and clear and said == "ok"
    figures |= {"with all but the lock's": [said], "with the lock's": [refused]}
    right = not talk.broken and "Traceback" not in target.log
    return Verdict(well and right, {**figures, **talk.figures()})


def _running(bench: Bench, target: Target, talk: _places.Talk, name: str) -> bool:
    victim = _planted(bench, target, name)
    talk.turn()
    time.sleep(PLANTED_SECONDS)
    talk.turn()
    (target.state / name).unlink(missing_ok=True)
    return _whole(victim)


def _at_start(bench: Bench, target: Target, names: set[str]) -> tuple[list[str], str]:
    """Which files were touched, and what came of the start: "ok", or what was said."""
    target.stop()
    victims = {name: _planted(bench, target, name) for name in sorted(names)}
    target.start()
    served = _places.until(
        lambda: not target.running or _places.page(target, "/livez") == "ok\n", START_SECONDS
    )
    if target.running and served is not None:
        _places.Talk(bench, target.connect).turn()
    touched = [name for name, victim in victims.items() if not _whole(victim)]
    said = "ok" if target.running else target.log.strip().rpartition("\n")[2]
    for name in names:
        (target.state / name).unlink(missing_ok=True)
    return touched, said


def _planted(bench: Bench, target: Target, name: str) -> Path:
    """The file to which that name leads from now on."""
    victim = bench.folder / f"victim of {name}"
    victim.write_bytes(PRECIOUS)
    victim.chmod(MODE)
    (target.state / name).unlink(missing_ok=True)
    (target.state / name).symlink_to(victim)
    return victim


def _whole(victim: Path) -> bool:
    return victim.read_bytes() == PRECIOUS and victim.stat().st_mode & 0o777 == MODE
