"""Lets requests in a few at a time, in the order in which they came.

Without it all requests of a burst are worked on at once. Each step of each request then waits for a
step of every other, and the last answers take many times as long as the work itself.
"""

from __future__ import annotations

import asyncio


class Entry:
    """One request's place inside. It may leave more than once; only the first time counts.

    `inside` is False from the beginning if there was no place.
    """

    __slots__ = ("_gate", "inside")

    def __init__(self, gate: Gate, *, inside: bool) -> None:
        self._gate = gate
        self.inside = inside

    def leave(self) -> None:
        """Let the next request in, in the next pass of the event loop."""
        if self.inside:
            self.inside = False
            self._gate.left()


class Gate:
    """At most `limit` requests inside, counting those that left in this pass of the event loop."""

    def __init__(self, limit: int) -> None:
        self._places = asyncio.Semaphore(limit)

    async def enter(self, patience: float) -> Entry:
        """Wait for a place, at most `patience` seconds; after that the entry is none."""
        if not self._places.locked():
            await self._places.acquire()
            return Entry(self, inside=True)
        try:
            async with asyncio.timeout(patience):
                await self._places.acquire()
        except TimeoutError:
            return Entry(self, inside=False)
        return Entry(self, inside=True)

    def left(self) -> None:
        """Free a place, from the next pass of the event loop on."""
        asyncio.get_running_loop().call_soon(self._places.release)
