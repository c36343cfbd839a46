"""Which conversations only fit their model's window because of their forms.

If their decisions were lost, the client would have to compact them: a number to know before
decisions are thrown away or the daemon is taken out of the way.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CONVERSATIONS = 10_000  # those that overflow; 150 bytes each
FORGET_S = 24 * 3600.0  # a conversation that rests for longer is not counted


class Windows:
    """Conversations whose last turn was over the window as it came and under it as it left."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._clock = clock
        self._last: OrderedDict[str, float] = OrderedDict()

    def seen(self, name: str, window: int, came: int, left: int) -> None:
        """A turn of `came` tokens left with `left`; `window` 0 is not known and not counted."""
        self._last.pop(name, None)
        if window and came > window >= left:
            self._last[name] = self._clock()
            if len(self._last) > MAX_CONVERSATIONS:
                self._last.popitem(last=False)

    def __len__(self) -> int:
        before = self._clock() - FORGET_S
        while self._last and next(iter(self._last.values())) < before:
            self._last.popitem(last=False)
        return len(self._last)
