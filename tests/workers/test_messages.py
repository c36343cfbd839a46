"""Long replies, decoded in slices, are what they are when decoded at once."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tsheadroom.workers.messages import (
    SLICE_BYTES,
    EditMessage,
    FormMessage,
    PointerMessage,
    Reply,
    ReplyEnvelope,
    decode_envelope,
    decode_in_slices,
)

POINTER = PointerMessage(0, ["content", 0, "content"], "t0", 1, 8, 1, "Read a.py")


def line(forms: list[FormMessage]) -> bytes:
    return msgspec.json.encode(
        ReplyEnvelope(3, True, Reply(elapsed_ms=1.5, notes={"n": 1}, rss=7, forms=forms))
    )


def edits(number: int, size: int) -> list[EditMessage]:
    return [
        EditMessage(["content", n, "content"], "x" * size, [POINTER], ["json"], lossy=True)
        for n in range(number)
    ]


@pytest.mark.parametrize(
    "forms",
    [
        [],
        [FormMessage(n, edits(1, 100), n) for n in range(5000)],
        [FormMessage(4, edits(5000, 100), 9)],
        [FormMessage(1, edits(1, 4 * SLICE_BYTES)), FormMessage(2, edits(2, SLICE_BYTES), 5)],
    ],
    ids=["none", "many forms", "many edits of one item", "long texts"],
)
async def test_slices_make_no_difference(forms: list[FormMessage]) -> None:
    data = line(forms)
    assert await decode_in_slices(data) == decode_envelope(data)


async def test_others_get_their_turn_within_one_item() -> None:
    data = line([FormMessage(0, edits(5000, 100))])
    decoding = asyncio.ensure_future(decode_in_slices(data))
    turns = 0
    while not decoding.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= len(data) // (2 * SLICE_BYTES)


async def test_a_broken_edit_is_a_broken_line() -> None:
    data = line([FormMessage(0, edits(5000, 100))]).replace(b'"text"', b'"test"', 1)
    with pytest.raises(msgspec.DecodeError):
        await decode_in_slices(data)
