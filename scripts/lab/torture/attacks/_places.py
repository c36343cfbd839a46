"""What attacks on files, processes and the tailnet share: a conversation, faults, questions."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts.lab import traffic
from scripts.lab.torture.bench import Bench, Block
from scripts.lab.torture.target import Target
from scripts.lab.torture.wire import Connect, Line

PAGE = 4096  # bytes of a page of SQLite's
ROWS = 40
_EVERY = 0.1  # seconds between two looks
_WITH = ("", "-wal", "-shm")  # what SQLite appends to the names of its files


class Talk:
    """A conversation that grows by one tool output a turn, and what its provider has of it."""

    def __init__(self, bench: Bench, connect: Connect) -> None:
        self._bench = bench
        self._line = Line(connect)
        self._messages: list[Block] = [{"role": "user", "content": f"go {bench.salt()}"}]
        self._had: list[bytes] = []
        self._forgotten = False
        self.turns = 0
        self.formed = 0  # new outputs that went out in a form
        self.broken = 0  # turns that changed what the provider had
        self.slowest = 0.0  # seconds

    def turn(self) -> bool:
        """Send the next turn. True if its new output went out in a form.

        Raises OSError where there is no answer, and RuntimeError where it is none of the hook's.
        """
        call = f"t{self.turns}"
        use = {"type": "tool_use", "id": call, "name": "api", "input": {"q": self._bench.salt()}}
        result = {"type": "tool_result", "tool_use_id": call, "content": self._bench.rows(ROWS)}
        self._messages.append({"role": "assistant", "content": [use]})
        self._messages.append({"role": "user", "content": [result]})
        reply = self._line.ask(self._bench.messages(self._messages))
        if reply.status != 200:
            raise RuntimeError(f"the hook answered {reply.status}")
        self.turns += 1
        self.slowest = max(self.slowest, reply.seconds)
        return self._look(json.loads(reply.body))

    def _look(self, answer: dict[str, Any]) -> bool:
        originals = [traffic.dumps(message) for message in self._messages]
        now = originals
        if answer["action"] == "modify":
            now = [traffic.dumps(message) for message in answer["request_body"]["messages"]]
        known = len(self._had)
        gap = self._forgotten and now[:known] == originals[:known]
        self.broken += now[:known] != self._had and not gap
        self._had, self._forgotten = now, False
        formed = now[-1] != originals[-1]
        self.formed += formed
        return formed

    def forget(self) -> None:
        """The daemon may have lost what it knew: once it may go back to the originals."""
        self._forgotten = True

    def figures(self) -> dict[str, Any]:
        """For a report."""
        return {
            "turns": self.turns,
            "new outputs in a form": self.formed,
            "prefixes broken": self.broken,
            "slowest turn, s": round(self.slowest, 2),
        }


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
def limited(pid: int, which: int, limit: int) -> Iterator[None]:
    """Give a process a smaller limit meanwhile."""
    usual = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (limit, usual[1]))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, which, usual)


@contextlib.contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes meanwhile."""
    for pid in pids:
        send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            send(pid, signal.SIGCONT)


def send(pid: int | None, number: int) -> None:
    """Send a signal to a process, if it is still there."""
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


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


def fork_server(target: Target) -> int | None:
    """The process that makes the workers, as the log says: those have its command line, too."""
    found = re.findall(r'msg="fork server ready" pid=(\d+)', target.log)
    return int(found[-1]) if found else None


def status_of(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
