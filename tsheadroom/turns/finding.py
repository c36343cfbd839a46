"""Finds the turn of a call: what is known of its conversation, in memory or on disk.

Only reading is done here, by the call's deadline. What cannot be read by then passes for unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeVar

from tsheadroom.aperture.call import HookCall
from tsheadroom.aperture.names import Digests
from tsheadroom.conversations.ledger import Conversations, FromDisk
from tsheadroom.conversations.prefixes import Prefixes, Request
from tsheadroom.conversations.recognise import Status
from tsheadroom.conversations.store import StoreError
from tsheadroom.conversations.turn import Turn
from tsheadroom.offload import is_large, offload
from tsheadroom.seldom import Seldom
from tsheadroom.telemetry.events import Event
from tsheadroom.turns import costs
from tsheadroom.turns.asking import Asked
from tsheadroom.turns.gate import Entry
from tsheadroom.turns.tally import Tally

log = logging.getLogger(__name__)

T = TypeVar("T")

# A request whose conversation goes on from what was forwarded.
_KNOWN = (Status.CONTINUED, Status.REPEATED)


class Finding:
    """Finds one call's turn.

    `until` is the deadline by the event loop's clock, and `size` what one pass over the call costs,
    in bytes. `under_way` gives the decision about exactly this request that is being made for
    another call, if any. `unreadable` says when a log line is due about a disk that is out.
    """

    def __init__(
        self,
        conversations: Conversations,
        under_way: Callable[[bytes], asyncio.Task[Asked] | None],
        unreadable: Seldom,
        tally: Tally,
        entry: Entry,
        until: float,
        size: int,
    ) -> None:
        self._conversations = conversations
        self._under_way = under_way
        self._unreadable = unreadable
        self._tally = tally
        self._entry = entry
        self._until = until
        self._size = size
        # True if another call with the same request decides, and has not done so by our deadline.
        self.decided_elsewhere = False

    async def begin(
        self, call: HookCall, request: Request, digests: Digests
    ) -> tuple[Turn, Digests]:
        """Return the turn, and the names by which its conversation is known.

        Up to version 0.1 more was a part of the names. A conversation that began under such a
        daemon goes on under its old names, or its forms would be lost.
        """
        return await self._by_known_names(call, request, digests, self._begin)

    async def look(
        self, call: HookCall, request: Request, digests: Digests
    ) -> tuple[Turn, Digests]:
        """The same, but the turn decides nothing, so it waits for no other call."""
        return await self._by_known_names(call, request, digests, self._recognise)

    async def _by_known_names(
        self,
        call: HookCall,
        request: Request,
        digests: Digests,
        find: Callable[[Request], Awaitable[Turn]],
    ) -> tuple[Turn, Digests]:
        turn = await find(request)
        if not digests.renamed or turn.status in _KNOWN:
            return turn, digests
        request, digests = await self._names_in_use(turn, call, request, digests)
        return await find(request), digests

    async def _names_in_use(
        self, turn: Turn, call: HookCall, request: Request, digests: Digests
    ) -> tuple[Request, Digests]:
        """The request under the names of version 0.1, if it is known by these, else as it is.

        `turn` is what is known of it by the names of today. Items that have the same name in both
        say nothing about which names are in use.
        """
        cost = max(self._size, costs.of_all(call.data))  # what is known is named anew, too
        names = await offload(cost, Digests.of, call, as_of_0_1=True)
        older = replace(request, digests=names.names)
        found = await self._recognise(older)
        pairs = enumerate(zip(names.names, digests.names, strict=True))
        renamed = next((index for index, (old, new) in pairs if old != new), len(names.names))
        edited = found.status is Status.EDITED and found.shared > max(renamed, turn.shared)
        if edited or found.status in _KNOWN:
            return older, names
        return request, digests

    async def _begin(self, request: Request) -> Turn:
        """Return the turn, once no other call is deciding about the same request.

        Both calls then get the same bytes. If the other one has not decided by the deadline, this
        turn replays what was known before and decides nothing.
        """
        prefixes = await self._named(request)
        while True:
            turn = await self._recognise(request, prefixes)
            other = self._under_way(turn.prefix)
            if other is None:
                return turn
            self._entry.leave()
            try:
                async with asyncio.timeout_at(self._until):
                    await asyncio.shield(other)
            except TimeoutError:
                self.decided_elsewhere = True
                return turn

    async def _recognise(self, request: Request, prefixes: Prefixes | None = None) -> Turn:
        """Find what is known of a request. If only the disk can tell, wait for it, off the loop."""
        if prefixes is None:
            prefixes = await self._named(request)
        disk = FromDisk()
        while True:
            turn = self._conversations.begin(request, prefixes, disk)
            if isinstance(turn, Turn):
                return turn
            self._entry.leave()  # a slow disk must not keep others out
            try:
                disk.take(await from_disk(turn, self._until))
            except (StoreError, TimeoutError) as error:
                disk.unreadable = True
                self._tally.note(Event.HISTORY_UNREADABLE)
                why = str(error) or "deadline"
                if turns := self._unreadable.count(why):
                    log.error("going on with what memory knows turns=%d err=%s", turns, why)

    async def _named(self, request: Request) -> Prefixes:
        return await offload(self._size, Prefixes, request, all_now=is_large(self._size))


async def from_disk(future: Future[T], until: float) -> T:
    """Wait for the store, until the deadline at most. It goes on with its work in any case."""
    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    def wake_loop(_: Future[T]) -> None:  # called in the store's thread
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(wake)

    # asyncio.wrap_future() with a shield and a timeout takes twice as many passes of the loop.
    future.add_done_callback(wake_loop)
    timer = loop.call_at(until, wake)
    try:
        await woken
    finally:
        timer.cancel()
    if not future.done():
        raise TimeoutError
    return future.result()
