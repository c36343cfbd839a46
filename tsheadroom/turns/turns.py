"""One hook call, bytes to bytes: replay what is decided, ask a worker about what is new.

Knows nothing of HTTP. Whatever goes wrong, the answer forwards what was forwarded before and leaves
the rest as the client sent it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from tsheadroom.aperture import answer
from tsheadroom.aperture.call import Call, CallError, Envelope, Fingerprints, read
from tsheadroom.conversations import Conversations, Request, Status, Told, Turn
from tsheadroom.conversations import forms as decisions
from tsheadroom.conversations.branches import Chains
from tsheadroom.conversations.store.sqlite import StoreError
from tsheadroom.economy.billing import HOLDOUT, TREATED, Billing, Forecast, read_bill
from tsheadroom.economy.windows import Windows
from tsheadroom.providers.prices import price_of
from tsheadroom.settings import Settings
from tsheadroom.telemetry.record import Outcome, Summary
from tsheadroom.turns import rewrites as plan
from tsheadroom.turns import rules as policy
from tsheadroom.turns.gate import Entry, Gate
from tsheadroom.turns.question import Exchange
from tsheadroom.workers import Job, Reply, UnknownBase, WorkerError

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# Bodies from here on are taken apart off the event loop: below, it takes less than 10 ms.
OFF_LOOP_BYTES = 1 << 20
# Requests taken apart in one pass of the event loop, at most some milliseconds each: what is nearly
# answered then never waits behind all that has just come in.
AT_ONCE = 4
# Every provider's tokenizer is another; four bytes a token is the usual estimate. What a form
# saves is counted with a real tokenizer, by the worker.
BYTES_PER_TOKEN = 4


class Workers(Protocol):
    """The part of the pool that is used here."""

    def submit(self, job: Job) -> asyncio.Future[Reply]:
        """Start a job; the future brings a Reply or a WorkerError."""


@dataclass(slots=True)
class Answer:
    """What goes back to Aperture, and the turn that it answers (None when none was recorded)."""

    body: bytes = answer.ALLOW
    turn: Turn | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    call: Call
    prints: Fingerprints


class Delivery:
    """The end of one turn. Unless `arrived()` was said, the originals went out."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations
        self.turn: Turn | None = None
        self._arrived = False

    def arrived(self) -> None:
        """The whole answer was handed to the caller."""
        self._arrived = True

    def __enter__(self) -> Delivery:
        return self

    def __exit__(self, *_: object) -> None:
        if self.turn is not None and self._arrived:
            self._conversations.delivered(self.turn)
        elif self.turn is not None:
            self._conversations.undelivered(self.turn)


class Compression:
    """Answers hook calls. One per daemon; used from its event loop only."""

    def __init__(self, conversations: Conversations, workers: Workers, *, deadline: float) -> None:
        """`deadline`: seconds after which a call is answered with what is known."""
        self._conversations = conversations
        self._workers = workers
        self._deadline = deadline
        self._flights: dict[bytes, asyncio.Task[None]] = {}
        self._gate = Gate(AT_ONCE)
        self.billing = Billing()
        self.windows = Windows()

    def delivery(self) -> Delivery:
        """To be entered around a call, from its answer to the last byte written."""
        return Delivery(self._conversations)

    async def answer(
        self, data: bytes, settings: Settings, summary: Summary, delivery: Delivery
    ) -> Answer:
        """The answer to one decoded request; `summary` is filled in on the way."""
        now = asyncio.get_running_loop().time
        until = now() + self._deadline
        try:
            entry = await self._gate.enter(self._deadline)
        except TimeoutError:
            summary.outcome = Outcome.ERROR
            summary.notes["overloaded"] = 1
            return Answer()
        finally:
            summary.wait_ms = (now() - until + self._deadline) * 1e3
        try:
            return await self._answer(data, settings, summary, until, entry, delivery)
        except CallError as why:
            summary.outcome = Outcome.PASSTHROUGH
            log.warning("request passed through: %s", why)
            return Answer()
        finally:
            entry.leave()

    async def _answer(
        self,
        data: bytes,
        settings: Settings,
        summary: Summary,
        until: float,
        entry: Entry,
        delivery: Delivery,
    ) -> Answer:
        prepared = await _near_or_far(data, _take_apart, data)
        if self._is_event(prepared, summary) or isinstance(prepared, Envelope):
            return Answer()
        call = prepared.call
        _describe(call, summary)
        reason = policy.passed_by(call, settings)
        if reason:
            summary.notes[reason] = 1
            return Answer()
        turn = await self._turn(prepared, settings, summary, until, entry, delivery)
        answered = await _near_or_far(data, _spliced, prepared, turn, settings, summary)
        if not call.metadata.is_turn:
            return answered
        # A conversation that had forms before the holdout began is no control.
        control = HOLDOUT in summary.notes and not turn.forms
        known = _before_newest_answer(call) if control else turn.intact
        self._forecast(call, HOLDOUT if control else TREATED, known, summary)
        self._fits(call, turn, summary)
        return answered

    async def close(self) -> None:
        """Wait for decisions under way."""
        if self._flights:
            await asyncio.wait(set(self._flights.values()))

    def _is_event(self, prepared: _Prepared | Envelope, summary: Summary) -> bool:
        """Count what was billed if this tells of an answered request, whatever else it carries."""
        called = prepared if isinstance(prepared, Envelope) else prepared.call
        metadata, model = called.metadata, called.model
        bill = read_bill(bytes(metadata.estimated_cost))
        has_body = isinstance(prepared, _Prepared)
        if bill is None or (has_body and not self.billing.is_event(metadata.request_id, bill)):
            if not has_body:
                log.warning("request passed through: it holds no conversation that is understood")
            return False
        summary.provider, summary.model = metadata.provider or "", model
        summary.notes["bill"] = 1
        if not self.billing.billed(metadata.request_id or "", summary.provider, model, bill):
            summary.notes["bill_repeated"] = 1
        return True

    def _fits(self, call: Call, turn: Turn, summary: Summary) -> None:
        price = price_of(summary.provider, summary.model)
        came = (call.body[1] - call.body[0]) // BYTES_PER_TOKEN
        shorter = (summary.in_bytes - summary.out_bytes) // BYTES_PER_TOKEN
        self.windows.seen(turn.name, price.window if price else 0, came, came - shorter)

    def _forecast(self, call: Call, arm: str, known: int, summary: Summary) -> None:
        before = call.items[known - 1][1] - call.conversation[0] if known else 0
        cached = before * summary.out_bytes // max(1, summary.in_bytes)
        self.billing.forwarded(
            call.metadata.request_id or "",
            Forecast(
                provider=summary.provider,
                model=summary.model,
                arm=arm,
                cached_tokens=cached // BYTES_PER_TOKEN,
                new_tokens=(summary.out_bytes - cached) // BYTES_PER_TOKEN,
                saved_tokens=summary.tokens_saved,
            ),
        )

    async def _turn(
        self,
        prepared: _Prepared,
        settings: Settings,
        summary: Summary,
        until: float,
        entry: Entry,
        delivery: Delivery,
    ) -> Turn:
        call = prepared.call
        request = policy.request_of(call, prepared.prints, settings)
        while True:
            turn = delivery.turn = await self._begin(request, summary, until, entry)
            flight = self._flights.get(turn.chain)
            if flight is None:
                break
            try:
                # The same request, sent twice: both get the same bytes.
                async with asyncio.timeout_at(until):
                    await asyncio.shield(flight)
            except TimeoutError:
                summary.outcome = Outcome.ERROR
                return turn  # with what was known before, and no decision of its own
        if len(call.data) < OFF_LOOP_BYTES:  # a larger one was checked off the loop
            call.check_text(turn.known, prepared.prints.rewritten)
        if call.metadata.is_turn:
            summary.notes[f"turn_{turn.status}"] = 1
        costly = self._conversations.is_costly
        turn.fresh = [i for i in turn.fresh if not costly(request.digests[i])]
        frozen = policy.frozen(call, request, settings)
        if frozen:
            summary.notes[frozen] = 1
            turn.fresh = []
        if not call.metadata.is_turn:
            return turn
        if frozen == "mode_drain" and turn.status is Status.EDITED:
            turn.drop_forms()  # the provider's prefix is gone anyway
        exchange = Exchange(call, prepared.prints, turn, policy.worker_config(call, settings))
        if settings.rewrite != "never" and not frozen:
            self._rewrite(call, exchange, turn, settings, summary)
        entry.leave()
        if not turn.fresh or not exchange.worth_asking:
            await self._record(turn, {}, summary, until)
            return turn
        await self._fly(turn, exchange, summary, until)
        return turn

    async def _begin(self, request: Request, summary: Summary, until: float, entry: Entry) -> Turn:
        """What is known of a request; what only the disk can tell is waited for, off the loop."""
        chains = Chains(request.scope, request.digests, request.by_model)
        told = Told()
        while True:
            turn = self._conversations.begin(request, chains, told)
            if isinstance(turn, Turn):
                return turn
            entry.leave()  # a slow disk must not keep others out
            try:
                async with asyncio.timeout_at(until):
                    told.take(await asyncio.wrap_future(turn))
            except (StoreError, TimeoutError) as error:
                told.unreadable = True
                summary.notes["history_unreadable"] = 1
                log.error("going on with what memory knows err=%s", str(error) or "deadline")

    def _rewrite(
        self, call: Call, exchange: Exchange, turn: Turn, settings: Settings, summary: Summary
    ) -> None:
        """Replace superseded views of files, where that is allowed and pays."""
        terms = policy.rewrite_terms(call, turn, settings)
        if terms is None:
            return
        thinks_after, recent = turn.request.thinks_after, len(call.items) - settings.protect_recent
        view = exchange.known()
        chosen = plan.choose(
            view, terms, lambda item: item < recent and not call.odd and not thinks_after(item)
        )
        if not chosen or not (forms := exchange.rewritten(chosen, view)):
            return
        self._conversations.rewrite(turn, forms, min(stale.item for stale in chosen))
        summary.notes["rewrites"] = 1
        summary.notes["rewritten_views"] = len(chosen)

    async def _fly(self, turn: Turn, exchange: Exchange, summary: Summary, until: float) -> None:
        """Decide in a task of its own: a caller that hangs up does not undo a decision."""
        chain = turn.chain
        task = asyncio.create_task(self._decide(turn, exchange, summary, until))
        self._flights[chain] = task
        task.add_done_callback(lambda _: self._flights.pop(chain, None))
        await asyncio.shield(task)

    async def _decide(self, turn: Turn, exchange: Exchange, summary: Summary, until: float) -> None:
        try:
            for stop in exchange.stops():
                reply = await self._ask(turn, exchange, stop, summary, until)
                _describe_reply(reply, summary)
                exchange.accept(reply)
        except (WorkerError, TimeoutError) as error:
            # Left alone for good: what goes out now is what the provider will know.
            turn.must_store, turn.held = True, 0
            summary.outcome = Outcome.ERROR
            summary.notes[f"worker_{type(error).__name__}"] = 1
            log.warning("compress failed; new items left alone err=%s", str(error) or "deadline")
        if exchange.refused:
            summary.notes["forms_refused"] = sum(exchange.refused.values())
        await self._record(turn, exchange.taken, summary, until)

    async def _ask(
        self, turn: Turn, exchange: Exchange, stop: int, summary: Summary, until: float
    ) -> Reply:
        delta = exchange.delta(stop)
        if delta is not None:
            try:
                return await self._call(turn, exchange, delta, summary, until)
            except UnknownBase:
                log.debug("worker does not hold the conversation; sending all of it")
        if exchange.context_bytes() < OFF_LOOP_BYTES // 8:  # parsing costs more than splitting
            return await self._call(turn, exchange, exchange.whole(stop), summary, until)
        whole = await asyncio.to_thread(exchange.whole, stop)
        return await self._call(turn, exchange, whole, summary, until)

    async def _call(
        self, turn: Turn, exchange: Exchange, payload: bytes, summary: Summary, until: float
    ) -> Reply:
        costly = [turn.request.digests[index] for index in exchange.candidates]
        job = Job(
            key=turn.name,
            payload=payload,
            context_bytes=exchange.context_bytes(),
            # Also when the caller has long been answered: nobody pays for these items twice.
            on_failure=lambda: self._conversations.avoid(costly),
        )
        started = time.perf_counter()
        future = self._workers.submit(job)
        try:
            async with asyncio.timeout_at(until):
                reply = await future
        finally:
            summary.wait_ms += (time.perf_counter() - started) * 1e3
        summary.wait_ms -= reply.elapsed_ms  # which is work
        return reply

    async def _record(
        self, turn: Turn, forms: dict[int, decisions.Form], summary: Summary, until: float
    ) -> None:
        """Keep the decision; one that is not durable by the deadline is not made."""
        saved = self._conversations.record(turn, forms)
        if saved is None:
            return
        try:
            async with asyncio.timeout_at(until):
                await asyncio.shield(asyncio.wrap_future(saved))
        except (StoreError, TimeoutError) as error:
            self._conversations.take_back(turn)
            summary.outcome = Outcome.ERROR
            summary.notes["decision_not_durable"] = 1
            log.error("new items left alone: not durable err=%s", str(error) or "deadline")


async def _near_or_far(data: bytes, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do work on a body: on the loop, or for a large body off it."""
    if len(data) < OFF_LOOP_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def _take_apart(data: bytes) -> _Prepared | Envelope:
    call = read(data)
    if isinstance(call, Envelope):
        return call
    if len(data) >= OFF_LOOP_BYTES:
        call.check_text(0, ())
    return _Prepared(call, Fingerprints.of(call))


def _describe(call: Call, summary: Summary) -> None:
    summary.outcome = Outcome.NOOP
    summary.in_messages = len(call.items)
    summary.in_bytes = summary.out_bytes = call.conversation[1] - call.conversation[0]
    summary.provider = call.metadata.provider or ""
    summary.model = call.model


def _describe_reply(reply: Reply, summary: Summary) -> None:
    summary.slot = reply.slot
    summary.worker_ms += reply.elapsed_ms
    summary.cold |= reply.cold_first_call
    summary.model_limit = reply.model_limit
    for name, amount in reply.notes.items():
        if isinstance(amount, int):
            summary.notes[name] = summary.notes.get(name, 0) + amount


def _before_newest_answer(call: Call) -> int:
    return max((i for i, made in enumerate(call.by_model) if made), default=0)


def _spliced(prepared: _Prepared, turn: Turn, settings: Settings, summary: Summary) -> Answer:
    """The answer with every form in force whose pointers are proven for this very body."""
    call, prints = prepared.call, prepared.prints
    changes: list[answer.Change] = []
    for index in sorted(turn.forms):
        form = turn.forms[index]
        try:
            if not decisions.stands(form, prints.digests, turn.forms):
                raise decisions.Refused("a pointer's target no longer stands in this body")
            changes += decisions.changes(
                form,
                call.item(index),
                call.items[index][0],
                is_canonical=index not in prints.rewritten,
            )
        except decisions.Refused as why:
            summary.notes["forms_not_spliced"] = summary.notes.get("forms_not_spliced", 0) + 1
            log.warning("form not spliced item=%d reason=%s", index, why)
    if not changes:
        return Answer(turn=turn)
    saved = sum(form.tokens_saved for form in turn.forms.values())
    if settings.mode == "observe":
        summary.notes["observed_tokens_saved"] = saved
        return Answer(turn=turn)
    summary.outcome = Outcome.MODIFY
    summary.out_bytes = summary.in_bytes + answer.grown_by(changes)
    summary.tokens_saved = saved
    return Answer(answer.modify(call, changes), turn)
