"""Compresses and decompresses bodies: requests in zstd and gzip, answers in gzip.

Bodies are decoded in steps, so that memory is taken and threads are held a little at a time,
whatever the input claims. All that takes long here releases the GIL, so it can run in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import cast

import zstandard
from isal import igzip_lib

from tsheadroom.errors import TsheadroomError

# Each answer offers these to Aperture (RFC 7694). It uses the first one that it can.
ACCEPT_ENCODING = "zstd, gzip"

# ISA-L's levels are 0-3. 900 KB of agent conversation (2 cores): level 1 takes 1.4 ms and leaves
# 23.9%, level 3 3.0 ms and 22.1%; zlib's level 1 takes 7.8 ms and leaves 24.4%.
GZIP_LEVEL = 1

# The largest window that a frame may ask for: the body's limit of 50 MiB, rounded up to a power of
# two. No body within the limit needs more (Go's encoders use 8 MiB and less).
MAX_WINDOW_BYTES = 64 << 20

# A body of more zstd blocks than this is an attack: 50 MiB are 400 full blocks. Each one costs some
# microseconds, however little is in it.
MAX_ZSTD_BLOCKS = 1 << 14
# The same for gzip members and zstd frames. bgzip, which makes the smallest ones that are in use
# (64 KiB each), needs 800 for 50 MiB.
MAX_PARTS = 1 << 10

# The most that one step decodes, and that one step of gzip reads.
STEP_BYTES = 512 << 10
_STEP_READS = 64 << 10

# A processor's time for one body. 50 MiB of text take 0.2 s; what takes longer was made for that,
# such as a gzip stream of tables with no text behind them.
MAX_DECODE_SECONDS = 2.0

# The type stubs of isal say that its exception class is an instance.
_GZIP_ERROR = cast("type[Exception]", igzip_lib.IsalError)

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_MAGIC_BYTES = 4
# A skippable frame begins with 0x184D2A50 to 0x184D2A5F and its size. Readers pass over it.
_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"
_SKIPPABLE_NIBBLE = 5
_ZSTD_RLE_BLOCK = 1
_ZSTD_CHECKSUM_BYTES = 4


class UnsupportedEncoding(TsheadroomError):
    """The body has a Content-Encoding that this daemon does not offer."""


class DecodeFailed(TsheadroomError):
    """The body is damaged, cut short, followed by garbage, or larger than the limit."""


def coding_of(content_encoding: str | None) -> str:
    """The coding's name in lower case; "" if the body has none."""
    name = (content_encoding or "").strip().lower()
    return "" if name == "identity" else name


def decoded(body: bytes, content_encoding: str, limit: int) -> Iterator[bytes]:
    """Decode the body in steps: pieces of STEP_BYTES at most, some of them empty.

    Raises UnsupportedEncoding at once, and DecodeFailed from a step; so it does when there are more
    than `limit` bytes.

    A list of codings ("gzip, zstd") was never offered, so it is unsupported, as in the Go daemon.
    Aperture then sends the body again without any.
    """
    coding = coding_of(content_encoding)
    if coding == "zstd":
        return _bounded(_decode_zstd(memoryview(body)), limit)
    if coding == "gzip":
        return _bounded(_decode_gzip(memoryview(body)), limit)
    raise UnsupportedEncoding(f"content-encoding {coding[:64]} is not one of {ACCEPT_ENCODING}")


def encode_gzip(body: bytes) -> bytes:
    """Compress the body to one gzip member."""
    return igzip_lib.compress(body, level=GZIP_LEVEL, flag=igzip_lib.COMP_GZIP)


def accepts_gzip(accept_encoding: str | None) -> bool:
    """True if an Accept-Encoding header lists gzip and does not forbid it with q=0."""
    for entry in (accept_encoding or "").split(","):
        name, _, parameters = entry.partition(";")
        if name.strip().lower() == "gzip":
            return not _is_zero_weight(parameters)
    return False


def _is_zero_weight(parameters: str) -> bool:
    key, _, value = parameters.partition("=")
    if key.strip().lower() != "q":
        return False
    try:
        return float(value) == 0
    except ValueError:
        return False


def _bounded(steps: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """The same pieces, within the limits of size and of time."""
    size, spent = 0, 0.0
    while True:
        started = time.thread_time()  # each step may run in another thread
        piece = next(steps, None)
        if piece is None:
            return
        spent += time.thread_time() - started
        size += len(piece)
        if size > limit:
            raise DecodeFailed(f"the decoded body is larger than {limit} bytes")
        if spent > MAX_DECODE_SECONDS:
            raise DecodeFailed("the body takes too long to decode")
        yield piece


def _decode_gzip(body: memoryview) -> Iterator[bytes]:
    """Decode all gzip members of the body, as Go's reader does."""
    position, members = 0, 0
    while position < len(body) or not members:
        members = _counted(members, MAX_PARTS, "gzip: too many members")
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        while not member.eof:
            read = body[position : position + _STEP_READS] if member.needs_input else b""
            if member.needs_input and not read:
                raise DecodeFailed("gzip: the body is cut short")
            position += len(read)
            try:
                yield member.decompress(read, max_length=STEP_BYTES)
            except _GZIP_ERROR as error:
                raise DecodeFailed(f"gzip: {error}") from None
        position -= len(member.unused_data)


def _decode_zstd(body: memoryview) -> Iterator[bytes]:
    """Decode all zstd frames of the body, as Go's reader does."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    try:
        for frame in _zstd_frames(body):
            if 0 <= zstandard.frame_content_size(frame) <= STEP_BYTES:
                yield decompressor.decompress(frame)  # in one step, and without a window
                continue
            reader = decompressor.stream_reader(frame)
            while piece := reader.read(STEP_BYTES):
                yield piece
    except zstandard.ZstdError as error:
        raise DecodeFailed(f"zstd: {error}") from None


def _zstd_frames(body: memoryview) -> list[memoryview]:
    """Cut the body into its frames. Their headers say where each one ends.

    (The library's own readers do not notice when a body is cut short.)
    """
    frames: list[memoryview] = []
    position, blocks = 0, 0
    while position < len(body) or not position:
        start = position
        head = bytes(body[start : start + _ZSTD_MAGIC_BYTES])
        if head[1:] == _SKIPPABLE_MAGIC and head[0] >> 4 == _SKIPPABLE_NIBBLE:
            size = int.from_bytes(_exactly(body, start + _ZSTD_MAGIC_BYTES, 4), "little")
            position += 2 * _ZSTD_MAGIC_BYTES + size
            blocks = _counted(blocks, MAX_ZSTD_BLOCKS, "zstd: too many blocks")
            if position > len(body):
                raise DecodeFailed("zstd: the body is cut short")
            continue
        if head != _ZSTD_MAGIC:
            raise DecodeFailed("zstd: no frame where one should begin")
        position += zstandard.frame_header_size(body[start : start + 32])
        last = False
        while not last:
            header = int.from_bytes(_exactly(body, position, 3), "little")
            last = bool(header & 1)
            size = 1 if (header >> 1) & 3 == _ZSTD_RLE_BLOCK else header >> 3
            position += 3 + size
            blocks = _counted(blocks, MAX_ZSTD_BLOCKS, "zstd: too many blocks")
        if body[start + _ZSTD_MAGIC_BYTES] & 4:
            position += _ZSTD_CHECKSUM_BYTES
        if position > len(body):
            raise DecodeFailed("zstd: the body is cut short")
        _counted(len(frames), MAX_PARTS, "zstd: too many frames")
        frames.append(body[start:position])
    return frames


def _counted(number: int, most: int, complaint: str) -> int:
    if number >= most:
        raise DecodeFailed(complaint)
    return number + 1


def _exactly(body: memoryview, position: int, count: int) -> memoryview:
    piece = body[position : position + count]
    if len(piece) != count:
        raise DecodeFailed("zstd: the body is cut short")
    return piece
