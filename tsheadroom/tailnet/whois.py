"""Who calls. Answers are kept for some seconds, so that a busy caller costs few lookups."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from tsheadroom.seldom import Seldom
from tsheadroom.tailnet.localapi import LocalApi, LocalApiFailed, Peer

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

# Seconds for which an answer is kept. A changed grant takes effect within this time.
WHOIS_SECONDS = 5.0

# Answers that are kept at most. A caller beyond this only costs another lookup.
_ENTRIES = 1024


class Whois:
    """Answers of the LocalAPI by IP address. A tailnet address always means the same node."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, Peer | None]] = {}
        self._asking: dict[str, asyncio.Task[Peer | None]] = {}
        self._failures = Seldom(clock)  # while the node does not answer, every lookup fails

    async def ask(self, api: LocalApi | None, address: str) -> Peer | None:
        """The peer with this "ip:port"; None if it is not known, or the node cannot be asked."""
        host = address.rpartition(":")[0]
        known = self._known.get(host)
        if known is not None and self._clock() - known[0] < WHOIS_SECONDS:
            return known[1]
        if api is None or not host:
            return None
        asking = self._asking.get(host)
        if asking is None:  # who opens many connections at once is looked up once
            asking = asyncio.get_running_loop().create_task(self._look_up(api, host, address))
            self._asking[host] = asking
            asking.add_done_callback(lambda _: self._asking.pop(host, None))
        return await asyncio.shield(asking)

    async def _look_up(self, api: LocalApi, host: str, address: str) -> Peer | None:
        now = self._clock()
        try:
            peer = await api.whois(address)
        except LocalApiFailed as error:
            if self._failures.count(""):
                log.warning("cannot tell who calls, treated as nobody addr=%s: %s", address, error)
            return None
        self._known.pop(host, None)  # a dict keeps its order: the first entry is the oldest
        self._known[host] = (now, peer)
        while len(self._known) > _ENTRIES:
            del self._known[next(iter(self._known))]
        return peer
