"""Decisions on disk: what is kept of a turn.

A record has the name of its request's prefix. It is written once, and after that only the mark
about its answer's arrival changes. The store reads and writes in threads of its own and returns
futures, so that the event loop never waits for the disk.
"""

from __future__ import annotations

import msgspec

from tsheadroom.conversations.forms import Form
from tsheadroom.errors import TsheadroomError

Forms = dict[int, Form]

_TOLD_SECONDS = 3600.0  # how long a lost file is worth a sentence


class StoreError(TsheadroomError):
    """The decisions on disk cannot be opened, read or written; the text says what failed."""


class Record(msgspec.Struct, frozen=True):
    """One turn. `chain` is the name of its request, `parent` that of the turn it went on from.

    `digests` and `forms` are of the items after those of `parent`; `length` counts all items.
    `delivered` is False if the answer was lost. The fields are named as the columns on disk.

    `starts` are the names of the prefixes before the first and before the newest answer, if the
    turn that it went on from ended before these: requests that were never stored by themselves.
    """

    chain: bytes
    parent: bytes | None
    family: bytes
    length: int
    digests: bytes
    forms: Forms
    delivered: bool = True
    starts: tuple[bytes, bytes] | None = None


class StoreState(msgspec.Struct, frozen=True):
    """How the store is. `trouble` is None if it works; `replaced` is since the start."""

    trouble: str | None
    replaced: int  # how often the file was begun anew
    replaced_why: str
    replaced_s: float  # seconds since the last time
    refused: int  # rows that could not be believed

    @property
    def degraded(self) -> str | None:
        """A sentence for an operator; None if there is nothing to say."""
        if self.trouble:
            return f"new items are left alone: the decisions on disk cannot be used: {self.trouble}"
        if self.replaced and self.replaced_s < _TOLD_SECONDS:
            return (
                f"the decisions on disk were begun anew {self.replaced_s:.0f} s ago"
                f" ({self.replaced_why}); conversations that were not in memory go on with their"
                " original texts"
            )
        return None


Line = list[Record]
"""The turns of one conversation from its start to one of its requests."""
