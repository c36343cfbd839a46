"""Asks workers about a turn's undecided items, within the call's deadline."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tsheadroom.conversations.forms import Form
from tsheadroom.conversations.turn import Turn
from tsheadroom.errors import place_of
from tsheadroom.offload import offload
from tsheadroom.telemetry.events import Event
from tsheadroom.turns.question import Question
from tsheadroom.workers import (
    Guilt,
    Job,
    NoWorker,
    PoolBusy,
    PoolClosed,
    Reply,
    UnknownBase,
    WorkerError,
    WorkerFailed,
)

log = logging.getLogger(__name__)

# What leaves items alone that another time might have forms: that has to be remembered.
_LEFT_ALONE = frozenset(
    (
        Event.ITEM_OVER_BUDGET,
        Event.ITEM_OUT_OF_MEMORY,
        Event.ITEM_KILLED_WORKER,
        Event.ITEM_FAILED,
        Event.ITEM_WITHOUT_TIME,
    )
)
# How often what is left is asked again when a worker died over an item of a turn.
_AGAIN = 2
# To parse items and encode them for a worker takes eight times as long as to split their bytes.
PARSE_COST = 8

_FAILURES: dict[type[BaseException], Event] = {
    NoWorker: Event.WORKER_MISSING,
    PoolBusy: Event.WORKER_BUSY,
    PoolClosed: Event.WORKER_CLOSED,
    UnknownBase: Event.WORKER_LOST_ITS_BASE,
    WorkerFailed: Event.WORKER_FAILED,
    TimeoutError: Event.WORKER_LATE,
}


class Workers(Protocol):
    """The part of the pool that is used here."""

    def submit(self, job: Job) -> asyncio.Future[Reply]:
        """Start a job. The future's result is a Reply; it may fail with a WorkerError."""


@dataclass(slots=True)
class Asked:
    """What the workers answered. Times are milliseconds; `slot` is -1 if no worker answered."""

    forms: dict[int, Form] = field(default_factory=dict)
    failed: bool = False
    wait_ms: float = 0.0
    worker_ms: float = 0.0
    slot: int = -1
    cold: bool = False
    model_limit: int = 0
    events: Counter[Event] = field(default_factory=Counter)

    def add(self, reply: Reply) -> None:
        """Add the figures of one reply."""
        self.slot = reply.slot
        self.worker_ms += reply.elapsed_ms
        self.wait_ms -= reply.elapsed_ms  # that part of the wait was work
        self.cold |= reply.cold_first_call
        self.model_limit = reply.model_limit
        for name, amount in reply.notes.items():
            event = Event.named(name)
            if event is not None and isinstance(amount, int):
                self.events[event] += amount


async def ask(
    workers: Workers,
    turn: Turn,
    question: Question,
    until: float,
    blame: Callable[[Sequence[bytes]], None],
) -> Asked:
    """Ask workers for forms, and take those that may be forwarded.

    `until` is the deadline by the event loop's clock. Items without a reply by then are left alone
    for good, because what goes out now is what the provider will know. If items take a worker too
    much, `blame` is called with their digests, even if the caller was answered long before.
    """
    asked = Asked(forms=question.taken)
    again = _AGAIN
    try:
        for stop in question.stops():
            cost = PARSE_COST * question.new_bytes(stop)
            while True:
                try:
                    reply = await _reply(workers, turn, question, stop, until, blame, asked)
                    break
                except WorkerFailed as failure:
                    if not failure.killed or not again:
                        raise
                    again -= 1
                    _go_on_without(failure, turn, question, asked)
            asked.add(reply)
            await offload(cost, question.accept, reply)
    except (WorkerError, TimeoutError) as error:
        asked.failed = True
        asked.events[_FAILURES.get(type(error), Event.WORKER_FAILED)] += 1
        log.warning("compress failed; new items left alone err=%s", str(error) or "deadline")
    except Exception as error:  # a defect of ours: it must not cost the forms that are known
        asked.failed = True
        asked.events[Event.DECISION_FAILED] += 1
        log.error("new items left alone: a defect err=%s", place_of(error))
    if asked.failed:
        turn.must_store, turn.held, turn.held_prefix = True, 0, b""
    if not _LEFT_ALONE.isdisjoint(asked.events):
        turn.must_store = True
    if question.refused:
        asked.events[Event.FORMS_REFUSED] = question.refused
    return asked


def _go_on_without(failure: WorkerFailed, turn: Turn, question: Question, asked: Asked) -> None:
    """Prepare to ask another worker, which holds nothing, and not about what the last died of."""
    turn.held, turn.held_prefix = 0, b""
    asked.events[Event.WORKER_DIED] += 1
    if failure.item is not None and failure.guilt is Guilt.CONVICTED:
        question.leave_alone(failure.item)
        asked.events[Event.ITEM_KILLED_WORKER] += 1
    log.warning("asking again about the other items err=%s", failure)


async def _reply(
    workers: Workers,
    turn: Turn,
    question: Question,
    stop: int,
    until: float,
    blame: Callable[[Sequence[bytes]], None],
    asked: Asked,
) -> Reply:
    """A worker's reply about the items up to `stop`.

    A worker that holds the conversation is sent only what is new, any other all of it.
    """

    async def send(payload: bytes, *, whole: bool = False, place: int = 0) -> Reply:
        job = Job(
            key=turn.name,
            payload=payload,
            context_bytes=question.context_bytes(),
            whole=whole,
            place=place,
            until=until,
            first=question.first,
            digests=turn.request.digests,
            blame=blame,
        )
        now = asyncio.get_running_loop().time
        started = now()
        try:
            async with asyncio.timeout_at(until):
                return await workers.submit(job)
        finally:
            asked.wait_ms += (now() - started) * 1e3

    cost = PARSE_COST * question.new_bytes(stop)
    delta = await offload(cost, question.delta, stop)
    place = 0
    if delta is not None:
        try:
            return await send(delta)
        except UnknownBase as lost:
            place = lost.place
            log.debug("worker does not hold the conversation; sending all of it")
    cost += PARSE_COST * question.context_bytes()
    return await send(await offload(cost, question.whole, stop), whole=True, place=place)
