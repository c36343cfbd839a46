"""The child's lines as the daemon decodes them.

Fields that are missing have defaults and fields that are not known are passed over, so that a child
of another version can be talked to. `child/protocol.py` has the lines themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec

SLICE_BYTES = 128 * 1024
"""What is decoded in one go, in some 5 ms if it is many short texts; the event loop has other
connections to look after."""


class PointerMessage(msgspec.Struct, frozen=True, gc=False):
    """`count` lines that an edit took out, because they stand verbatim in an earlier item.

    They were the lines from `of` on, and stand there from line `first` on; both count from 0.
    `name` is what the pointer line in the text calls the place. `arranged` means that all of the
    text is what that item said when it came, and that the item goes out arranged in another way.
    """

    item: int
    slot: list[Any] = msgspec.field(default_factory=list)
    call: str = ""
    first: int = 0
    count: int = 0
    of: int = 0
    name: str = ""
    arranged: bool = False


class EditMessage(msgspec.Struct, frozen=True, gc=False):
    """The new text of one slot (the way to a text) of an item, and how it was made."""

    slot: list[Any]
    text: str
    pointers: list[PointerMessage] = msgspec.field(default_factory=list)
    transforms: list[str] = msgspec.field(default_factory=list)
    lossy: bool = False


class FormMessage(msgspec.Struct, frozen=True, gc=False):
    """How one new item goes out; `item` counts from the conversation's first, which is 0."""

    item: int
    edits: list[EditMessage]
    tokens_saved: int = 0


class ReplyFigures(msgspec.Struct):
    """A reply without its forms.

    `elapsed_ms` is the work alone, `notes` counts events by name, `rss` is the child's resident
    memory in bytes, 0 where it does not know; `slot` is filled in by the slot. `convicted` numbers
    items that took more time or memory than one may, `worn` says that the child is to be replaced
    before its next call, `dropped` names the conversations that it has just ceased to hold.
    """

    elapsed_ms: float = 0.0
    cold_first_call: bool = False
    model_limit: int = 0
    notes: dict[str, Any] = msgspec.field(default_factory=dict)
    rss: int = 0
    slot: int = -1
    convicted: list[int] = msgspec.field(default_factory=list)
    worn: bool = False
    dropped: list[str] = msgspec.field(default_factory=list)


class Reply(ReplyFigures):
    """What a worker made of one request."""

    forms: list[FormMessage] = msgspec.field(default_factory=list)


class _LongReply(ReplyFigures):
    """A reply whose forms are found, but not yet decoded."""

    forms: list[msgspec.Raw] = msgspec.field(default_factory=list)


class _LongForm(msgspec.Struct):
    """A form whose edits are found, but not yet decoded."""

    item: int
    edits: list[msgspec.Raw]
    tokens_saved: int = 0


class ReplyEnvelope(msgspec.Struct):
    """One line from a child after its ready line: a result, or an error and its kind."""

    id: int
    ok: bool
    result: Reply | None = None
    error: str = ""
    error_type: str = ""


class Progress(msgspec.Struct):
    """The child begins with item number `at`; it has used `cpu` seconds of CPU time in its life."""

    at: int
    cpu: float


class _LongReplyEnvelope(msgspec.Struct):
    """As ReplyEnvelope, for a long line."""

    id: int
    ok: bool
    result: _LongReply | None = None
    error: str = ""
    error_type: str = ""


class Ready(msgspec.Struct):
    """A child's first line, or a fork server's first message."""

    ready: bool
    headroom_version: str = ""
    reason: str = ""
    lacks: str = ""  # what it was meant to have, and how to get it
    confined: list[str] = []  # by which means; `child/confinement.py` names them


decode_envelope = msgspec.json.Decoder(ReplyEnvelope).decode
decode_progress = msgspec.json.Decoder(Progress).decode
decode_ready = msgspec.json.Decoder(Ready).decode
_decode_long = msgspec.json.Decoder(_LongReplyEnvelope).decode
_decode_form = msgspec.json.Decoder(FormMessage).decode
_decode_long_form = msgspec.json.Decoder(_LongForm).decode
_decode_edit = msgspec.json.Decoder(EditMessage).decode


async def decode_in_slices(line: bytes) -> ReplyEnvelope:
    """A long line, decoded with turns for the loop in between. Raises msgspec.DecodeError."""
    # Finding the forms runs at 4 GB a second; decoding their texts takes ten times as long.
    envelope = _decode_long(line)
    reply = None
    if envelope.result is not None:
        forms = [
            await _long_form(raw) if len(memoryview(raw)) > SLICE_BYTES else _decode_form(raw)
            async for raw in _in_slices(envelope.result.forms)
        ]
        figures = msgspec.structs.asdict(envelope.result)
        reply = Reply(**(figures | {"forms": forms}))
    return ReplyEnvelope(envelope.id, envelope.ok, reply, envelope.error, envelope.error_type)


async def _long_form(raw: msgspec.Raw) -> FormMessage:
    """One form of very many edits, decoded in the same way."""
    form = _decode_long_form(raw)
    edits = [_decode_edit(edit) async for edit in _in_slices(form.edits)]
    return FormMessage(form.item, edits, form.tokens_saved)


async def _in_slices(pieces: Iterable[msgspec.Raw]) -> AsyncIterator[msgspec.Raw]:
    """Yield the pieces, and let others go on whenever SLICE_BYTES of them are through."""
    taken = 0
    for piece in pieces:
        taken += len(memoryview(piece))
        if taken > SLICE_BYTES:
            taken = 0
            await asyncio.sleep(0)
        yield piece
