"""What is believed of a row that comes from the disk."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import zstandard

from tsheadroom.conversations.forms import Edit, Form, Target
from tsheadroom.conversations.store import Record
from tsheadroom.conversations.store.rows import MAX_UNPACKED, BadRow, pack, unpack

A, B = b"a" * 16, b"b" * 16
EDITS = (Edit(("content", 0), 3, 9, b'"x"'), Edit(("content", 1), 9, 20, b'"yy"'))
FORM = Form(b"t" * 16, EDITS, (Target(0, A, b""),), 7)
RECORD = Record(B, A, A, 3, A + B, {1: FORM, 2: FORM})
FIELDS = Record.__struct_fields__[:-1]  # but for what becomes rows of its own


def row(record: Record = RECORD, **changed: Any) -> tuple[Any, ...]:
    values = dict(zip(FIELDS, pack(record, 0)[:-1], strict=True))
    return tuple((values | changed).values())


def packed(value: Any) -> bytes:
    return zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(value))


def with_edits(*edits: Edit) -> bytes:
    return packed({1: Form(b"t" * 16, edits, (), 7)})


@pytest.mark.parametrize("record", [RECORD, Record(A, None, A, 1, A, {}, delivered=False)])
def test_what_was_packed_is_unpacked(record: Record) -> None:
    assert unpack(row(record)) == record


def test_forms_of_version_0_1_have_no_checksum() -> None:
    assert unpack(row(forms=packed(RECORD.forms))) == RECORD


BAD: dict[str, dict[str, Any]] = {
    "a name that is too short": {"chain": B[:15]},
    "a name of another type": {"chain": "b" * 16},
    "a parent of another type": {"parent": 7},
    "no family": {"family": None},
    "a length of another type": {"length": "3"},
    "a length that is no number": {"length": 3.5},
    "a negative length": {"length": -3},
    "digests of another type": {"digests": "a" * 32},
    "digests that are cut off": {"digests": (A + B)[:-1]},
    "no digests": {"digests": b""},
    "more digests than items": {"length": 1},
    "all items, and yet a parent": {"length": 2},
    "no parent, and yet not all items": {"parent": None},
    "an answer that did something else": {"delivered": 7},
    "forms of another type": {"forms": "forms"},
    "forms that are not compressed": {"forms": msgspec.msgpack.encode(RECORD.forms)},
    "nothing compressed": {"forms": b""},
    "something else compressed": {"forms": packed([1, 2])},
    "forms deep inside of lists": {"forms": zstandard.compress(b"\x91" * 100_000)},
    "a form of an item before": {"forms": packed({0: FORM})},
    "a form of an item behind": {"forms": packed({3: FORM})},
    "a form without a name": {"forms": packed({1: Form(b"", EDITS, (), 7)})},
    "a form that saved the world": {"forms": packed({1: Form(A, EDITS, (), 1 << 60)})},
    "a target before the first item": {
        "forms": packed({1: Form(A, EDITS, (Target(-1, A, A),), 7)})
    },
    "an edit before the item": {"forms": with_edits(Edit((), -3, 9, b'"x"'))},
    "an edit of nothing": {"forms": with_edits(Edit((), 9, 9, b'"x"'))},
    "edits in another order": {"forms": with_edits(*reversed(EDITS))},
    "edits of the same text": {"forms": with_edits(EDITS[0], EDITS[0])},
    "a text without quotes": {"forms": with_edits(Edit((), 3, 9, b"x"))},
    "one quote": {"forms": with_edits(Edit((), 3, 9, b'"'))},
}


@pytest.mark.parametrize("changed", BAD.values(), ids=BAD)
def test_a_row_that_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(BadRow):
        unpack(row(**changed))


def test_a_changed_byte_of_a_form_is_noticed() -> None:
    good = row()[5]
    for at in range(len(good)):
        spoilt = bytearray(good)
        spoilt[at] ^= 0x10
        try:
            assert unpack(row(forms=bytes(spoilt))) == RECORD
        except BadRow:
            continue


def test_a_bomb_is_not_unpacked() -> None:
    """Its own header says how large it is; one that lies, or says nothing, is no better."""
    bomb = zstandard.ZstdCompressor(1).compress(bytes(MAX_UNPACKED + 1))
    silent = zstandard.ZstdCompressor(1, write_content_size=False).compress(bytes(1 << 20))
    for forms in (bomb, silent):
        with pytest.raises(BadRow, match="bytes"):
            unpack(row(forms=forms))
