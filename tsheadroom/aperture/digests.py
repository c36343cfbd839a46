"""Names an item of a conversation by its content, whatever breakpoints the client puts on it.

Clients move `cache_control` in every turn. They spell a message as a string in one turn, and as a
list of one text block in the next. Both make no difference to what a provider caches or a model
reads, so they must make none to an item's name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

DIGEST_BYTES = 16  # 128 bits: two items never get the same digest by chance

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SPACE = rb"[ \t\n\r]*"
_MARKER = b'"cache_control"'
_MEMBER = re.compile(
    rb'"cache_control"%(s)s:%(s)s(?:\{(?:[^{}"]|%(string)s)*+\}|null)'
    % {b"s": _SPACE, b"string": _STRING}
)
_COMMA = re.compile(rb"%(s)s,%(s)s" % {b"s": _SPACE})
_ONE_TEXT_TIGHT = b'"content":[{"type":"text","text":'
_ONE_TEXT_SPACED = b'"content": [{"type": "text", "text": '
_SPACED = re.compile(rb'"role": ')
_LOOK = 1 << 16  # bytes that are looked at to learn how a client spells JSON
_CONTENT = b'"content"'
_ONE_TEXT = re.compile(
    rb'(?P<key>"content"%(s)s:%(s)s)\[%(s)s\{%(s)s"type"%(s)s:%(s)s"text"%(s)s,'
    rb'%(s)s"text"%(s)s:%(s)s(?P<text>%(string)s)%(s)s\}%(s)s\]'
    % {b"s": _SPACE, b"string": _STRING},
    re.DOTALL,
)


def canonical(item: bytes) -> bytes:
    """The bytes that a digest is made of: no `cache_control`, and one text block as a string.

    Returns `item` itself if there is nothing to change.
    """
    return _blocks_as_strings(_without_markers(item))


def _without_markers(item: bytes) -> bytes:
    """The item without its breakpoints, and without the comma before or after each of them."""
    parts: list[bytes] = []
    done = 0
    at = item.find(_MARKER)
    while at >= 0:
        member = _MEMBER.match(item, at)
        before = item[done:at].rstrip(b" \t\n\r")
        # A quote after a comma or a brace opens a key. Inside a string quotes are escaped, so no
        # text can look like this.
        if member and before.endswith((b",", b"{")):
            done = member.end()
            if before.endswith(b","):
                before = before[:-1]
            elif comma := _COMMA.match(item, done):
                done = comma.end()
            parts.append(before)
        at = item.find(_MARKER, at + len(_MARKER))
    return b"".join((*parts, item[done:])) if parts else item


def _blocks_as_strings(item: bytes) -> bytes:
    """The item with each "content" of a single text block as a string, also in tool results."""
    parts: list[bytes] = []
    done = 0
    at = item.find(_CONTENT)
    while at >= 0:  # find() is many times faster here than a regular expression over all of it
        one = _ONE_TEXT.match(item, at)
        if one:
            parts += (item[done:at], one["key"], one["text"])
            done = one.end()
        at = item.find(_CONTENT, one.end() if one else at + len(_CONTENT))
    return b"".join((*parts, item[done:])) if parts else item


def respelled(data: bytes, start: int, end: int) -> Iterator[int]:
    """Yield an offset inside each item that `canonical` changes, in no order, some perhaps twice.

    Two searches over the whole conversation are many times cheaper than looking into every item.
    The second one knows the two usual ways of spelling JSON. If a client uses a third one, and
    spells an item in two ways, the item is not recognised. That costs savings and nothing else.
    """
    yield from _found(data, _MARKER, start, end)
    spaced = _SPACED.search(data, start, min(end, start + _LOOK)) is not None
    one_text = _ONE_TEXT_SPACED if spaced else _ONE_TEXT_TIGHT
    for at in _found(data, one_text, start, end):
        if _ONE_TEXT.match(data, at):
            yield at


def _found(data: bytes, needle: bytes, start: int, end: int) -> Iterator[int]:
    at = data.find(needle, start, end)
    while at >= 0:
        yield at
        at = data.find(needle, at + len(needle), end)


def digest(item: bytes) -> bytes:
    """The name of an item, from its canonical bytes: 16 bytes of SHA-256.

    Processors have instructions for SHA-256, so it is the fastest good hash here.
    """
    return hashlib.sha256(item).digest()[:DIGEST_BYTES]


def names_of(items: Iterable[bytes]) -> list[bytes]:
    """The digest of each item; a call for each would cost a large conversation a millisecond."""
    sha256 = hashlib.sha256
    return [sha256(item).digest()[:DIGEST_BYTES] for item in items]
