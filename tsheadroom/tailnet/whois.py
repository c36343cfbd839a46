"""Who calls, remembered for a few seconds: a busy caller costs one lookup in that time."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from tsheadroom.tailnet.localapi import LocalApi, LocalApiFailed, Peer

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

# A changed grant takes effect within this time.
WHOIS_SECONDS = 5.0

# A tailnet has at most so many callers at a time; more only cost another lookup.
_ENTRIES = 1024


class Whois:
    """Answers from the LocalAPI, by IP address: on a tailnet that is one node's for good."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, Peer | None]] = {}

    async def ask(self, api: LocalApi | None, address: str) -> Peer | None:
        """The peer with this "ip:port"; None when nobody is known there, or nobody can be asked."""
        host = address.rpartition(":")[0]
        now = self._clock()
        known = self._known.get(host)
        if known is not None and now - known[0] < WHOIS_SECONDS:
            return known[1]
        if api is None or not host:
            return None
        try:
            peer = await api.whois(address)
        except LocalApiFailed as error:
            log.warning("cannot tell who calls, treated as nobody addr=%s: %s", address, error)
            return None
        self._known.pop(host, None)  # a dict keeps its order: the first entry is the oldest
        self._known[host] = (now, peer)
        while len(self._known) > _ENTRIES:
            del self._known[next(iter(self._known))]
        return peer
