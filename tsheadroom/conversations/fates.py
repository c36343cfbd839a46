"""How the answers to each session's requests ended.

Equal conversations of one caller are one conversation here, and what one of them missed another may
have got. Where the client names its session, this tells them apart. The name is a hint and no more:
many clients send none, or another one each time, and then only the conversation itself counts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from tsheadroom.conversations.forms import digest_of

MAX_FATES = 10_000  # requests that are remembered; each takes 200 bytes


@dataclass(frozen=True, slots=True)
class Fate:
    """Whether the latest answer to a request arrived, and whether any did."""

    arrived: bool
    ever: bool


# A few objects, to which very many entries refer.
_FATES = {(fate.arrived, fate.ever): fate
          for fate in (Fate(True, True), Fate(False, True), Fate(False, False))}  # fmt: skip


class Fates:
    """The latest ones, by a request's name and the session's."""

    def __init__(self) -> None:
        self._fates: OrderedDict[bytes, Fate] = OrderedDict()

    def of(self, request: bytes, session: bytes) -> Fate | None:
        """What is known of this session's request; None if nothing is, or if it has no name."""
        return self._fates.get(digest_of((request, session))) if session else None

    def note(self, request: bytes, session: bytes, *, arrived: bool) -> None:
        """Note how the answer to a session's request ended."""
        if not session:
            return
        key = digest_of((request, session))
        before = self._fates.pop(key, None)
        ever = arrived or (before is not None and before.ever)
        self._fates[key] = _FATES[arrived, ever]
        if len(self._fates) > MAX_FATES:
            self._fates.popitem(last=False)

    def withdraw(self, request: bytes, session: bytes) -> None:
        """Forget what was noted: it was not so."""
        self._fates.pop(digest_of((request, session)), None)
