"""Forms: what is forwarded in place of an item's texts. Making, checking and splicing them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from tsheadroom.aperture import slices as split
from tsheadroom.aperture.digests import Moves
from tsheadroom.errors import TsheadroomError
from tsheadroom.providers.shapes.parts import Slot

# Markers that only Headroom's retrieval tool can resolve. A hook cannot offer that tool.
_DANGLING = re.compile(r"<<ccr:|Retrieve (?:more|original)\b|headroom_retrieve|hash=[0-9a-f]{8,}")
_ITEM_OVERHEAD = 96  # bytes of a Python object's header and slots, for the memory bound


class Refused(TsheadroomError):
    """A form may not be used. The item then goes out as the client sent it."""


# A ledger holds very many of the next three, and no cycle goes through one: gc=False keeps them out
# of what Python's collector looks at.
class Target(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The item that a pointer points at, with what a splice needs to check that it still does."""

    item: int
    digest: bytes  # of the target item as the client sent it
    token: bytes  # of the form in which the target was forwarded, b"" for none


class Edit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One text of an item and what was forwarded in its place."""

    slot: Slot
    start: int  # of the JSON string in the item's canonical bytes
    end: int
    new: bytes  # the JSON string that replaces it, quotes included


class Form(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How one item is forwarded. It stays the same for as long as the conversation lives."""

    token: bytes  # the form's name, 16 bytes; workers give it the same name
    edits: tuple[Edit, ...]
    targets: tuple[Target, ...]
    tokens_saved: int

    @property
    def size(self) -> int:
        """Roughly how many bytes it takes in memory."""
        edits = sum(2 * _ITEM_OVERHEAD + len(edit.new) for edit in self.edits)
        return _ITEM_OVERHEAD + edits + 2 * _ITEM_OVERHEAD * len(self.targets)


class ProposedEdit(msgspec.Struct, frozen=True):
    """What a worker proposes for one text, decoded from its reply."""

    slot: Slot
    text: str
    original: str
    targets: tuple[int, ...] = ()


def build(
    canonical: bytes,
    token: bytes,
    edits: Iterable[ProposedEdit],
    target: Callable[[int], Target],
    tokens_saved: int,
) -> Form:
    """Make a form of these edits of an item. Raises Refused.

    `canonical` are the item's bytes as its digest sees them. `target` gives the Target for the
    index of an item.
    """
    made: list[Edit] = []
    targets: dict[int, Target] = {}
    places = split.Places(canonical)
    for edit in edits:
        span = places.find(edit.slot)
        if span is None:
            raise Refused(f"there is no text at its slot, {len(edit.slot)} steps deep")
        new = _encoded(edit.text)
        if len(new) >= span[1] - span[0]:
            raise Refused("the form is not smaller than the text")
        if _DANGLING.search(edit.text) and not _DANGLING.search(edit.original):
            raise Refused("the form holds a marker that nothing can resolve")
        made.append(Edit(tuple(edit.slot), span[0], span[1], new))
        targets |= {index: target(index) for index in edit.targets}
    if not made:
        raise Refused("the form changes nothing")
    made.sort(key=lambda edit: edit.start)
    return Form(token, tuple(made), tuple(targets.values()), tokens_saved)


def stands(form: Form, digests: Sequence[bytes], forms: Mapping[int, Form]) -> bool:
    """True if all that the form points at stands unchanged in this outgoing body.

    `digests` were computed from the bytes of this very body, and `forms` are spliced into it. When
    the form was made, its pointers were checked line by line. If the digests and forms of their
    targets are still the same, the lines still stand there.
    """
    return all(
        target.item < len(digests)
        and digests[target.item] == target.digest
        and token_of(forms.get(target.item)) == target.token
        for target in form.targets
    )


def of_items(forms: Mapping[int, Form], first: int, end: int) -> dict[int, Form]:
    """The forms of the items from `first` to before `end`, for the price of the shorter look."""
    if end - first < len(forms):
        return {i: forms[i] for i in range(first, end) if i in forms}
    return {i: form for i, form in forms.items() if first <= i < end}


def token_of(form: Form | None) -> bytes:
    """The form's name; b"" for an item that goes as the client sent it."""
    return form.token if form else b""


def changes(form: Form, offset: int, moves: Moves | None) -> list[tuple[int, int, bytes]]:
    """The splices that put the form into a body that has the item at `offset`.

    `moves` lead from the item's canonical bytes to the client's own; None if they are equal.
    """
    found: list[tuple[int, int, bytes]] = []
    for edit in form.edits:
        span = edit.start, edit.end
        start, end = moves.in_clients_bytes(span) if moves else span
        found.append((offset + start, offset + end, edit.new))
    return found


def forwarded(form: Form | None, canonical: bytes) -> bytes:
    """The item's canonical bytes with its form spliced in, which is what the provider got."""
    if form is None:
        return canonical
    parts: list[bytes] = []
    at = 0
    for edit in form.edits:
        parts += (canonical[at : edit.start], edit.new)
        at = edit.end
    return b"".join((*parts, canonical[at:]))


def _encoded(text: str) -> bytes:
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError as error:
        raise Refused("the form holds a lone surrogate") from error


def digest_of(parts: Iterable[bytes]) -> bytes:
    """The name of a sequence of digests: a prefix of a conversation."""
    chain = hashlib.blake2b(digest_size=16)
    for part in parts:
        chain.update(part)
    return chain.digest()
