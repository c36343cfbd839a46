"""Aperture's HookMetadata: who calls, through which provider, for which model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import parse_qs

import msgspec

from tsheadroom.aperture import slices
from tsheadroom.aperture.walk import Walk

_BYPASS = "tsheadroom"  # the query parameter with which a caller opts out
_BYPASS_WORDS = frozenset({"off", "bypass", "false", "0"})


# Characters. A longer text of the metadata is cut, and gets a digest that tells it from those that
# begin alike. So it can be kept and compared, and takes no more memory than others.
MAX_TEXT = 256
_KEPT = 64
# Of a URL that is longer, the end says nothing. HTTP servers refuse longer request lines.
MAX_URL = 8192


class Metadata(msgspec.Struct, frozen=True):
    """The part of HookMetadata that is used. A null is read as empty, as in Go.

    `provider` is the operator's own key in Aperture's configuration. It names no vendor. No text is
    longer than MAX_TEXT, and `url` than MAX_URL.
    """

    provider: str | None = ""
    model: str | None = ""
    session_id: str | None = ""
    request_id: str | None = ""
    login_name: str | None = ""
    url: str | None = ""
    estimated_cost: msgspec.Raw = msgspec.Raw(b"")

    @property
    def bypassed(self) -> bool:
        """True if the caller wants this one request to be left alone.

        Aperture's pages show URLs without a query, so it may never arrive.
        """
        query = (self.url or "").partition("#")[0].partition("?")[2]
        asked = parse_qs(query).get(_BYPASS, []) if _BYPASS in query else []
        return any(word.lower() in _BYPASS_WORDS for word in asked)


# One escape sequence; a pair of surrogates counts as one. Every escape has to match in turn, or an
# escaped backslash before a "u" would look like an escape.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_STAND_IN = rb"\u003f"  # as long as the escape of a lone surrogate, so that offsets stay the same

_METADATA = msgspec.json.Decoder(Metadata)
_LONGEST = 1 << 20  # bytes in which lone surrogates are looked for; Aperture sends some hundreds


def read_metadata(data: bytes, members: Mapping[str, slices.Span]) -> Metadata:
    """Read the metadata of a HookCallData with these members; empty if it has none.

    Long texts are cut. Raises SplitError if it is not what Aperture sends.
    """
    span = members.get("metadata")
    raw = data[span[0] : span[1]] if span else b"null"
    if raw == b"null":
        return Metadata()
    try:
        return _bounded(_METADATA.decode(without_lone_surrogates(raw)))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise slices.SplitError("the metadata cannot be read") from error


def short(text: str) -> str:
    """The text, if it has at most MAX_TEXT characters; else its beginning and a digest of it."""
    if len(text) <= MAX_TEXT:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
    return f"{text[:_KEPT]}~{digest.hexdigest()}"


def _bounded(read: Metadata) -> Metadata:
    names = ("provider", "model", "session_id", "request_id", "login_name")
    long = {
        name: short(text) for name in names if len(text := getattr(read, name) or "") > MAX_TEXT
    }
    if len(read.url or "") > MAX_URL:
        long["url"] = (read.url or "")[:MAX_URL]
    return msgspec.structs.replace(read, **long) if long else read


def without_lone_surrogates(data: bytes) -> bytes:
    r"""The same JSON, of the same length, with `\u003f` where a lone surrogate was escaped.

    msgspec refuses a whole document for one lone surrogate. Returns `data` itself if there is none,
    or if it is far longer than Aperture's metadata.
    """
    if len(data) > _LONGEST or b"\\ud" not in data.lower():
        return data
    fixed = _ESCAPE.sub(lambda m: _STAND_IN if m.group("lone") else m.group(0), data)
    return data if fixed == data else fixed


def find_metadata(data: bytes) -> Metadata | None:
    """Read the metadata of a HookCallData, whatever else is in it; None if that is not possible."""
    walk, seen = Walk(data), set()
    try:
        for key in walk.members():
            span = walk.skip()
            if key == b'"metadata"':  # Aperture puts it first
                return read_metadata(data, {"metadata": span})
            if key in seen:
                return None
            seen.add(key)
    except slices.SplitError:
        return None
    return Metadata()
