"""The calls that wait for a worker: in their own slot's queue first, then in the common one."""

from __future__ import annotations

import asyncio
import math
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from .messages import Reply

REMEMBERED = 20_000
"""Conversations whose slot is remembered: ten times the open ones of a large team, 3 MB."""


LIGHT_BYTES = 64 * 1024
"""Payloads of usual turns are smaller, and take a worker some milliseconds. They go first, so that
a few callers with outputs of the largest size cannot keep all others waiting."""


@dataclass(frozen=True, slots=True)
class Job:
    """One request for a worker.

    `key` names the conversation, so that its calls go to the worker that holds it. `payload` is the
    JSON object of the request, without a newline. `context_bytes` is what another worker would have
    to be sent first. `whole` says that nothing has to be, so that any worker is as good as another.
    The caller waits until `until`, by the event loop's clock. `place` is that of a job which this
    one repeats (UnknownBase has it): who waited once does not wait behind all others again.
    `first` numbers the first item that is to be worked on, `digests` are those of the
    conversation's items by number, and `blame` is called with the digests of items that are not to
    be given to a worker again, even when the caller has long gone.
    """

    key: str
    payload: bytes
    context_bytes: int = 0
    whole: bool = False
    place: int = 0
    until: float = math.inf
    first: int = 0
    digests: Sequence[bytes] = ()
    blame: Callable[[Sequence[bytes]], None] | None = None


@dataclass(slots=True, eq=False)
class Waiter:
    """A job and the caller's future, numbered in order of arrival.

    `slot` is the one that holds its conversation. `timer` ends its waiting for that one alone;
    after that it is `released`.
    """

    job: Job
    future: asyncio.Future[Reply]
    number: int
    slot: int
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    waits: bool = False
    released: bool = False

    @property
    def rank(self) -> tuple[bool, int]:
        """By which the next one is chosen: light ones first, then in order of arrival."""
        return len(self.job.payload) > LIGHT_BYTES, self.number

    def stop_timer(self) -> None:
        """Cancel the timer, if one runs."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Queues:
    """One queue a slot, and a common one for what any free slot may take, each in order of rank.

    `count` and `bytes` are of all that wait: jobs, and their payloads.
    """

    def __init__(self, slots: int) -> None:
        self._own: list[list[Waiter]] = [[] for _ in range(slots)]
        self._common: list[Waiter] = []
        self.count = 0
        self.bytes = 0

    def length(self, slot: int) -> int:
        """How many jobs wait for this very slot."""
        return len(self._own[slot])

    def wait_for_slot(self, waiter: Waiter) -> None:
        """Queue a job for the slot that holds its conversation."""
        self._insert(self._own[waiter.slot], waiter)

    def wait_for_any(self, waiter: Waiter) -> None:
        """Queue a job for whichever slot is free first."""
        self._insert(self._common, waiter)

    def release(self, waiter: Waiter) -> bool:
        """Let other slots help with a job that waited for its own; False if it waits no more."""
        waiter.released = waiter.waits
        return waiter.waits

    def release_all(self, slot: int) -> None:
        """The slot is down: let any slot take the jobs that waited for it."""
        moved, self._own[slot] = self._own[slot], []
        for waiter in moved:
            waiter.stop_timer()
            insort(self._common, waiter, key=_rank)

    def remove(self, waiter: Waiter) -> bool:
        """Take a job out, wherever it waits; False when it does not wait any more."""
        waiter.stop_timer()
        if not waiter.waits:
            return False
        waiter.waits = False
        own = self._own[waiter.slot]
        (own if waiter in own else self._common).remove(waiter)
        self._count(waiter, -1)
        return True

    def take(self, slot: int, stuck: Collection[int] = ()) -> Waiter | None:
        """The next job for a free slot, or None: of its own and the common ones.

        One that waits for another slot, and was released, is taken only if there are none, or if
        that slot is `stuck`. To move it costs more than to let it wait while its slot goes on: if
        all slots are busy and each takes the others' jobs, they have twice the work.
        """
        found = [*self._own[slot][:1], *self._common[:1]]
        idle = not found
        for index, waiters in enumerate(self._own):
            if index != slot and (idle or index in stuck):
                found += next(([one] for one in waiters if one.released), [])
        waiter = min(found, key=_rank, default=None)
        if waiter is not None:
            self.remove(waiter)
        return waiter

    def take_all(self) -> list[Waiter]:
        """Empty all queues: for the pool to tell these callers that nobody will serve them."""
        waiters = [*self._common]
        for queue in self._own:
            waiters += queue
            queue.clear()
        self._common.clear()
        self.count = self.bytes = 0
        for waiter in waiters:
            waiter.stop_timer()
            waiter.waits = False
        return waiters

    def _insert(self, queue: list[Waiter], waiter: Waiter) -> None:
        insort(queue, waiter, key=_rank)
        waiter.waits = True
        self._count(waiter, 1)

    def _count(self, waiter: Waiter, sign: int) -> None:
        self.count += sign
        self.bytes += sign * len(waiter.job.payload)


_NONE = -1


class Affinity:
    """Which slot holds which conversation, the latest REMEMBERED of them.

    `load` counts the conversations of each slot.
    """

    def __init__(self, slots: int) -> None:
        self._slots: OrderedDict[str, int] = OrderedDict()
        self.load = [0] * slots

    def get(self, key: str) -> int:
        """The slot of a conversation; -1 if it has none."""
        slot = self._slots.get(key, _NONE)
        if slot >= 0:
            self._slots.move_to_end(key)
        return slot

    def set(self, key: str, slot: int) -> None:
        """From now on this slot holds the conversation."""
        before = self._slots.pop(key, _NONE)
        if before >= 0:
            self.load[before] -= 1
        self._slots[key] = slot
        self.load[slot] += 1
        if len(self._slots) > REMEMBERED:
            _, oldest = self._slots.popitem(last=False)
            if oldest >= 0:
                self.load[oldest] -= 1

    def drop(self, key: str, slot: int) -> None:
        """This slot holds the conversation no more."""
        if self._slots.get(key) == slot:
            self._slots[key] = _NONE
            self.load[slot] -= 1

    def is_dropped(self, key: str) -> bool:
        """True if certainly no slot holds the conversation."""
        return self._slots.get(key) == _NONE


def _rank(waiter: Waiter) -> tuple[bool, int]:
    return waiter.rank
