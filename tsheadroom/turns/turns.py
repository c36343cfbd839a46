"""One hook call from bytes to bytes: replay what is decided, ask workers about what is new.

If something goes wrong, what was forwarded before is forwarded again in the same form, and the rest
as the client sent it. `OpenTurn.answer` has the steps of a turn in their order, a line for each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tsheadroom.aperture.answer import ALLOW
from tsheadroom.aperture.call import CallError, Envelope, HookCall, read, read_rest
from tsheadroom.aperture.metadata import Metadata, find_metadata
from tsheadroom.aperture.names import Digests, outline_of
from tsheadroom.aperture.outline import Found, Outline, Outlines
from tsheadroom.aperture.post_response import PostResponse, read_event
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.conversations.recognise import Status
from tsheadroom.conversations.store import StoreError
from tsheadroom.conversations.turn import Turn
from tsheadroom.economy.account import Account
from tsheadroom.economy.billing import HOLDOUT, TREATED
from tsheadroom.errors import place_of
from tsheadroom.offload import is_huge, is_large, offload
from tsheadroom.seldom import Seldom
from tsheadroom.settings import Settings
from tsheadroom.telemetry.events import Event
from tsheadroom.telemetry.record import Figures, Outcome
from tsheadroom.turns import costs
from tsheadroom.turns.answered import Answered, request_name
from tsheadroom.turns.asking import Asked, Workers, ask
from tsheadroom.turns.finding import Finding, from_disk
from tsheadroom.turns.gate import Entry, Gate
from tsheadroom.turns.items import Items
from tsheadroom.turns.preparing import Prepared, cost_of, prepare
from tsheadroom.turns.rules import Rules
from tsheadroom.turns.splice import Spliced, spliced
from tsheadroom.turns.tally import Tally

log = logging.getLogger(__name__)

# How many requests are taken apart in one pass of the event loop, at most some milliseconds each.
# So a request that is nearly answered does not wait for all that have just come in.
AT_ONCE = 4
# Which part of the deadline a call waits at most to be let in: enough is left to replay forms.
GATE_SHARE = 0.75
# Up to which part of it workers are asked. What is decided then has to reach the disk, even if that
# is only that they were late: else a daemon that is killed now does not know this turn afterwards.
ASK_SHARE = 0.9


class Turns:
    """Answers hook calls. A daemon has one, and uses it from its event loop only."""

    def __init__(self, conversations: Conversations, workers: Workers, *, deadline: float) -> None:
        """After `deadline` seconds a call is answered with what is known by then."""
        self.conversations = conversations
        self.workers = workers
        self.deadline = deadline
        self.gate = Gate(AT_ONCE)
        self.outlines = Outlines()
        self.account = Account()
        self.answered = Answered()
        self.not_durable = Seldom()  # while a disk is out, that is every turn
        self.unreadable = Seldom()
        self._events_came_here = False
        self._deciding: dict[bytes, asyncio.Task[Asked]] = {}

    def open(self, body: bytes, settings: Settings) -> OpenTurn:
        """Begin a call with this decoded body. Use it with `with`: leaving that ends the turn."""
        return OpenTurn(self, body, settings)

    async def take_event(self, body: bytes) -> None:
        """Count a post-response event of this decoded body. It is no turn. Raises nothing."""
        event = await offload(len(body), read_event, body)
        if event is None:
            log.debug("a post-response event could not be read size=%d", len(body))
        self.account.take(event)

    def take_misdirected(self, event: PostResponse) -> None:
        """Count a post-response event that came to the hook's own path."""
        if not self._events_came_here:
            self._events_came_here = True
            log.warning(
                "post-response events come to the hook's own URL; give them a hook key of their own"
                " whose URL has the path /bills, as README.md shows"
            )
        self.account.take(event)

    def decision_under_way(self, prefix: bytes) -> asyncio.Task[Asked] | None:
        """The decision about exactly this request that is being made for another call, if any."""
        return self._deciding.get(prefix)

    def share(self, prefix: bytes, deciding: asyncio.Task[Asked]) -> None:
        """Let calls with the same request wait for this decision."""
        self._deciding[prefix] = deciding
        deciding.add_done_callback(lambda _: self._deciding.pop(prefix, None))

    async def close(self) -> None:
        """Wait for the decisions under way. Each ends by its deadline."""
        if self._deciding:
            await asyncio.wait(set(self._deciding.values()))


@dataclass(frozen=True, slots=True)
class Receipt:
    """That an answer arrived, as far as the system says. It outlives the turn and its body."""

    _answered: Answered
    _name: bytes
    _turn: Turn | None

    def withdraw(self) -> None:
        """Note that the answer was not read after all. Call it after the turn was left."""
        if self._turn is not None:
            self._turn.not_taken()
            self._answered.note(self._name, arrived=False)


class OpenTurn:
    """One call on its way. If `arrived()` is not called before it is left, its turn is lost.

    `is_event` is True if it turned out to be no call, but an event about one that was answered.
    """

    def __init__(self, turns: Turns, body: bytes, settings: Settings) -> None:
        self._turns = turns
        self._body = body
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + turns.deadline
        self._turn: Turn | None = None
        self._arrived = False
        self._name = b""
        self.is_event = False
        self._overloaded = False  # True if it was not let in, so that nothing new is decided
        self._size = len(body)  # what one pass over the call costs, in bytes
        self._tally = Tally()
        self._deciding: asyncio.Task[Asked] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._turn is not None and self._arrived:
            self._turn.arrived()
        elif self._turn is not None:
            self._turn.lost()
        if not self.is_event:
            self._turns.answered.note(self._name, arrived=self._arrived)

    def arrived(self) -> Receipt:
        """Note that the caller has taken the whole answer. Returns what can take that back."""
        self._arrived = True
        return Receipt(self._turns.answered, self._name, self._turn)

    async def answer(self) -> bytes:
        """Work out the answer to Aperture: `allow`, or `modify` with the forms in force."""
        entry = await self._enter_gate()
        try:
            return await self._answer(entry)
        except CallError as why:
            self._tally.outcome = Outcome.PASSTHROUGH
            log.warning("request passed through: %s", why)
            return ALLOW
        finally:
            entry.leave()

    async def _answer(self, entry: Entry) -> bytes:
        called, digests = await self._taken_apart()
        if isinstance(called, PostResponse):
            return self._allow_event(called)
        self._tally.name(called.metadata.provider or "", called.model)
        if isinstance(called, Envelope) or digests is None:
            log.warning("request passed through: it holds no conversation that is understood")
            return ALLOW
        self._tally.describe(called)
        self._name = request_name(called, digests)
        known = self._turns.account.model_of(called)
        rules = await offload(self._size, Rules.of, called, digests, self._settings, known)
        finding = self._finding(entry)
        arrived = self._turns.answered.arrived(self._name)
        if arrived is not None:
            return await self._answer_again(called, digests, rules, finding, arrived=arrived)
        if rules.passed_by:
            return self._allow(rules.passed_by)
        self._turn, digests = turn, digests = await finding.begin(called, rules.request, digests)
        if finding.decided_elsewhere:
            self._tally.outcome = Outcome.ERROR
        else:
            await self._decide(Items(called, digests), turn, rules, entry)
        done = self._tally.spliced = await self._spliced(called, digests, turn, rules)
        self._account_for(called, turn, rules, done)
        return done.body

    async def _taken_apart(self) -> tuple[HookCall | Envelope | PostResponse, Digests | None]:
        """The call, and the names of its items. Raises CallError, and labels the call even then.

        What an earlier call began with is recognised, and only what follows it is taken apart.
        """
        body, outlines = self._body, self._turns.outlines
        found = await offload(len(body) // costs.KNOWN_SHARE, outlines.find, body)
        taken: _Apart | Envelope | PostResponse | None = None
        if found is not None:
            size = costs.of_rest(body, found)
            taken = await offload(size, _take_rest_apart, body, found)
        if taken is None:
            size = costs.of_all(body)
            try:
                taken = await offload(size, _take_apart, body)
            except CallError:
                metadata = await offload(size, find_metadata, body) or Metadata()
                self._tally.name(metadata.provider or "", metadata.model or "")
                raise
        self._size = size
        if not isinstance(taken, _Apart):
            return taken, None
        call = taken.call
        outlines.keep(taken.outline, call.known)
        # Known items are not read again, but their names, forms and spans are gone through.
        self._size = max(size, costs.ITEM_COST * len(call.items))
        return call, taken.digests

    async def _enter_gate(self) -> Entry:
        """Wait to be let in. Who is not in time replays what is known, and decides nothing."""
        started = self._loop.time()
        entry = await self._turns.gate.enter(GATE_SHARE * self._turns.deadline)
        self._tally.gate_ms = (self._loop.time() - started) * 1e3
        if not entry.inside:
            self._overloaded = True
            self._tally.note(Event.OVERLOADED)
        if is_huge(len(self._body)):
            entry.leave()  # a few that wait for their thread would keep all others out
        return entry

    def _allow_event(self, event: PostResponse) -> bytes:
        self.is_event = True
        self._turns.take_misdirected(event)
        return ALLOW

    def _finding(self, entry: Entry) -> Finding:
        turns = self._turns
        return Finding(
            turns.conversations,
            turns.decision_under_way,
            turns.unreadable,
            self._tally,
            entry,
            self._until,
            self._size,
        )

    async def _answer_again(
        self, call: HookCall, digests: Digests, rules: Rules, finding: Finding, *, arrived: bool
    ) -> bytes:
        """Answer what repeats an answered request, its id included, without any effect.

        It is an event about that request. If it were the same call after all, the answer is still
        one that agrees with what is known: the same forms if they arrived, else the originals.
        """
        allowed = self._allow_event(PostResponse.of(call.metadata))
        if rules.passed_by or not arrived:
            return allowed
        turn, digests = await finding.look(call, rules.request, digests)
        return (await self._spliced(call, digests, turn, rules)).body

    async def _spliced(self, call: HookCall, digests: Digests, turn: Turn, rules: Rules) -> Spliced:
        cost = self._size + costs.of_forms(call, digests, turn.forms)
        return await offload(cost, spliced, call, digests, turn, observe=rules.observe)

    async def _decide(self, items: Items, turn: Turn, rules: Rules, entry: Entry) -> None:
        """Decide the forms of the undecided items, and keep the decision."""
        if rules.left_alone:
            self._tally.note(rules.left_alone)
            turn.undecided = []
        if not rules.is_turn:
            return  # it looks at what is known, and nothing of it is kept
        self._tally.note(Event(f"turn_{turn.status}"))
        if rules.provider_may_delete:
            self._tally.note(Event.PROVIDER_MAY_DELETE)
        if rules.drain and turn.status is Status.EDITED:
            turn.give_up_forms()  # the provider's prefix is gone anyway
        if self._overloaded:
            self._tally.outcome = Outcome.ERROR
            turn.undecided, turn.must_store = [], True
        cost = cost_of(items, turn, rules)
        prepared = None if is_large(cost) else self._prepared(items, turn, rules)
        entry.leave()
        if prepared and not prepared.question:
            self._tally.asked = Asked(failed=prepared.failed, events=prepared.events)
            await self._keep(turn, self._tally.asked)
            return
        # A task of its own: a caller that hangs up does not undo a decision.
        work = self._ask_and_keep(items, turn, rules, prepared, cost)
        self._deciding = asyncio.create_task(work)
        self._turns.share(turn.prefix, self._deciding)
        self._tally.asked = await asyncio.shield(self._deciding)

    def _prepared(self, items: Items, turn: Turn, rules: Rules) -> Prepared:
        return prepare(items, turn, rules, self._turns.conversations.is_quarantined)

    async def _ask_and_keep(
        self, items: Items, turn: Turn, rules: Rules, prepared: Prepared | None, cost: int
    ) -> Asked:
        """Without `prepared`, that is so much work (`cost`) that it is done in a thread."""
        turns = self._turns
        if prepared is None:
            prepared = await offload(cost, self._prepared, items, turn, rules)
        asked = Asked(failed=prepared.failed)
        if prepared.question:
            blame = turns.conversations.quarantine
            until = self._until - (1 - ASK_SHARE) * turns.deadline
            asked = await ask(turns.workers, turn, prepared.question, until, blame)
        asked.events += prepared.events
        await self._keep(turn, asked)
        return asked

    async def _keep(self, turn: Turn, asked: Asked) -> None:
        """Keep the decision. If it is not on disk by the deadline, it is not made."""
        try:
            saved = turn.decide(asked.forms)
            if saved is not None:
                await from_disk(saved, self._until)
        except (StoreError, TimeoutError) as error:
            turn.take_back()
            asked.failed = True
            asked.events[Event.DECISION_NOT_DURABLE] = 1
            why = str(error) or "deadline"
            if turns := self._turns.not_durable.count(why):
                log.error("new items left alone: not durable turns=%d err=%s", turns, why)
        except Exception as error:  # a defect of ours: it must not cost the forms that are known
            turn.fall_back()
            asked.failed = True
            asked.events[Event.DECISION_FAILED] += 1
            log.error("new items left alone: a defect err=%s", place_of(error))

    def _account_for(self, call: HookCall, turn: Turn, rules: Rules, done: Spliced) -> None:
        if not rules.is_turn:
            return
        # A conversation that had forms before the holdout began is not in the control group.
        control = rules.left_alone is Event.HOLDOUT and not turn.forms
        self._turns.account.forwarded(
            call,
            turn.name,
            HOLDOUT if control else TREATED,
            _before_newest_answer(call) if control else turn.intact,
            done.grown_by,
            done.tokens_saved if done.modified else 0,
        )

    def _allow(self, why: Event) -> bytes:
        self._tally.note(why)
        return ALLOW

    def when_ended(self, tell: Callable[[Figures], None]) -> None:
        """Call `tell` with the figures when all of the turn has ended.

        That is at once, unless the caller hung up and the decision is still being made.
        """
        deciding = self._deciding
        if deciding is None:
            tell(self.figures())
        elif deciding.done():
            self._take(deciding)
            tell(self.figures())
        else:
            deciding.add_done_callback(self._take)
            deciding.add_done_callback(lambda _: tell(self.figures()))

    def _take(self, deciding: asyncio.Task[Asked]) -> None:
        if not deciding.cancelled() and deciding.exception() is None:
            self._tally.asked = deciding.result()

    def figures(self) -> Figures:
        """The numbers of the call so far, as a value that does not change later."""
        return self._tally.figures()


@dataclass(frozen=True, slots=True)
class _Apart:
    """A call with the names of its items, and the outline by which the next one is recognised."""

    call: HookCall
    digests: Digests
    outline: Outline | None

    @classmethod
    def of(cls, call: HookCall) -> _Apart:
        digests = Digests.of(call)
        return cls(call, digests, outline_of(call, digests))


def _take_apart(body: bytes) -> _Apart | Envelope | PostResponse:
    called = read(body)
    return _Apart.of(called) if isinstance(called, HookCall) else called


def _take_rest_apart(body: bytes, found: Found) -> _Apart | None:
    call = read_rest(body, found)
    return _Apart.of(call) if call else None


def _before_newest_answer(call: HookCall) -> int:
    return max(0, call.by_model.rfind(1))
