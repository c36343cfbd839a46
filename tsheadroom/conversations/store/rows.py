"""Rows of the table of turns: how a record is packed, and what is believed of a row that is read.

A disk gives back other bytes than were written now and then, and somebody may edit the file. A row
that cannot be is a row that is not there: its conversation is then a gap, and nothing wrong goes
out.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec
import zstandard

from tsheadroom.aperture.digests import DIGEST_BYTES
from tsheadroom.conversations.forms import Form, digest_of
from tsheadroom.conversations.store import Forms, Record
from tsheadroom.errors import TsheadroomError

# Forms are shorter than the texts of a body, and bodies end at 50 MiB.
MAX_UNPACKED = 64 << 20  # bytes of one row's forms
MAX_CELL = 64 << 20  # bytes of anything in a row
_LONGEST_TOKEN = 64  # bytes; they are 16
_LEVEL = 3  # zstd's default: forms are small and written once

_FORMS = msgspec.msgpack.Decoder(Forms)


class Sign(Enum):
    """What stands behind the prefix that a signpost is for."""

    FIRST = b"first answer"
    NEWEST = b"newest answer"


class BadRow(TsheadroomError):
    """This row is not one that was written here; the text says what is wrong with it."""


def pack(record: Record, at: int) -> tuple[object, ...]:
    """The row of a record, with `at`, the time in seconds since 1970."""
    forms = None
    if record.forms:
        # With a checksum, so that a text that changed on the disk is never forwarded.
        compressor = zstandard.ZstdCompressor(_LEVEL, write_checksum=True)
        forms = compressor.compress(msgspec.msgpack.encode(record.forms))
    return (record.chain, record.parent, record.family, record.length, record.digests, forms,
            record.delivered, at)  # fmt: skip


def signposts(record: Record, at: int) -> list[tuple[object, ...]]:
    """Rows that are no turns, but lead to this one from where it starts.

    Such a row has a name of its own and, as its parent, the sign for a prefix; in place of digests
    it has the turn's name. No turn has such a parent, so only who looks for the sign finds it.
    """
    return [
        (digest_of((parent, record.chain)), parent, record.family, record.length, record.chain,
         None, False, at)
        for parent in signs(record)
    ]  # fmt: skip


def signs(record: Record) -> list[bytes]:
    """The signs by which a record's signposts are found."""
    starts = zip(Sign, record.starts, strict=True) if record.starts else ()
    return [sign(kind, name) for kind, name in starts]


def sign(kind: Sign, prefix: bytes) -> bytes:
    """The sign for the prefix of this name."""
    return digest_of((kind.value, prefix))


def unpack(row: tuple[Any, ...]) -> Record:
    """The record of a row (without its time). Raises BadRow."""
    chain, parent, family, length, digests, forms, delivered = row
    if not (is_name(chain) and (parent is None or is_name(parent)) and isinstance(family, bytes)):
        raise BadRow("a name is none")
    if not isinstance(length, int) or not isinstance(digests, bytes) or delivered not in (0, 1):
        raise BadRow("a value is of another type")
    own, rest = divmod(len(digests), DIGEST_BYTES)
    if rest or not own or not (own == length if parent is None else own < length):
        raise BadRow("the digests do not fit the length")
    return Record(chain, parent, family, length, digests,
                  _forms(forms, length - own, length), bool(delivered))  # fmt: skip


def is_name(value: object) -> bool:
    """True for what may be a turn's name."""
    return isinstance(value, bytes) and len(value) == DIGEST_BYTES


def _forms(packed: object, first: int, end: int) -> Forms:
    """The forms, which are of items from `first` to `end`."""
    if packed is None:
        return {}
    if not isinstance(packed, bytes):
        raise BadRow("forms are of another type")
    try:
        size = zstandard.frame_content_size(packed)
        if not 0 < size <= MAX_UNPACKED:
            raise BadRow(f"forms of {size} bytes")
        forms = _FORMS.decode(zstandard.ZstdDecompressor().decompress(packed))
    except (zstandard.ZstdError, msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadRow(f"forms cannot be decoded: {error}") from None
    for item, form in forms.items():
        if not first <= item < end or not _is_possible(form):
            raise BadRow("a form that cannot be")
    return forms


def _is_possible(form: Form) -> bool:
    """True if the form can be spliced: edits in order, each a JSON string in place of one."""
    at = 0
    for edit in form.edits:
        if not at <= edit.start < edit.end or len(edit.new) < 2:
            return False
        if not edit.new.startswith(b'"') or not edit.new.endswith(b'"'):
            return False
        at = edit.end
    targets = all(target.item >= 0 for target in form.targets)
    named = 0 < len(form.token) <= _LONGEST_TOKEN
    return targets and named and abs(form.tokens_saved) <= MAX_UNPACKED
