"""Decisions on disk: what is kept of a turn, and what a store has to offer.

A record is named by the prefix of its request, written once, and never changed but for the mark
whether its answer arrived. Readings and writings are futures of the store's own threads, so that
no disk ever holds up the event loop.
"""

from __future__ import annotations

import msgspec

from tsheadroom.conversations.forms import Form
from tsheadroom.errors import TsheadroomError

Forms = dict[int, Form]


class StoreError(TsheadroomError):
    """The decisions on disk cannot be opened, read or written; the text says what failed."""


class Record(msgspec.Struct, frozen=True):
    """One turn. `chain` names its request, `parent` the stored turn that it went on from.

    `digests` and `forms` are of the items from the end of `parent` on; `length` counts all items.
    The names are those of the columns on disk.
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
