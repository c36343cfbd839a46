"""The calls that wait for a worker: at their home slot first, then wherever one is free."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .messages import Reply

HOMES = 20_000
"""Conversations whose slot is remembered: ten times the open ones of a large team, 3 MB."""


@dataclass(frozen=True, slots=True)
class Job:
    """One request for a worker.

    `payload` is the JSON object of the request, without a newline. `context_bytes` is what
    another child than the one that holds the conversation would have to be sent first.
    `on_failure` is called when the child broke over this job, even when the caller has long gone.
    """

    key: str
    payload: bytes
    context_bytes: int = 0
    on_failure: Callable[[], None] | None = None


@dataclass(slots=True, eq=False)
class Waiter:
    """A job and the caller's future, numbered in order of arrival."""

    job: Job
    future: asyncio.Future[Reply]
    number: int
    home: int = -1
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Queues:
    """One queue a slot, and a common one for what any free slot may take."""

    def __init__(self, slots: int) -> None:
        self._at_home: list[deque[Waiter]] = [deque() for _ in range(slots)]
        self._common: deque[Waiter] = deque()
        self.count = 0
        self.bytes = 0

    def length(self, slot: int) -> int:
        return len(self._at_home[slot])

    def wait_at_home(self, waiter: Waiter) -> None:
        self._at_home[waiter.home].append(waiter)
        self._count(waiter, 1)

    def wait_anywhere(self, waiter: Waiter) -> None:
        self._common.append(waiter)
        self._count(waiter, 1)

    def release(self, waiter: Waiter) -> bool:
        """Let any slot take a job that waited at home; whether it still did."""
        if not self.remove(waiter):
            return False
        self.wait_anywhere(waiter)
        return True

    def release_all(self, slot: int) -> None:
        """The slot is down: whoever waited there is at home nowhere."""
        while self._at_home[slot]:
            waiter = self._at_home[slot].popleft()
            waiter.stop_timer()
            self._common.append(waiter)

    def remove(self, waiter: Waiter) -> bool:
        """Take a job out, wherever it waits; False when it does not wait any more."""
        waiter.stop_timer()
        for queue in (self._at_home[waiter.home], self._common):
            if waiter in queue:
                queue.remove(waiter)
                self._count(waiter, -1)
                return True
        return False

    def take(self, slot: int) -> Waiter | None:
        """The next job for a free slot: whichever came first of its own and the common ones."""
        own = self._at_home[slot]
        if own and (not self._common or own[0].number < self._common[0].number):
            waiter = own.popleft()
        elif self._common:
            waiter = self._common.popleft()
        else:
            return None
        waiter.stop_timer()
        self._count(waiter, -1)
        return waiter

    def take_all(self) -> list[Waiter]:
        """Everybody, for the pool to tell them that nobody comes."""
        waiters = [*self._common]
        for queue in self._at_home:
            waiters += queue
            queue.clear()
        self._common.clear()
        self.count = self.bytes = 0
        for waiter in waiters:
            waiter.stop_timer()
        return waiters

    def _count(self, waiter: Waiter, sign: int) -> None:
        self.count += sign
        self.bytes += sign * len(waiter.job.payload)


class Homes:
    """Which slot holds which conversation, as far as the pool remembers."""

    def __init__(self, slots: int) -> None:
        self._slots: OrderedDict[str, int] = OrderedDict()
        self.load = [0] * slots

    def get(self, key: str) -> int:
        """The slot of a conversation; -1 for one that has none."""
        slot = self._slots.get(key, -1)
        if slot >= 0:
            self._slots.move_to_end(key)
        return slot

    def set(self, key: str, slot: int) -> None:
        before = self._slots.pop(key, -1)
        if before >= 0:
            self.load[before] -= 1
        self._slots[key] = slot
        self.load[slot] += 1
        if len(self._slots) > HOMES:
            _, oldest = self._slots.popitem(last=False)
            self.load[oldest] -= 1
