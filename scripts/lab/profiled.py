"""Runs the daemon with a sampler: `python -m scripts.lab.profiled FILE serve ...`.

Every millisecond a timer interrupts the main thread, where the event loop is, and the stack there
is counted. SIGUSR1 starts that, SIGUSR2 ends it and writes FILE. An event loop that waits is not
counted. A timer on CPU time would not work: the kernel checks it only at clock ticks, and a turn is
over before the next one.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from tsheadroom.cli.main import main

INTERVAL = 0.001  # seconds
DEPTH = 60
IDLE = "EpollSelector.select"


class Sampler:
    """Counts how often each stack of the main thread was found."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stacks: Counter[tuple[str, ...]] = Counter()

    def install(self) -> None:
        """Take over the three signals."""
        signal.signal(signal.SIGALRM, self._sample)
        signal.signal(signal.SIGUSR1, self._start)
        signal.signal(signal.SIGUSR2, self._write)

    def _start(self, number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, INTERVAL, INTERVAL)

    def _sample(self, number: int, frame: FrameType | None) -> None:
        if frame is None or frame.f_code.co_qualname == IDLE:
            return
        stack: list[str] = []
        while frame is not None and len(stack) < DEPTH:
            code = frame.f_code
            stack.append(f"{code.co_filename}:{code.co_qualname}")
            frame = frame.f_back
        self._stacks[tuple(reversed(stack))] += 1

    def _write(self, number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        rows = [[list(stack), count] for stack, count in self._stacks.items()]
        fresh = self._path.with_suffix(".tmp")
        fresh.write_text(json.dumps(rows))
        fresh.replace(self._path)


if __name__ == "__main__":
    Sampler(Path(sys.argv[1])).install()
    sys.argv[1:2] = []
    main()
