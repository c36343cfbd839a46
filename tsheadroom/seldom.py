"""Says how often something happens without a log line each time."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY_S = 10.0
_CAUSES = 16  # that are told apart; more are as good as one


class Seldom:
    """Counts what happens by its cause. Each cause is worth a line at once, then every 10 s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._clock = clock
        self._told: dict[str, float] = {}  # when
        self._since: dict[str, int] = {}  # how often it happened since, this time included

    def count(self, cause: str) -> int:
        """Count it. Returns how often it happened since the last line; 0 if none is due yet."""
        if cause not in self._told and len(self._told) >= _CAUSES:
            self._told.clear()
            self._since.clear()
        now = self._clock()
        self._since[cause] = self._since.get(cause, 0) + 1
        if now - self._told.get(cause, now - EVERY_S) < EVERY_S:
            return 0
        self._told[cause] = now
        return self._since.pop(cause)
