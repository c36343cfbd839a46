"""Bounds the memory that all bodies in flight take together.

All calls come from one peer, Aperture's node, so nothing here counts by peer. What tells an attack
from a caller is its pace: a body that stands still makes way for one that waits.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from itertools import count
from operator import attrgetter
from types import TracebackType
from typing import Self

from tsheadroom.errors import TsheadroomError
from tsheadroom.web.pace import Pace

MAX_BODY = 50 << 20  # bytes; Aperture itself sends and takes back no more than this

# What a byte of a decoded body may take until its answer is written: the byte, the copies by which
# it is taken apart, the answer, and the answer compressed.
COST = 4

# A body that takes no more than this (4 MB of text) is small. A quarter of the room is for small
# bodies alone, so that no large one keeps them waiting.
SMALL_BYTES = 16 << 20
_SMALL_SHARE = 1 / 8  # at most this of the room
_LARGE_SHARE = 3 / 4

# How far behind its pace a transfer may be while others wait for the room that it holds, and how
# often that is looked at. Seconds.
CROWDED_SECONDS = 0.5
_LOOK_SECONDS = 0.1


class NoRoom(TsheadroomError):
    """Other bodies had all the room, for as long as this one could wait."""


class Room:
    """The bytes that all bodies in flight may take. For one event loop.

    Bodies that are half read could wait for each other without end, each with room that the others
    need. So of the small ones and of the large ones, the one that began to grow first has a claim:
    nobody else gets room that it may still need.
    """

    def __init__(self, limit: int, patience: float) -> None:
        """`limit` is in bytes. A body waits for room `patience` seconds in all."""
        self.limit = limit
        self.patience = patience
        self.taken = 0
        self.small = min(SMALL_BYTES, int(limit * _SMALL_SHARE))
        self.large = int(limit * _LARGE_SHARE)  # what large bodies may take together
        # No body counts for more than this. In a small room the largest ones come one by one.
        self.most = min((1 + COST) * MAX_BODY, self.large)
        self._taken_by_large = 0
        self._ages = count()
        # The oldest first, by is_large.
        self._growing: dict[bool, list[BodyShare]] = {False: [], True: []}
        # The oldest first, but large ones before those that are to become large.
        self._waiting: list[BodyShare] = []
        self.paced: set[BodyShare] = set()  # those that are read or written now
        self._looking: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """The number of bodies that wait for room."""
        return len(self._waiting)

    def share(self) -> BodyShare:
        """A new body's share. Nothing is in it yet."""
        share = BodyShare(self, next(self._ages))
        self._growing[False].append(share)
        return share

    def add(self, share: BodyShare, more: int) -> bool:
        """Give `more` bytes to the share, unless there is no room or an older one waits for it."""
        large = share.large_with(more)
        if not large and not self._waiting and self.taken + more + self.small <= self.limit:
            # The usual case. No claim of a small one is over that, so there is no need to look.
            self.taken += more
            share.held += more
            return True
        older = (other for other in self._waiting if other.order < share.order)
        if any(other.large_with(other.asked) == large for other in older):
            return False
        return self._add(share, more)

    def _add(self, share: BodyShare, more: int) -> bool:
        """Give it `more` bytes, if they are there and no claim is hurt."""
        large = share.large_with(more)
        if self.taken + more + self._claim_before(share, large, of_large=False) > self.limit:
            return False
        if large:
            joining = more if share.is_large else share.held + more
            claim = self._claim_before(share, large, of_large=True)
            if self._taken_by_large + joining + claim > self.large:
                return False
            self._taken_by_large += joining
            if not share.is_large:
                self._growing[False].remove(share)
                share.become_large(next(self._ages))
                self._growing[True].append(share)
        self.taken += more
        share.held += more
        return True

    def _claim_before(self, share: BodyShare, large: bool, *, of_large: bool) -> int:
        """What the oldest small or large body may still need, if the share must leave that free."""
        others = (other for other in self._growing[of_large] if other is not share)
        oldest = next((other for other in others if not other.outgrows_small()), None)
        if oldest is None or (share.is_large == large == of_large and share.order < oldest.order):
            return 0
        return max(0, (self.most if of_large else self.small) - oldest.held)

    def remove(self, share: BodyShare, less: int) -> None:
        """Take `less` bytes back from the share."""
        share.held -= less
        self.taken -= less
        if share.is_large:
            self._taken_by_large -= less
        if self._waiting:
            self._serve()

    def grown(self, share: BodyShare) -> None:
        """Note that the share asks for no more."""
        self._growing[share.is_large].remove(share)
        if self._waiting:
            self._serve()

    def await_room(self, share: BodyShare) -> None:
        """Put the share among those that wait."""
        insort(self._waiting, share, key=attrgetter("order"))
        if self._looking is None:
            self._look()

    def leave(self, share: BodyShare) -> None:
        """Take the share out of those that wait, if it is still among them."""
        if share in self._waiting:
            self._waiting.remove(share)
            self._serve()

    def _serve(self) -> None:
        """Give those that wait what came free: the oldest first, small and large ones apart."""
        stuck: set[bool] = set()
        for share in list(self._waiting):
            large = share.large_with(share.asked)
            if large in stuck:
                continue
            if self._add(share, share.asked):
                self._waiting.remove(share)
                share.serve()
            else:
                stuck.add(large)

    def _look(self) -> None:
        """While anybody waits, end what is in the way: those that hold the most first."""
        self._looking = None
        for large in (False, True):
            first = next((s for s in self._waiting if s.large_with(s.asked) == large), None)
            lacking = first.asked if first else 0
            for share in sorted({*self.paced, *self._waiting}, key=lambda share: -share.held):
                if lacking > 0 and share.makes_way(large=large):
                    lacking -= share.held
                    share.end()
        if self._waiting:
            self._looking = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)


class BodyShare:
    """One body's part of the room. Whoever asked for it must close() it."""

    __slots__ = (
        "_grows",
        "_pace",
        "_patience",
        "_room",
        "_served",
        "_wanted",
        "asked",
        "held",
        "is_large",
        "order",
    )

    def __init__(self, room: Room, age: int) -> None:
        self.held = 0
        self.asked = 0  # while it waits
        self.is_large = False
        self.order = (1, age)
        self._room = room
        self._wanted = 0  # as `held`, but without its bound
        self._patience = room.patience
        self._grows = True
        self._served: asyncio.Future[None] | None = None
        self._pace: Pace | None = None

    def large_with(self, more: int) -> bool:
        """True if the body is large once it has `more` bytes. It stays so."""
        return self.is_large or self.held + more > self._room.small

    def outgrows_small(self) -> bool:
        """True if the body is still small and waits to become large."""
        return not self.is_large and self.large_with(self.asked)

    def become_large(self, age: int) -> None:
        """Be the youngest of the large ones."""
        self.is_large, self.order = True, (0, age)

    def try_take(self, size: int) -> bool:
        """Take room for `size` bytes. Returns False if that means to wait."""
        more = self._more(size)
        if more and not self._room.add(self, more):
            return False
        self._wanted += size
        return True

    async def take(self, size: int) -> None:
        """Take room for `size` bytes, and wait for it. Raises NoRoom if there is none in time."""
        if self.try_take(size):
            return
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.asked, self._served = self._more(size), loop.create_future()
        if self._pace:
            self._pace.stop()
        self._room.await_room(self)
        try:
            async with asyncio.timeout(self._patience):
                await self._served
        except TimeoutError:
            raise NoRoom(f"{self._wanted + size} bytes") from None
        finally:
            # An exception in the future would keep this frame, and with it the body.
            self.asked, self._served = 0, None
            self._room.leave(self)
            self._patience -= loop.time() - started
        self._wanted += size
        if self._pace:
            self._pace.go()

    def _more(self, size: int) -> int:
        return max(0, min(self._wanted + size, self._room.most) - self.held)

    def serve(self) -> None:
        """Wake up whoever waits in take(): the room is there."""
        if self._served and not self._served.done():
            self._served.set_result(None)

    def give(self, size: int) -> None:
        """Give room for `size` bytes back."""
        self._wanted -= size
        self._room.remove(self, max(0, self.held - self._wanted))

    def settle(self) -> None:
        """Say that the body will not grow any more, so that nobody keeps room for it."""
        if self._grows:
            self._grows = False
            self._room.grown(self)

    def close(self) -> None:
        """Give everything back."""
        self.settle()
        self._wanted = 0
        self._room.remove(self, self.held)

    def paced(self) -> Transfer:
        """Hold a transfer to its pace, as Pace does, and end it sooner where it is in the way."""
        return Transfer(self, self._room)

    def follows(self, pace: Pace | None) -> None:
        """Note the clock of the transfer that is under way; None if none is."""
        self._pace = pace

    def moved(self, size: int) -> None:
        """Note that `size` bytes of the transfer under way have come or gone."""
        if self._pace:
            self._pace.moved(size)

    def makes_way(self, *, large: bool) -> bool:
        """True if this body is to end when a small or a large one waits for its room."""
        if self.asked:
            # There is no room for it as large as it is to be, and it holds room for small ones.
            return not large and self.held > 0 and self.outgrows_small()
        still = self._pace is not None and self._pace.behind() > CROWDED_SECONDS
        return still and (self.is_large or not large)  # no small one ends for a large one

    def end(self) -> None:
        """End it. What it holds comes back when its handler has seen that."""
        if self._served and not self._served.done():
            self._served.set_exception(NoRoom("small ones need it"))
        elif self._pace:
            self._room.paced.discard(self)
            self._pace.end()


class Transfer(Pace):
    """The clock of a body's transfer. While that is under way, the room may end it."""

    def __init__(self, share: BodyShare, room: Room) -> None:
        super().__init__()
        self._share = share
        self._room = room

    def __enter__(self) -> Self:
        super().__enter__()
        self._share.follows(self)
        self._room.paced.add(self._share)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._room.paced.discard(self._share)
        self._share.follows(None)
        super().__exit__(kind, error, trace)
