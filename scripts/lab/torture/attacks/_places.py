"""What attacks on files, processes and the tailnet share: a conversation, faults, questions."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from scripts.lab.torture.attacks import _common
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict
from scripts.lab.torture.wire import Connect, Line

PAGE = 4096  # bytes of a page of SQLite's
DEADLINE = 2.0  # seconds
SPARE = 0.5  # on top: a busy machine
AGAIN_SECONDS = 30.0
_EVERY = 0.1  # seconds between two looks
_WITH = ("", "-wal", "-shm")  # what SQLite appends to the names of its files


class Talk:
    """A conversation that grows by one tool output a turn, on a connection of its own."""

    def __init__(self, bench: Bench, connect: Connect) -> None:
        self._talk = _common.Talk(bench)
        self._line = Line(connect)
        self.turns = 0
        self.formed = 0  # new outputs that went out in a form
        self.slowest = 0.0  # seconds

    @property
    def broken(self) -> int:
        """How many turns changed what the provider had."""
        return self._talk.broken

    def turn(self) -> bool:
        """Send the next turn. True if its new output went out in a form.

        Raises OSError where there is no answer, and RuntimeError where it is none of the hook's.
        """
        self._talk.rows()
        formed = self._talk.turn(self._line)
        self.turns += 1
        self.formed += formed
        self.slowest = max(self.slowest, self._talk.seconds)
        return formed

    def forget(self) -> None:
        """The daemon may have lost what it knew: once it may go back to the originals."""
        self._talk.forget()

    def figures(self) -> dict[str, Any]:
        """For a report."""
        return {
            "turns": self.turns,
            "new outputs in a form": self.formed,
            "prefixes broken": self.broken,
            "slowest turn, s": round(self.slowest, 2),
        }


def workers_held_up(
    bench: Bench, hold: Callable[[Target], AbstractContextManager[None]], seconds: float
) -> Verdict:
    """Hold up the workers while conversations go on, for so long.

    Each turn is answered within the deadline, with what is known, and afterwards new outputs get a
    form again.
    """
    target = bench.daemon("--deadline", f"{DEADLINE}s")
    talk = Talk(bench, target.connect)
    known = talk.turn()
    with bench.honest(target, 6, pause=0.1) as honest:
        with hold(target), target.watched() as watch:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                talk.turn()
        again = until(talk.turn, AGAIN_SECONDS)
    slowest = max(talk.slowest, honest.slowest)
    well = known and again is not None and not talk.broken and not honest.breaks
    figures = {"forms again after, s": again, "slowest, s": round(slowest, 2)}
    report = {"formed": talk.formed, "turns": talk.turns, **watch.figures(), **honest.figures()}
    return Verdict(well and slowest < DEADLINE + SPARE, {**figures, **report})


def until(true: Callable[[], bool], seconds: float) -> float | None:
    """Wait for something that happens by itself. Seconds that it took; None if it did not."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > seconds:
            return None
        time.sleep(_EVERY)
    return round(time.monotonic() - started, 1)


def page(target: Target, path: str) -> str:
    """One of the daemon's pages over its port; empty if it does not answer."""
    line = target.line()
    try:
        return line.ask(path=path, method="GET").body.decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        line.close()


def metric(target: Target, name: str) -> float:
    """A series without labels; -1 if it is not there."""
    found = (line.split(" ") for line in page(target, "/metrics").splitlines())
    return next((float(words[1]) for words in found if words[0] == name), -1.0)


def says_lost(target: Target, times: int = 1) -> bool:
    """True if health and metrics say that the decisions on disk were begun anew so often."""
    degraded = "degraded: the decisions on disk were begun anew" in page(target, "/readyz")
    return degraded and metric(target, "tsheadroom_store_replaced_total") == times


def restart(target: Target, number: int = signal.SIGKILL) -> None:
    """End it, start it again with the state that it has, and wait until it is ready."""
    target.stop(number)
    target.start()
    target.wait_ready()


def durable(bench: Bench, target: Target) -> bool:
    """True if a new decision survives a kill of the daemon."""
    talk = Talk(bench, target.connect)
    formed = talk.turn()
    restart(target)
    talk.turn()
    return formed and not talk.broken


def spoil(bench: Bench, path: Path, keep: Sequence[int] = ()) -> int:
    """Overwrite all pages of a file but those to `keep`, from 1. Returns how many it has."""
    if not path.exists():
        return 0
    pages = path.stat().st_size // PAGE
    with path.open("r+b") as file:
        for number in range(1, pages + 1):
            if number not in keep:
                file.seek((number - 1) * PAGE)
                file.write(bench.random.randbytes(PAGE))
    return pages


def with_log(path: Path) -> list[Path]:
    """A file of SQLite's, its log and its index."""
    return [Path(f"{path}{suffix}") for suffix in _WITH]


@contextlib.contextmanager
def mounted(where: Path, *words: str) -> Iterator[bool]:
    """Mount something there meanwhile, if this process may. True if it could."""
    done = subprocess.run(["mount", *words, str(where)], check=False, capture_output=True)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(where)], check=False, capture_output=True)


@contextlib.contextmanager
def meanwhile(step: Callable[[], object]) -> Iterator[None]:
    """Do something again and again meanwhile, in a thread."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.is_set():
            step()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def status_of(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
