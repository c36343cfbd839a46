"""Who calls. Answers are kept for some seconds, so that a busy caller costs few lookups."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

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

    async def ask(self, api: LocalApi | None, address: str) -> Peer | None:
        """The peer with this "ip:port"; None if it is not known, or the node cannot be asked."""
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
