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


class StoreError(TsheadroomError):
    """The decisions on disk cannot be opened, read or written; the text says what failed."""


class Record(msgspec.Struct, frozen=True):
    """One turn. `chain` is the name of its request, `parent` that of the turn it went on from.

    `digests` and `forms` are of the items after those of `parent`; `length` counts all items.
    `delivered` is False if the answer was lost. The fields are named as the columns on disk.
    """

    chain: bytes
    parent: bytes | None
    family: bytes
    length: int
    digests: bytes
    forms: Forms
    delivered: bool = True


Line = list[Record]
"""The turns of one conversation from its start to one of its requests."""
