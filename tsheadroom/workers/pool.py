"""The pool: which worker gets which call, and who waits for how long."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import Guilt, NoWorker, PoolBusy, PoolClosed, UnknownBase, WorkerFailed
from .forking import ForkOrExecLauncher
from .launch import MEMORY_LIMIT, MODEL_MEMORY, WorkerProgram
from .messages import Reply
from .queues import Affinity, Job, Queues, Waiter
from .slot import RSS_LIMIT, Slot
from .suspects import Suspects

log = logging.getLogger(__name__)

WAITING_PER_SLOT = 256
"""At 5-10 ms a call the last in line waits two seconds: still within a caller's 4 s. Who is refused
has its new items left alone for good, so that waiting is better as long as it may help."""

WAITING_BYTES = 256 * 1024 * 1024
"""Of all waiting payloads: five bodies of the largest size."""

SPILL_BYTES_A_SECOND = 4_000_000
"""What moving a conversation to another slot costs in all: the daemon parses and sends it, another
child indexes it. Slower than either alone, and every other caller pays for the daemon's part."""

SPILL_FLOOR = 0.025
"""Seconds, several usual calls: under load a slot's queue is shorter than it looks."""

STUCK_AFTER = SPILL_FLOOR
"""Seconds. A slot whose call takes longer is not just busy: others take over what waits for it."""

SPILL_AT_ONCE = 8 * 1024
"""Bytes. A conversation this small moves to a free slot as soon as another call waits before it."""

_LOST = "no worker holds the conversation any more"

SAME_FAILURE_SECONDS = 60.0
"""A failure that repeats is told once a minute, however many slots and retries it has."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """The pool's gauges and counters at one moment."""

    slots: int
    warm: int
    busy: int
    waiting: int
    hits: int
    spills: int
    cold_starts: int
    restarts: int


class Pool:
    """N supervised workers; the calls of a conversation go to the one that holds it (affinity).

    `python` is the interpreter of the workers (this one if empty), `max_compress` how many seconds
    a call may take before its worker is killed, `options` the settings that a worker prepares for
    when it starts. `fork`, `command` and `pipelines` are for tests: how workers are started, a
    program in the place of the child, a compression in the place of Headroom.
    All methods belong to the event loop's thread.
    """

    def __init__(
        self,
        *,
        size: int,
        python: str = "",
        max_compress: float = 60.0,
        affinity: bool = True,
        fork: bool = True,
        options: dict[str, Any] | None = None,
        command: Sequence[str] = (),
        pipelines: str = "",
    ) -> None:
        options = options or {}
        # The text model also brings threads, so that such a worker cannot be forked; the fork
        # server finds that out itself.
        more = MODEL_MEMORY if options.get("lossy") else 0
        self._program = WorkerProgram(python, MEMORY_LIMIT + more, options, pipelines, command)
        self._fork = fork
        self._keeps_affinity = affinity
        self._cap = max_compress
        self._rss_limit = RSS_LIMIT + more
        self._size = size
        self._queues = Queues(size)
        self._affinity = Affinity(size)
        self._slots: list[Slot] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._running: set[Waiter] = set()
        self._suspects = Suspects()
        self._launcher: ForkOrExecLauncher | None = None
        self._closed = False
        self._number = 0
        self._hits = self._spills = self._cold_starts = 0
        self._failure = self._lack = ""
        self._failure_told = 0.0

    @property
    def ready(self) -> bool:
        """True if a worker is warm."""
        return any(slot.warm for slot in self._slots)

    @property
    def headroom_version(self) -> str | None:
        """As the workers say; None until one did."""
        return next((s.headroom_version for s in self._slots if s.headroom_version), None)

    @property
    def failure(self) -> str:
        """Why the last worker that did not start did not; empty once one is warm."""
        return self._failure

    @property
    def pids(self) -> list[int]:
        """Of the fork server, if there is one, and of the workers."""
        fork_server = self._launcher.fork_server_pid if self._launcher is not None else 0
        workers = [slot.worker.pid for slot in self._slots if slot.worker is not None]
        return [pid for pid in (fork_server, *workers) if pid]

    @property
    def stats(self) -> PoolStats:
        """Its gauges and counters now."""
        return PoolStats(
            slots=self._size,
            warm=sum(slot.warm for slot in self._slots),
            busy=sum(slot.busy for slot in self._slots),
            waiting=self._queues.count,
            hits=self._hits,
            spills=self._spills,
            cold_starts=self._cold_starts,
            restarts=sum(max(slot.starts - 1, 0) for slot in self._slots),
        )

    async def start(self) -> None:
        """Begin to bring the slots up; returns at once."""
        self._launcher = ForkOrExecLauncher(self._program, fork=self._fork)
        for index in range(self._size):
            slot = Slot(
                index,
                self._launcher,
                cap=self._cap,
                rss_limit=self._rss_limit,
                on_up=self._up,
                on_down=self._down,
            )
            self._slots.append(slot)
            self._keepers.append(asyncio.create_task(slot.keep(), name=f"slot {index}"))

    def submit(self, job: Job) -> asyncio.Future[Reply]:
        """Queue or send a job. Raises NoWorker, PoolBusy, PoolClosed, UnknownBase at once.

        While the workers are starting, the job waits for the first of them.

        The future fails with WorkerFailed, UnknownBase, NoWorker or PoolClosed. Cancelling it
        drops a job that still waits; one that was sent runs on, and nobody hears of it.
        """
        self._admit(job)
        self._number += 1
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        waiter = Waiter(job, future, job.place or self._number, self._slot_of(job.key))
        slot = self._placed(waiter)
        if slot is not None:
            self._send(slot, waiter)
        else:
            future.add_done_callback(lambda _: self._queues.remove(waiter))
        return future

    async def close(self, grace: float = 5.0) -> None:
        """Fail everybody who waits, then end the workers; by force after `grace` seconds."""
        self._closed = True
        for waiter in [*self._queues.take_all(), *self._running]:
            _fail(waiter, PoolClosed("the daemon is shutting down"))
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(slot.stop(grace) for slot in self._slots))
        if self._launcher is not None:
            await self._launcher.close(grace)

    def _admit(self, job: Job) -> None:
        if self._closed:
            raise PoolClosed("the daemon is shutting down")
        if not self._slots or (self._failure and not any(slot.alive for slot in self._slots)):
            raise NoWorker(f"no worker is alive: {self._failure or 'none was started'}")
        if (
            self._queues.count >= WAITING_PER_SLOT * self._size
            or self._queues.bytes + len(job.payload) > WAITING_BYTES
        ):
            raise PoolBusy(f"{self._queues.count} calls wait already")
        if self._is_lost(job):
            raise UnknownBase(_LOST)

    def _is_lost(self, job: Job) -> bool:
        """True if a job builds on what certainly no worker holds."""
        return not job.whole and self._affinity.is_dropped(job.key)

    def _slot_of(self, key: str) -> int:
        """The slot that holds the conversation; the least loaded one for a new conversation."""
        index = self._affinity.get(key)
        if index < 0 or not self._slots[index].alive:
            # Before the first is up, all of them are on their way.
            living = [slot for slot in self._slots if slot.alive] or self._slots
            index = min(living, key=self._load).index
            self._affinity.set(key, index)
        return index

    def _load(self, slot: Slot) -> tuple[bool, int, int]:
        """What new conversations avoid: a busy slot, then a long queue, then many conversations."""
        return (not slot.free, self._queues.length(slot.index), self._affinity.load[slot.index])

    def _placed(self, waiter: Waiter) -> Slot | None:
        """The slot to send a job to now; None when it was made to wait.

        A job waits for the slot that holds its conversation, for as long as sending the
        conversation to another slot would take; then one that has nothing else to do may take it.
        So it pays at worst twice the better choice, and one slow call never holds up others while a
        slot is free. A job that holds all of its conversation goes wherever there is room.
        """
        own = self._slots[waiter.slot]
        if own.free:
            return own
        other = next((slot for slot in self._slots if slot.free), None)
        small = waiter.job.context_bytes <= SPILL_AT_ONCE
        crowded = bool(self._queues.length(own.index)) and small
        movable = waiter.job.whole or not self._keeps_affinity
        if other is not None and (crowded or movable):
            return other
        if not movable:
            self._queues.wait_for_slot(waiter)
            patience = SPILL_FLOOR + waiter.job.context_bytes / SPILL_BYTES_A_SECOND
            loop = asyncio.get_running_loop()
            waiter.timer = loop.call_later(patience, self._release, waiter)
        else:
            self._queues.wait_for_any(waiter)
        return None

    def _release(self, waiter: Waiter) -> None:
        """It has waited for its own slot for long enough."""
        if self._queues.release(waiter):
            self._pump()

    def _pump(self) -> None:
        """Give every free slot the next job that it may take."""
        stuck = [slot.index for slot in self._slots if slot.busy_for > STUCK_AFTER]
        for slot in self._slots:
            while slot.free and (waiter := self._queues.take(slot.index, stuck)) is not None:
                if waiter.future.done():
                    continue
                if self._is_lost(waiter.job):
                    _lose(waiter, UnknownBase(_LOST))
                else:
                    self._send(slot, waiter)

    def _send(self, slot: Slot, waiter: Waiter) -> None:
        if slot.index == waiter.slot:
            self._hits += 1
        else:
            self._spills += not waiter.job.whole
        # Even if it was so before: while the job waited, the slot may have dropped what it held.
        self._affinity.set(waiter.job.key, slot.index)
        self._running.add(waiter)
        within = min(waiter.job.until - asyncio.get_running_loop().time(), self._cap)
        slot.call(waiter.job, within, lambda answer: self._answered(waiter, answer))

    def _answered(self, waiter: Waiter, answer: Reply | Exception) -> None:
        self._running.discard(waiter)
        if isinstance(answer, Exception):
            if isinstance(answer, WorkerFailed):
                self._judge(waiter.job, answer)
            if isinstance(answer, UnknownBase):
                _lose(waiter, answer)
            else:
                _fail(waiter, answer)
        else:
            self._cold_starts += answer.cold_first_call
            for key in answer.dropped:
                self._affinity.drop(key, answer.slot)
            _blame(waiter.job, answer.convicted)
            if not waiter.future.done():
                waiter.future.set_result(answer)
        self._pump()

    def _judge(self, job: Job, failure: WorkerFailed) -> None:
        """Blame the item that a worker was at when it ended, if that is its fault."""
        item = failure.item
        if item is None or not 0 <= item < len(job.digests) or failure.guilt is Guilt.NONE:
            return
        if failure.guilt is Guilt.SUSPECT and not self._suspects.note(job.digests[item]):
            return
        failure.guilt = Guilt.CONVICTED
        _blame(job, [item])

    def _up(self, slot: Slot) -> None:
        self._failure = ""
        if slot.lacks and slot.lacks != self._lack:  # once, not once a worker
            self._lack = slot.lacks
            log.warning("prose stays as it is; workers lack the text model reason=%s", slot.lacks)
        self._pump()

    def _down(self, slot: Slot, reason: str) -> None:
        """A slot has no worker and soon will not have one."""
        self._tell(reason)
        self._queues.release_all(slot.index)
        if any(other.alive for other in self._slots):
            self._pump()
            return
        for waiter in self._queues.take_all():
            _fail(waiter, NoWorker(f"no worker is alive: {reason}"))

    def _tell(self, reason: str) -> None:
        now = time.monotonic()
        if reason != self._failure or now - self._failure_told > SAME_FAILURE_SECONDS:
            log.warning("worker does not start; retrying reason=%s", reason)
            self._failure_told = now
        self._failure = reason


def _fail(waiter: Waiter, error: Exception) -> None:
    if not waiter.future.done():
        waiter.future.set_exception(error)
        # Its caller may have gone without cancelling it: no complaint at the future's end.
        waiter.future.exception()


def _lose(waiter: Waiter, error: UnknownBase) -> None:
    """Its conversation has to be sent as a whole, and then it goes on from where it was in line."""
    error.place = waiter.number
    _fail(waiter, error)


def _blame(job: Job, items: Sequence[int]) -> None:
    digests = [job.digests[item] for item in items if 0 <= item < len(job.digests)]
    if digests and job.blame is not None:
        job.blame(digests)
