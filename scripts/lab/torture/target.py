"""The daemon under attack: what it is made of, and what it takes of memory, files and time."""

from __future__ import annotations

import contextlib
import http
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.lab.daemon import PATIENCE, Daemon, tree
from scripts.lab.torture.wire import Line

_EVERY = 0.01  # seconds between two looks
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process has: MiB of resident memory, open descriptors, threads."""

    rss: float = 0.0
    descriptors: int = 0
    threads: int = 0


@dataclass(slots=True)
class Watch:
    """What was seen while something went on.

    `stalled_ms` is the longest that the daemon did not answer /livez: for so long it did nothing
    for anybody. `rss` is the most, in MiB.
    """

    stalled_ms: float = 0.0
    rss: float = 0.0
    descriptors: int = 0

    def figures(self) -> dict[str, Any]:
        """The same for a report."""
        return {
            "longest stall, ms": round(self.stalled_ms),
            "most memory, MiB": round(self.rss),
            "most descriptors": self.descriptors,
        }


class Target(Daemon):
    """A daemon whose parts can be attacked one by one."""

    def line(self) -> Line:
        """A new connection to it, not yet open."""
        return Line(self.connect)

    @property
    def store(self) -> Path:
        """The file with its decisions."""
        return self.state / "conversations.sqlite3"

    def children(self) -> list[int]:
        """Its processes: the fork server first, if there is one, then the workers."""
        return sorted(pid for pid in tree(self.pid) if pid != self.pid)

    def fork_server(self) -> int | None:
        """The process that makes the workers, as the log says: those have its command line, too."""
        found = re.findall(r'msg="fork server ready" pid=(\d+)', self.log)
        return int(found[-1]) if found else None

    def workers(self) -> list[int]:
        """The workers."""
        first = self.fork_server()
        return [pid for pid in self.children() if pid != first]

    def wait_for(self, page: str, patience: float = PATIENCE) -> None:
        """Wait until one of its pages answers 200, for so many seconds at most."""
        line, end = self.line(), time.monotonic() + patience
        while self.running and time.monotonic() < end:
            with contextlib.suppress(OSError):
                if line.ask(path=page, method="GET").status == http.HTTPStatus.OK:
                    break
            time.sleep(_EVERY)
        line.close()

    def footprint(self) -> Footprint:
        """What it has now, its workers not counted."""
        return footprint(self.pid)

    @contextlib.contextmanager
    def watched(self) -> Iterator[Watch]:
        """Watch it meanwhile. The result is complete when the block has ended."""
        watch, ended = Watch(), threading.Event()
        thread = threading.Thread(target=self._watch, args=(watch, ended), daemon=True)
        thread.start()
        try:
            yield watch
        finally:
            ended.set()
            thread.join()

    def _watch(self, watch: Watch, ended: threading.Event) -> None:
        line = self.line()
        while not ended.wait(_EVERY):
            started = time.perf_counter()
            try:
                line.ask(path="/livez", method="GET")
            except OSError:
                continue
            finally:
                took = (time.perf_counter() - started) * 1e3
                watch.stalled_ms = max(watch.stalled_ms, took)
                now = self.footprint()
                watch.rss = max(watch.rss, now.rss)
                watch.descriptors = max(watch.descriptors, now.descriptors)
        line.close()


def footprint(pid: int) -> Footprint:
    """What a process has now; zeros for one that has ended."""
    try:
        process = Path(f"/proc/{pid}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return Footprint(
            rss=int(status.get("VmRSS", "0").split()[0]) / 1024,
            descriptors=len(os.listdir(process / "fd")),  # noqa: PTH208, its length is all
            threads=int(status["Threads"]),
        )
    except OSError:
        return Footprint()
