"""One hook call from bytes to bytes: replay what is decided, ask workers about what is new.

If something goes wrong, what was forwarded before is forwarded again in the same form, and the rest
as the client sent it. `OpenTurn.answer` has the steps of a turn in their order, a line for each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from types import TracebackType
from typing import Self, TypeVar

from tsheadroom.aperture.answer import ALLOW
from tsheadroom.aperture.call import CallError, Digests, Envelope, HookCall, read
from tsheadroom.aperture.metadata import Metadata, find_metadata
from tsheadroom.aperture.post_response import PostResponse, read_event
from tsheadroom.conversations.ledger import Conversations, FromDisk
from tsheadroom.conversations.prefixes import Prefixes, Request
from tsheadroom.conversations.recognise import Status
from tsheadroom.conversations.store import StoreError
from tsheadroom.conversations.turn import Turn
from tsheadroom.economy.account import Account
from tsheadroom.economy.billing import HOLDOUT, TREATED
from tsheadroom.offload import offload
from tsheadroom.settings import Settings
from tsheadroom.telemetry.events import Event
from tsheadroom.telemetry.record import Figures, Outcome
from tsheadroom.turns.answered import Answered, request_name
from tsheadroom.turns.asking import Asked, Workers, ask
from tsheadroom.turns.gate import Entry, Gate
from tsheadroom.turns.items import Items
from tsheadroom.turns.question import Question
from tsheadroom.turns.rewrites import rewrite
from tsheadroom.turns.rules import Rules
from tsheadroom.turns.splice import Spliced, spliced
from tsheadroom.turns.tally import Tally

log = logging.getLogger(__name__)

T = TypeVar("T")

# How many requests are taken apart in one pass of the event loop, at most some milliseconds each.
# So a request that is nearly answered does not wait for all that have just come in.
AT_ONCE = 4
# A request whose conversation goes on from what was forwarded.
_KNOWN = (Status.CONTINUED, Status.REPEATED)


class Turns:
    """Answers hook calls. A daemon has one, and uses it from its event loop only."""

    def __init__(self, conversations: Conversations, workers: Workers, *, deadline: float) -> None:
        """After `deadline` seconds a call is answered with what is known by then."""
        self.conversations = conversations
        self.workers = workers
        self.deadline = deadline
        self.gate = Gate(AT_ONCE)
        self.account = Account()
        self.answered = Answered()
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
        # True if another call with the same request decides, and has not done so by our deadline.
        self._decided_elsewhere = False
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

    def arrived(self) -> None:
        """Note that the caller has taken the whole answer."""
        self._arrived = True

    async def answer(self) -> bytes:
        """Work out the answer to Aperture: `allow`, or `modify` with the forms in force."""
        try:
            entry = await self._enter_gate()
        except TimeoutError:
            self._tally.outcome = Outcome.ERROR
            return self._allow(Event.OVERLOADED)
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
        rules = Rules.of(called, digests, self._settings, known)
        arrived = self._turns.answered.arrived(self._name)
        if arrived is not None:
            return await self._answer_again(called, digests, rules, entry, arrived=arrived)
        if rules.passed_by:
            return self._allow(rules.passed_by)
        turn, digests = await self._begin_by_known_names(called, rules.request, digests, entry)
        if not self._decided_elsewhere:
            await self._decide(Items(called, digests), turn, rules, entry)
        done = self._tally.spliced = await offload(
            len(self._body), spliced, called, digests, turn, observe=rules.observe
        )
        self._account_for(called, turn, rules, done)
        return done.body

    async def _taken_apart(self) -> tuple[HookCall | Envelope | PostResponse, Digests | None]:
        """The call, and the names of its items. Raises CallError, and labels the call even then."""
        try:
            return await offload(len(self._body), _take_apart, self._body)
        except CallError:
            metadata = await offload(len(self._body), find_metadata, self._body) or Metadata()
            self._tally.name(metadata.provider or "", metadata.model or "")
            raise

    async def _enter_gate(self) -> Entry:
        started = self._loop.time()
        try:
            return await self._turns.gate.enter(self._turns.deadline)
        finally:
            self._tally.gate_ms = (self._loop.time() - started) * 1e3

    def _allow_event(self, event: PostResponse) -> bytes:
        self.is_event = True
        self._turns.take_misdirected(event)
        return ALLOW

    async def _answer_again(
        self, call: HookCall, digests: Digests, rules: Rules, entry: Entry, *, arrived: bool
    ) -> bytes:
        """Answer what repeats an answered request, its id included, without any effect.

        It is an event about that request. If it were the same call after all, the answer is still
        one that agrees with what is known: the same forms if they arrived, else the originals.
        """
        allowed = self._allow_event(PostResponse.of(call.metadata))
        if rules.passed_by or not arrived:
            return allowed
        turn = await self._recognise(rules.request, Prefixes(rules.request), entry)
        if digests.renamed and turn.status not in _KNOWN:
            request, digests = await self._names_in_use(turn, call, digests, entry)
            turn = await self._recognise(request, Prefixes(request), entry)
        size, observe = len(self._body), rules.observe
        return (await offload(size, spliced, call, digests, turn, observe=observe)).body

    async def _begin_by_known_names(
        self, called: HookCall, request: Request, digests: Digests, entry: Entry
    ) -> tuple[Turn, Digests]:
        """Return the turn, and the names by which its conversation is known.

        Up to version 0.1 more was a part of the names. A conversation that began under such a
        daemon goes on under its old names, or its forms would be lost.
        """
        turn = await self._begin(request, entry)
        if not digests.renamed or turn.status in _KNOWN:
            return turn, digests
        request, digests = await self._names_in_use(turn, called, digests, entry)
        return await self._begin(request, entry), digests

    async def _names_in_use(
        self, turn: Turn, called: HookCall, digests: Digests, entry: Entry
    ) -> tuple[Request, Digests]:
        """The request under the names of version 0.1, if it is known by these, else as it is.

        `turn` is what is known of it by the names of today. Items that have the same name in both
        say nothing about which names are in use.
        """
        names = await offload(len(self._body), Digests.of, called, as_of_0_1=True)
        older = replace(turn.request, digests=names.names)
        found = await self._recognise(older, Prefixes(older), entry)
        pairs = enumerate(zip(names.names, digests.names, strict=True))
        renamed = next((index for index, (old, new) in pairs if old != new), len(names.names))
        edited = found.status is Status.EDITED and found.shared > max(renamed, turn.shared)
        if edited or found.status in _KNOWN:
            return older, names
        return turn.request, digests

    async def _begin(self, request: Request, entry: Entry) -> Turn:
        """Return the turn, once no other call is deciding about the same request.

        Both calls then get the same bytes. If the other one has not decided by the deadline, this
        turn replays what was known before and decides nothing.
        """
        prefixes = Prefixes(request)
        while True:
            turn = self._turn = await self._recognise(request, prefixes, entry)
            other = self._turns.decision_under_way(turn.prefix)
            if other is None:
                return turn
            entry.leave()
            try:
                async with asyncio.timeout_at(self._until):
                    await asyncio.shield(other)
            except TimeoutError:
                self._decided_elsewhere, self._tally.outcome = True, Outcome.ERROR
                return turn

    async def _recognise(self, request: Request, prefixes: Prefixes, entry: Entry) -> Turn:
        """Find what is known of a request. If only the disk can tell, wait for it, off the loop."""
        disk = FromDisk()
        while True:
            turn = self._turns.conversations.begin(request, prefixes, disk)
            if isinstance(turn, Turn):
                return turn
            entry.leave()  # a slow disk must not keep others out
            try:
                disk.take(await self._from_disk(turn))
            except (StoreError, TimeoutError) as error:
                disk.unreadable = True
                self._tally.note(Event.HISTORY_UNREADABLE)
                log.error("going on with what memory knows err=%s", str(error) or "deadline")

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
        quarantined = self._turns.conversations.is_quarantined
        turn.undecided = [i for i in turn.undecided if not quarantined(turn.request.digests[i])]
        if rules.drain and turn.status is Status.EDITED:
            turn.give_up_forms()  # the provider's prefix is gone anyway
        if rules.rewrite and (views := rewrite(turn, items, rules.rewrite)):
            self._tally.note(Event.REWRITES)
            self._tally.note(Event.REWRITTEN_VIEWS, views)
        entry.leave()
        question = Question(items, turn, rules.for_workers)
        if not question.candidates:
            await self._keep(turn, self._tally.asked)
            return
        # A task of its own: a caller that hangs up does not undo a decision.
        self._deciding = asyncio.create_task(self._ask_and_keep(turn, question))
        self._turns.share(turn.prefix, self._deciding)
        self._tally.asked = await asyncio.shield(self._deciding)

    async def _ask_and_keep(self, turn: Turn, question: Question) -> Asked:
        turns = self._turns
        blame = turns.conversations.quarantine
        asked = await ask(turns.workers, turn, question, self._until, blame)
        await self._keep(turn, asked)
        return asked

    async def _keep(self, turn: Turn, asked: Asked) -> None:
        """Keep the decision. If it is not on disk by the deadline, it is not made."""
        saved = turn.decide(asked.forms)
        if saved is None:
            return
        try:
            await self._from_disk(saved)
        except (StoreError, TimeoutError) as error:
            turn.take_back()
            asked.failed = True
            asked.events[Event.DECISION_NOT_DURABLE] = 1
            log.error("new items left alone: not durable err=%s", str(error) or "deadline")

    async def _from_disk(self, future: Future[T]) -> T:
        """Wait for the store, until the deadline at most. It goes on with its work in any case."""
        waiting = asyncio.wrap_future(future)
        # If it fails later than anybody waits for it, the store's own log line is enough.
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
        async with asyncio.timeout_at(self._until):
            return await asyncio.shield(waiting)

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


def _take_apart(body: bytes) -> tuple[HookCall | Envelope | PostResponse, Digests | None]:
    called = read(body)
    if not isinstance(called, HookCall):
        return called, None
    return called, Digests.of(called)


def _before_newest_answer(call: HookCall) -> int:
    return max((i for i, made in enumerate(call.by_model) if made), default=0)
