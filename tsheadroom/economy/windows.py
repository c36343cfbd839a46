"""Which conversations fit into their model's window only because of their forms.

If their decisions were lost, their clients would have to compact them. So an operator should know
how many there are, before decisions are thrown away or the hook is switched off.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CONVERSATIONS = 10_000  # that are remembered; each takes 150 bytes
FORGET_S = 24 * 3600.0  # a conversation that has rested for longer is not counted


class Windows:
    """Conversations whose last turn was too long for the window as it came, but not as it left."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._clock = clock
        self._last: OrderedDict[str, float] = OrderedDict()

    def seen(self, name: str, window: int, came: int, left: int) -> None:
        """Note a turn that came with `came` tokens and left with `left`. `window` 0: not known."""
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
