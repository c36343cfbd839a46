"""What is not UTF-8 in a call. JSON has to be (RFC 8259), but neither Aperture nor we insist on it.

A call that is not is read as it came, and its items are named by the bytes that the client sent.
What goes out in place of its body is UTF-8: a strict reader would refuse an answer with these bytes
in it, and the forms that the provider has cached would be lost.
"""

from __future__ import annotations

import codecs
import re

_WINDOW = 1 << 20  # bytes that are decoded in one step, in a millisecond
MAX_MENDED = 1 << 16  # places; each makes the answer two or three bytes longer

# Python decodes each byte that is no UTF-8 to one of U+DC80 to U+DCFF.
_NOT_UTF8 = re.compile("\udced([\udca0-\udcbf])([\udc80-\udcbf])|[\udc80-\udcff]")


def is_utf8(data: bytes) -> bool:
    """True if all of it is UTF-8."""
    if data.isascii():
        return True
    at = 0
    try:
        while at < len(data):
            stop = at + _WINDOW
            at += codecs.utf_8_decode(data[at:stop], "strict", stop >= len(data))[1]
    except UnicodeDecodeError:
        return False
    return True


def mended(json: bytes) -> bytes | None:
    """The same JSON in UTF-8, as a lenient reader understands it; None if it is hardly text at all.

    Go's decoder, and those of most languages, reads each such byte as U+FFFD, so that is written.
    Half of a surrogate pair, in three bytes, becomes the escape that JSON has for it: that is UTF-8
    in any case, and no reader gets another text than from the bytes.
    """
    pieces: list[bytes] = []
    at = places = 0
    while at < len(json):
        stop = at + _WINDOW
        text, used = codecs.utf_8_decode(json[at:stop], "surrogateescape", stop >= len(json))
        text, count = _NOT_UTF8.subn(_stand_in, text)
        pieces.append(text.encode())
        at += used
        places += count
        if places > MAX_MENDED:
            return None
    return b"".join(pieces)


def _stand_in(found: re.Match[str]) -> str:
    if found[1] is None:
        return "\N{REPLACEMENT CHARACTER}"
    return f"\\ud{(ord(found[1]) & 0x3F) << 6 | ord(found[2]) & 0x3F:03x}"
