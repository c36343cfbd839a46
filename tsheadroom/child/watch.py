"""How long a child works on one item and on one call.

An item has its budget in CPU time of this process, so that a stopped, swapped or loaded machine
says nothing against it. Python code, regular expressions included, is interrupted when the budget
is used up; native code cannot be, so the kernel ends the process that stays in it for too long.
Between two items, and between two steps of one, a child also looks at what is left of its call.
Standard library only.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TypeVar

ITEM_SECONDS = 1.0
"""CPU time for one item: a thousand usual ones."""

CALL_SECONDS = 2.0
"""CPU time for the new items of one call: eight times what the daemon sends at once, as measured.
What is left of them is left alone, so that other callers' items get their turn."""

NATIVE_SECONDS = 3.0
"""CPU time for one item after which the kernel ends the process."""

SPARED = 0.25
"""Of the time that a caller still waits: for the item at hand, and for the daemon's own work."""

_AGAIN_SECONDS = 0.1  # an interruption that a library has caught comes again

T = TypeVar("T")


class OverBudgetError(BaseException):
    """An item has used up its CPU time. No Exception, because Headroom catches these, and goes on.

    Raised anywhere in what `Stopwatch.item` runs, but for what stands in a `with watch.whole`.
    """


class Stopwatch:
    """Watches the time of one process. Without `start` nothing is limited: for tests and tools."""

    def __init__(self) -> None:
        self.whole = _Whole(self)
        self.spent = False  # the item at hand has used up its budget
        self.more = 0.0  # seconds beside the limits, for a step that has a limit of its own
        self._open = False  # an interruption may come now
        self._limited = False
        self._until = math.inf
        self._cpu = 0.0  # of the process when the call began
        self._first = True  # of the call's items, none was begun yet
        self._tell: Callable[[int, float], None] = lambda number, cpu: None

    def start(self, tell: Callable[[int, float], None]) -> None:
        """Limit items and calls from now on; to be called in the main thread.

        `tell` is called before each item but a call's first, which the daemon knows, with its
        number and the process's CPU time in seconds.
        """
        self._limited = True
        self._tell = tell
        signal.signal(signal.SIGPROF, self._interrupt)
        signal.signal(signal.SIGVTALRM, signal.SIG_DFL)  # ends the process, whatever it is at

    def begin_call(self, within: float) -> None:
        """A call begins; its caller waits for so many seconds."""
        if self._limited:
            self._until = time.monotonic() + within * (1 - SPARED)
            self._cpu = time.process_time()
            self._first = True

    @property
    def late(self) -> bool:
        """True if the caller will hardly wait for more."""
        return time.monotonic() >= self._until

    @property
    def over(self) -> bool:
        """True if nothing new should be begun in this call."""
        return self.late or (
            self._limited and time.process_time() - self._cpu >= CALL_SECONDS + self.more
        )

    def item(self, number: int, work: Callable[[], T]) -> T:
        """Do the work for an item of this number. Raises OverBudgetError."""
        if not self._limited:
            return work()
        if not self._first:  # most calls have one item, and a line costs the daemon 0.1 ms
            self._tell(number, time.process_time())
        self._first = False
        try:
            try:
                self.spent, self._open = False, True
                signal.setitimer(signal.ITIMER_PROF, ITEM_SECONDS + self.more, _AGAIN_SECONDS)
                signal.setitimer(signal.ITIMER_VIRTUAL, NATIVE_SECONDS + self.more)
                return work()
            finally:
                self._open = False
        finally:
            # An interruption may have kept the line above from being reached; the next is far off.
            self._open = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.spent = True
        self.check()

    def check(self) -> None:
        """Raise OverBudgetError if the item at hand has used up its budget."""
        if self.spent and self._open and not self.whole.depth:
            raise OverBudgetError


class _Whole:
    """What stands in a `with` of it is done as a whole: an interruption waits for its end."""

    def __init__(self, watch: Stopwatch) -> None:
        self.depth = 0
        self._watch = watch

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.depth -= 1
        if error is None:
            self._watch.check()
