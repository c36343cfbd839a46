"""Compresses and decompresses bodies: requests in zstd and gzip, answers in gzip.

All that takes long here releases the GIL, so it can run in a thread. Whatever the input claims, no
more decoded bytes than the limit are ever held in memory.
"""

from __future__ import annotations

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

# A body of more zstd blocks than this is an attack: 50 MiB are 400 full blocks.
MAX_ZSTD_BLOCKS = 1 << 16

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


def decode_body(body: bytes, content_encoding: str | None, limit: int) -> bytes:
    """Decode the body, to at most `limit` bytes. Raises UnsupportedEncoding or DecodeFailed.

    A list of codings ("gzip, zstd") was never offered, so it is unsupported, as in the Go daemon.
    Aperture then sends the body again without any.
    """
    coding = coding_of(content_encoding)
    if not coding:
        if len(body) > limit:
            raise _too_large(limit)
        return body
    if coding == "zstd":
        return _decode_zstd(body, limit)
    if coding == "gzip":
        return _decode_gzip(body, limit)
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


def _too_large(limit: int) -> DecodeFailed:
    return DecodeFailed(f"the decoded body is larger than {limit} bytes")


def _decode_gzip(body: bytes, limit: int) -> bytes:
    """Decode all gzip members of the body, as Go's reader does."""
    parts: list[bytes] = []
    size, rest = 0, body
    while rest or not parts:
        member, rest = _gzip_member(rest, limit - size, limit)
        parts.append(member)
        size += len(member)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _gzip_member(data: bytes, room: int, limit: int) -> tuple[bytes, bytes]:
    decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    try:
        decoded = decompressor.decompress(data, max_length=room + 1)
    except _GZIP_ERROR as error:
        raise DecodeFailed(f"gzip: {error}") from None
    if len(decoded) > room:
        raise _too_large(limit)
    if not decompressor.eof:
        raise DecodeFailed("gzip: the body is cut short")
    return decoded, decompressor.unused_data


def _decode_zstd(body: bytes, limit: int) -> bytes:
    """Decode all zstd frames of the body, as Go's reader does."""
    parts: list[bytes] = []
    room = limit
    try:
        for frame in _zstd_frames(body):
            parts.append(_zstd_frame(frame, room, limit))
            room -= len(parts[-1])
    except zstandard.ZstdError as error:
        raise DecodeFailed(f"zstd: {error}") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _zstd_frame(frame: bytes, room: int, limit: int) -> bytes:
    claimed = zstandard.frame_content_size(frame)
    if claimed > room:
        raise _too_large(limit)
    # For a frame without a size the buffer has all the room. Only what is written takes memory.
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    decoded = decompressor.decompress(frame, max_output_size=room + 1)
    if len(decoded) > room:
        raise _too_large(limit)
    return decoded


def _zstd_frames(body: bytes) -> list[bytes]:
    """Cut the body into its frames. Their headers say where each one ends.

    (The library's own readers do not notice when a body is cut short.)
    """
    frames: list[bytes] = []
    position, blocks = 0, 0
    while position < len(body) or not position:
        start = position
        head = body[start : start + _ZSTD_MAGIC_BYTES]
        if head[1:] == _SKIPPABLE_MAGIC and head[0] >> 4 == _SKIPPABLE_NIBBLE:
            size = int.from_bytes(_exactly(body, start + _ZSTD_MAGIC_BYTES, 4), "little")
            position += 2 * _ZSTD_MAGIC_BYTES + size
            blocks = _counted(blocks)
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
            blocks = _counted(blocks)
        if body[start + _ZSTD_MAGIC_BYTES] & 4:
            position += _ZSTD_CHECKSUM_BYTES
        if position > len(body):
            raise DecodeFailed("zstd: the body is cut short")
        whole = start == 0 and position == len(body)
        frames.append(body if whole else body[start:position])
    return frames


def _counted(blocks: int) -> int:
    if blocks >= MAX_ZSTD_BLOCKS:
        raise DecodeFailed("zstd: too many blocks")
    return blocks + 1


def _exactly(body: bytes, position: int, count: int) -> bytes:
    piece = body[position : position + count]
    if len(piece) != count:
        raise DecodeFailed("zstd: the body is cut short")
    return piece
