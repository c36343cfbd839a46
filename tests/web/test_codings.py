"""Body codings: what Aperture may send, and what somebody hostile may."""

from __future__ import annotations

import gzip
import resource
import time
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from tsheadroom.web import codings as encoding
from tsheadroom.web.codings import DecodeFailed, UnsupportedEncoding, decoded

LIMIT = 1 << 20
TEXT = b'{"metadata":{},"request_body":{"messages":[]}}' * 50


def zstd(data: bytes, *, sized: bool = True, checksum: bool = False) -> bytes:
    compressor = zstandard.ZstdCompressor(write_content_size=sized, write_checksum=checksum)
    if sized:
        return compressor.compress(data)
    stream = compressor.compressobj()
    return stream.compress(data) + stream.flush()


def decode_body(body: bytes, coding: str, limit: int) -> bytes:
    return b"".join(decoded(body, coding, limit))


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstd,
}


@given(st.binary(max_size=5000), st.sampled_from(sorted(CODINGS)))
def test_round_trip(data: bytes, coding: str) -> None:
    assert decode_body(CODINGS[coding](data), coding, LIMIT) == data


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("size", [0, 1, 100, 300_000])
def test_zstd_frames_with_and_without_size_and_checksum(
    sized: bool, checksum: bool, size: int
) -> None:
    data = (TEXT * 200)[:size]
    assert decode_body(zstd(data, sized=sized, checksum=checksum), "zstd", LIMIT) == data


@pytest.mark.parametrize("coding", [None, "", "identity", " Identity "])
def test_a_body_may_have_no_coding(coding: str | None) -> None:
    assert encoding.coding_of(coding) == ""


@pytest.mark.parametrize("coding", ["GZIP", " gzip "])
def test_names_of_codings_have_no_case(coding: str) -> None:
    assert decode_body(gzip.compress(TEXT), coding, LIMIT) == TEXT
    assert encoding.coding_of(coding) == "gzip"


@pytest.mark.parametrize(
    "coding", ["br", "deflate", "gzip, zstd", "gzip,identity", "x", "zstd;q=1"]
)
def test_other_codings_and_lists_are_unsupported(coding: str) -> None:
    with pytest.raises(UnsupportedEncoding, match="zstd, gzip"):
        decode_body(TEXT, coding, LIMIT)


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_several_members_follow_one_another(coding: str) -> None:
    packed = CODINGS[coding](b"one ") + CODINGS[coding](b"") + CODINGS[coding](b"two")
    assert decode_body(packed, coding, LIMIT) == b"one two"


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_every_cut_is_noticed(coding: str) -> None:
    packed = CODINGS[coding](TEXT)
    for length in range(len(packed)):
        with pytest.raises(DecodeFailed):
            decode_body(packed[:length], coding, LIMIT)


@pytest.mark.parametrize("sized", [True, False])
def test_every_cut_of_a_long_zstd_body_is_noticed(sized: bool) -> None:
    packed = zstd(bytes(zlib.crc32(b"%d" % n) & 255 for n in range(300_000)), sized=sized)
    for length in range(0, len(packed), 997):
        with pytest.raises(DecodeFailed):
            decode_body(packed[:length], "zstd", LIMIT)


@pytest.mark.parametrize("coding", sorted(CODINGS))
@pytest.mark.parametrize("garbage", [b"\0", b"\0" * 64, b"garbage that is no header", b"{}"])
def test_garbage_after_the_end_is_noticed(coding: str, garbage: bytes) -> None:
    with pytest.raises(DecodeFailed):
        decode_body(CODINGS[coding](TEXT) + garbage, coding, LIMIT)


@given(st.binary(max_size=300), st.sampled_from(sorted(CODINGS)))
def test_noise_raises_nothing_else(noise: bytes, coding: str) -> None:
    try:
        decode_body(noise, coding, LIMIT)
    except DecodeFailed:
        return
    assert noise  # the empty body is no body of a coding


def test_a_wrong_gzip_checksum_is_noticed() -> None:
    packed = bytearray(gzip.compress(TEXT))
    packed[-8] ^= 1
    with pytest.raises(DecodeFailed):
        decode_body(bytes(packed), "gzip", LIMIT)


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_the_limit_is_exact(coding: str) -> None:
    packed = CODINGS[coding](b"x" * LIMIT)
    assert len(decode_body(packed, coding, LIMIT)) == LIMIT
    with pytest.raises(DecodeFailed, match="larger"):
        decode_body(packed, coding, LIMIT - 1)


def test_the_limit_counts_for_all_members_together() -> None:
    half = b"x" * (LIMIT // 2 + 1)
    for coding, pack in CODINGS.items():
        with pytest.raises(DecodeFailed, match="larger"):
            decode_body(pack(half) + pack(half), coding, LIMIT)


def _zeros(size: int, *, sized: bool) -> bytes:
    compressor = zstandard.ZstdCompressor(write_content_size=sized)
    stream = compressor.compressobj(size=size if sized else -1)
    block = bytes(1 << 20)
    parts = [stream.compress(block) for _ in range(size >> 20)]
    return b"".join(parts) + stream.flush()


@pytest.mark.parametrize("sized", [True, False])
def test_a_zstd_bomb_takes_no_more_memory_than_the_limit(sized: bool) -> None:
    bomb = _zeros(1 << 30, sized=sized)
    assert len(bomb) < 1 << 20
    with pytest.raises(DecodeFailed, match="larger"):
        decode_body(bomb, "zstd", 50 << 20)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1 << 19  # KiB: half the bomb


def test_a_gzip_bomb_takes_no_more_memory_than_the_limit() -> None:
    compressor = isal_zlib.compressobj(wbits=31)
    block = bytes(1 << 20)
    bomb = b"".join(compressor.compress(block) for _ in range(2048)) + compressor.flush()
    with pytest.raises(DecodeFailed, match="larger"):
        decode_body(bomb, "gzip", 50 << 20)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1 << 20


def test_a_flood_of_empty_zstd_blocks_is_refused() -> None:
    frame = zstd(b"", sized=False)
    header = frame[: zstandard.frame_header_size(frame)]
    with pytest.raises(DecodeFailed, match="blocks"):
        decode_body(header + b"\0\0\0" * (encoding.MAX_ZSTD_BLOCKS + 1), "zstd", LIMIT)


def test_a_window_beyond_the_limit_is_refused() -> None:
    header = bytes.fromhex("28b52ffd") + b"\x00" + bytes([(27 - 10 + 4) << 3])
    with pytest.raises(DecodeFailed):
        decode_body(header + b"\x01\0\0", "zstd", LIMIT)


def test_gzip_answers_are_what_any_client_reads() -> None:
    assert gzip.decompress(encoding.encode_gzip(TEXT)) == TEXT
    assert len(encoding.encode_gzip(TEXT)) < len(TEXT) // 4


@pytest.mark.parametrize(
    ("header", "accepts"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZip", True),
        ("br, gzip;q=0.8", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=nonsense", True),
        ("zstd", False),
        ("*", False),
        ("xgzip", False),
    ],
)
def test_accepts_gzip(header: str | None, accepts: bool) -> None:
    assert encoding.accepts_gzip(header) is accepts


def skippable(data: bytes, number: int = 0) -> bytes:
    return bytes([0x50 + number]) + b"\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


def test_skippable_frames_are_passed_over() -> None:
    half = len(TEXT) // 2
    body = b"".join(
        (
            skippable(b"before"),
            zstd(TEXT[:half]),
            skippable(b"", 15),
            zstd(TEXT[half:]),
            skippable(b"after", 7),
        )
    )
    assert decode_body(body, "zstd", LIMIT) == TEXT
    assert decode_body(skippable(b"nothing else"), "zstd", LIMIT) == b""


@pytest.mark.parametrize("body", [skippable(b"cut")[:-1], skippable(b"")[:-1], b"\x50\x2a\x4d"])
def test_a_cut_skippable_frame_is_noticed(body: bytes) -> None:
    with pytest.raises(DecodeFailed):
        decode_body(zstd(TEXT) + body, "zstd", LIMIT)
    with pytest.raises(DecodeFailed):
        decode_body(body, "zstd", LIMIT)


def test_the_number_of_skippable_frames_is_bounded() -> None:
    with pytest.raises(DecodeFailed, match="too many"):
        decode_body(skippable(b"") * (encoding.MAX_ZSTD_BLOCKS + 1), "zstd", LIMIT)


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_the_number_of_members_and_frames_is_bounded(coding: str) -> None:
    one = CODINGS[coding](b"")
    assert decode_body(one * encoding.MAX_PARTS, coding, LIMIT) == b""
    with pytest.raises(DecodeFailed, match="too many"):
        decode_body(one * (encoding.MAX_PARTS + 1), coding, LIMIT)


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_a_body_of_many_members_is_decoded_whole(coding: str) -> None:
    """As bgzip and pzstd write it: members that are longer than what is read at once."""
    data = b"".join(b"%d\n" % (n * n) for n in range(40_000))
    size = len(data) // 7
    packed = b"".join(CODINGS[coding](data[at : at + size]) for at in range(0, len(data), size))
    assert decode_body(packed, coding, LIMIT) == data


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_a_step_decodes_no_more_than_its_part(coding: str) -> None:
    packed = CODINGS[coding](bytes(8 << 20))
    sizes = [len(piece) for piece in decoded(packed, coding, 50 << 20)]
    assert sum(sizes) == 8 << 20
    assert max(sizes) <= encoding.STEP_BYTES


def test_a_gzip_stream_of_tables_without_text_takes_many_small_steps() -> None:
    """Each step reads little, so that none takes long, and nothing comes out."""
    compressor = zlib.compressobj(9, wbits=31)
    empty = b"".join(compressor.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    packed = compressor.compress(b"") + empty + b"\0\0\0\xff\xff" * 100_000 + compressor.flush()
    pieces = list(decoded(packed, "gzip", LIMIT))
    assert b"".join(pieces) == b""
    assert len(pieces) >= len(packed) // (64 << 10)


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_what_takes_too_long_is_cut(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter(range(1000))
    monkeypatch.setattr(time, "thread_time", lambda: float(next(spent)))
    with pytest.raises(DecodeFailed, match="too long"):
        decode_body(CODINGS[coding](bytes(8 << 20)), coding, 50 << 20)
