"""Aperture's HookMetadata: who calls, through which provider, for which model."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

import msgspec

from tsheadroom.aperture import slices

_BYPASS = "tsheadroom"  # the query parameter with which a caller opts out
_BYPASS_WORDS = frozenset({"off", "bypass", "false", "0"})


class Metadata(msgspec.Struct, frozen=True):
    """The part of HookMetadata that is used. A null is read as empty, as in Go.

    `provider` is the operator's own key in Aperture's configuration. It names no vendor.
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


_METADATA = msgspec.json.Decoder(Metadata)


def read_metadata(data: bytes, members: Mapping[str, slices.Span]) -> Metadata:
    """Read the metadata of a HookCallData with these members; empty if it has none.

    Raises SplitError if it is not what Aperture sends.
    """
    span = members.get("metadata")
    raw = data[span[0] : span[1]] if span else b"null"
    if raw == b"null":
        return Metadata()
    try:
        return _METADATA.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise slices.SplitError(f"the metadata cannot be read: {error}") from error


def find_metadata(data: bytes) -> Metadata | None:
    """Read the metadata of a HookCallData, whatever else is in it; None if that is not possible."""
    try:
        return read_metadata(data, slices.members(data))
    except slices.SplitError:
        plain = slices.without_lone_surrogates(data)
    try:
        return None if plain is data else read_metadata(plain, slices.members(plain))
    except slices.SplitError:
        return None
