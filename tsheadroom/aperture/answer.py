"""Builds the hook's answer: allow, or modify with changes spliced into the client's bytes."""

from __future__ import annotations

from collections.abc import Sequence

from tsheadroom.aperture.call import HookCall

ALLOW = b'{"action":"allow"}\n'
_MODIFY = b'{"action":"modify","request_body":'

Change = tuple[int, int, bytes]  # start, end, new bytes; offsets into HookCall.data


def modify(call: HookCall, changes: Sequence[Change]) -> bytes:
    """Build the answer that changes the body. `changes` are sorted, and none overlaps another."""
    parts = [_MODIFY]
    at, stop = call.body
    for start, end, new in changes:
        parts += (call.data[at:start], new)
        at = end
    parts += (call.data[at:stop], b"}\n")
    return b"".join(parts)


def grown_by(changes: Sequence[Change]) -> int:
    """How many bytes longer the changes make the conversation; negative if it gets shorter."""
    return sum(len(new) - (end - start) for start, end, new in changes)
