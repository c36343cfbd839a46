"""Requests that were answered lately, so that an event about one is not taken for a call.

An event about a model without a price may hold nothing but the request's body and id. If it were
taken for a call, its answer, which nobody reads, would pass for one that arrived.
"""

from __future__ import annotations

from collections import OrderedDict

from tsheadroom.aperture.call import HookCall
from tsheadroom.aperture.names import Digests
from tsheadroom.conversations.forms import digest_of

MAX_ANSWERED = 20_000  # requests that are remembered; each takes 200 bytes


class Answered:
    """How the answers to the latest requests ended."""

    def __init__(self) -> None:
        self._arrived: OrderedDict[bytes, bool] = OrderedDict()

    def arrived(self, name: bytes) -> bool | None:
        """True if the answer to this request arrived, False if it was lost; None if not known."""
        return self._arrived.get(name) if name else None

    def note(self, name: bytes, *, arrived: bool) -> None:
        """Note how the answer to a request ended. One without a name is not remembered."""
        if not name:
            return
        self._arrived[name] = arrived
        if len(self._arrived) > MAX_ANSWERED:
            self._arrived.popitem(last=False)


def request_name(call: HookCall, digests: Digests) -> bytes:
    """The name of exactly this request: Aperture's id of it, and its items; b"" without an id.

    Aperture gives each request an id of its own, also when a client sends the same once more.
    """
    request_id = call.metadata.request_id or ""
    if not request_id:
        return b""
    return digest_of([request_id.encode("utf-8", "surrogatepass"), b"\0", digests.names.joined])
