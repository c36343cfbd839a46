"""Lets requests in a few at a time, in the order in which they came.

Without it all requests of a burst are worked on at once. Each step of each request then waits for a
step of every other, and the last answers take many times as long as the work itself.
"""

from __future__ import annotations

import asyncio


class Entry:
    """One request's place inside. It may leave more than once; only the first time counts."""

    __slots__ = ("_gate", "_inside")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._inside = True

    def leave(self) -> None:
        """Let the next request in, in the next pass of the event loop."""
        if self._inside:
            self._inside = False
            self._gate.left()


class Gate:
    """At most `limit` requests inside, counting those that left in this pass of the event loop."""

    def __init__(self, limit: int) -> None:
        self._places = asyncio.Semaphore(limit)

    async def enter(self, patience: float) -> Entry:
        """Wait for a place, at most `patience` seconds. Raises TimeoutError after that."""
        if self._places.locked():
            async with asyncio.timeout(patience):
                await self._places.acquire()
        else:
            await self._places.acquire()
        return Entry(self)

    def left(self) -> None:
        """Free a place, from the next pass of the event loop on."""
        asyncio.get_running_loop().call_soon(self._places.release)
