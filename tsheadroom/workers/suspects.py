"""Items over which workers were killed from outside: by chance, or because of what they hold."""

from __future__ import annotations

from collections import OrderedDict

ENOUGH = 3
"""Kills over the same item. An operator, or a memory that other programs have filled, may hit a
worker at the same item twice; three times is the item."""

REMEMBERED = 1_000
"""Items, 200 KB. A kill from outside is rare."""


class Suspects:
    """How often a worker was killed over which item; only the latest REMEMBERED count."""

    def __init__(self) -> None:
        self._kills: OrderedDict[bytes, int] = OrderedDict()

    def note(self, digest: bytes) -> bool:
        """Count a kill over this item; True if that is enough."""
        kills = self._kills.pop(digest, 0) + 1
        if kills >= ENOUGH:
            return True
        self._kills[digest] = kills
        if len(self._kills) > REMEMBERED:
            self._kills.popitem(last=False)
        return False
