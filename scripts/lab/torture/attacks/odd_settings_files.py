"""A settings file that is none (a FIFO, a device, a directory, a huge one) hinders nothing.

At start a line says what it is and the defaults are in force, or the daemon ends; at SIGHUP the
settings are kept. The hook answers, and SIGTERM ends the daemon.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

HUGE = 1 << 40  # bytes; all of it a hole
SAID_SECONDS = 10.0
START_SECONDS = 20.0
MORE_MIB = 64
SETTING, VALUE = "fold_min_lines", 7  # another one than the default


def _huge(path: Path) -> None:
    path.touch()
    os.truncate(path, HUGE)


KINDS: dict[str, Callable[[Path], None]] = {
    "a FIFO": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a terminal": lambda path: path.symlink_to("/dev/tty"),
    "a directory": Path.mkdir,
    "a huge file": _huge,
}


def attack(bench: Bench) -> Verdict:
    """Put each in the place of the file, at start and while it runs."""
    target = bench.daemon(pool=1)
    figures = {kind: _odd(bench, target, make) for kind, make in KINDS.items()}
    well = all(all(one.values()) for one in figures.values())
    return Verdict(well and "Traceback" not in target.log, figures)


def _odd(bench: Bench, target: Target, make: Callable[[Path], None]) -> dict[str, Any]:
    target.settings_file.write_text(json.dumps({SETTING: VALUE}))
    target.signal(signal.SIGHUP)
    taken = _places.until(lambda: _is_set(target), SAID_SECONDS)
    before, logged = target.footprint(), len(target.log)
    target.settings_file.unlink()
    make(target.settings_file)
    target.signal(signal.SIGHUP)
    said = _says(target, logged, "keeping the settings")
    talk = _places.Talk(bench, target.connect)
    seen = {"taken": taken is not None, "said at SIGHUP": said, "answers": talk.turn()}
    seen["kept"] = _is_set(target)
    seen["memory"] = target.footprint().rss - before.rss < MORE_MIB
    seen["ends"] = target.stop() == 0
    logged = len(target.log)
    seen["clear at start"] = _starts(bench, target, logged)
    _remove(target.settings_file)
    if not target.running:
        target.start()
    target.wait_ready()
    return seen


def _starts(bench: Bench, target: Target, logged: int) -> bool:
    """Start it: it says what is wrong, and serves with the defaults or ends."""
    target.start()
    _places.until(
        lambda: not target.running or "ready" in _places.page(target, "/readyz"), START_SECONDS
    )
    if target.running:
        said = _says(target, logged, "using the defaults")
        return said and _places.Talk(bench, target.connect).turn()
    return f"{target.settings_file}' is a directory" in target.log[logged:]


def _is_set(target: Target) -> bool:
    return bool(json.loads(_places.page(target, "/config"))[SETTING] == VALUE)


def _says(target: Target, logged: int, words: str) -> bool:
    return _places.until(lambda: words in target.log[logged:], SAID_SECONDS) is not None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
