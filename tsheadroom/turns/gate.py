"""Lets requests in a few at a time, in the order in which they came.

Without it a burst is worked on all at once: each step of each request then waits behind a step of
every other, and the last answers leave after many times what the work takes.
"""

from __future__ import annotations

import asyncio


class Entry:
    """One request's place inside; leaving twice is leaving once."""

    __slots__ = ("_gate", "_inside")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._inside = True

    def leave(self) -> None:
        """Let the next one in, when the event loop has gone around once."""
        if self._inside:
            self._inside = False
            self._gate.left()


class Gate:
    """At most `limit` requests inside, counting those that left in this pass of the event loop."""

    def __init__(self, limit: int) -> None:
        self._places = asyncio.Semaphore(limit)

    async def enter(self, patience: float) -> Entry:
        """Wait for a place, at most `patience` seconds; then TimeoutError."""
        if self._places.locked():
            async with asyncio.timeout(patience):
                await self._places.acquire()
        else:
            await self._places.acquire()
        return Entry(self)

    def left(self) -> None:
        """A place is free from the next pass of the event loop on."""
        asyncio.get_running_loop().call_soon(self._places.release)
