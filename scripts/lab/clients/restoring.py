"""Gets the text of a tool's output back from what was forwarded, and says how far that goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from itertools import combinations
from typing import Any

from headroom.transforms import lossless_compaction as headroom

from scripts.lab.clients.apis.parts import Body, Path
from tsheadroom.child.headroom import proofs
from tsheadroom.providers.shapes import shape_of
from tsheadroom.texts import jsontext, listings, pointers, terminal, wrappers

Item = dict[str, Any]  # an item as workers read it: a role and parts
Part = dict[str, Any]


class Restored(StrEnum):
    """How an output came back."""

    EXACT = "exact"  # to the letter
    SHOWN = "as shown"  # what a terminal would show of it
    VALUES = "values"  # JSON: the same values, in another layout or as a table
    LOST = "not restored"
    DANGLING = "dangling"  # a pointer in it leads nowhere


# What may have been done, beyond what a text shows: the steps that `pointers.expand` can undo.
_UNDONE = ("gutter", "repeat", "sparse")
_STEPS = tuple(
    chosen for count in range(len(_UNDONE) + 1) for chosen in combinations(_UNDONE, count)
)


def _as_is(text: str) -> str:
    return text


def _unfold_config(text: str) -> str:
    return headroom.expand_runs(headroom.unfold_repeated_blocks(text))


# Ours first: what Headroom's grouping looks like, ours may look like, too.
_UNGROUPED: tuple[Callable[[str], str], ...] = (
    _as_is,
    listings.unfold,
    headroom.search_unheading,
    headroom.search_dir_unheading,
    headroom.path_unheading,
    headroom.expand_runs,
    _unfold_config,
)


class Conversation:
    """The items of one request as it was forwarded."""

    def __init__(self, body: Body) -> None:
        shape = shape_of(body)
        items = body[shape.key] if shape else []
        self._items: list[Item] = [
            {"role": shape.role(item), "parts": list(shape.parts(item))}
            for item in (items if isinstance(items, list) else [])
            if shape
        ]

    def has_pointer(self, index: int, call: str) -> bool:
        """True if a line of the call's output in this item is a pointer."""
        part = self._part(index, call)
        return part is not None and any(map(pointers.parse, wrappers.payload_of(part).split("\n")))

    def resolves(self, index: int, call: str) -> bool:
        """True if all pointers in the call's output lead somewhere."""
        return pointers.expand(self._items, index, call) is not None

    def restored(self, index: int, call: str, before: Conversation) -> Restored:
        """How an output comes back; `before` is the same request as the client sent it."""
        part, old = self._part(index, call), before._part(index, call)
        if part is None or old is None:
            return Restored.LOST
        originals = [text for _, text in wrappers.pieces(old)]
        exact = wrappers.joined(originals)
        *head, last = (_mapped(text, terminal.screen) for text in originals)
        above = wrappers.joined([*head, ""])
        expanded = False
        for found in self._candidates(index, call, part):
            expanded = True
            if found == exact:
                return Restored.EXACT
            if found == above + last:
                return Restored.SHOWN
            if found.startswith(above) and _same_values(last, found[len(above) :]):
                return Restored.VALUES
        return Restored.LOST if expanded else Restored.DANGLING

    def places(self, index: int, call: str) -> set[Path]:
        """Where the texts of the call's output stand, from the item on."""
        part = self._part(index, call)
        return set() if part is None else {tuple(slot) for slot, _ in wrappers.pieces(part)}

    def _candidates(self, index: int, call: str, part: Part) -> Iterator[str]:
        """Yield what may be the original, the likeliest first."""
        for ungroup in _UNGROUPED:
            items = self._with(index, part, _mapped_part(part, ungroup))
            for steps in _STEPS:
                found = pointers.expand(items, index, call, steps)
                if found is not None:
                    yield found
        # What a pointer leads to may be grouped itself.
        found = pointers.expand(self._items, index, call)
        if found is not None:
            for ungroup in _UNGROUPED[1:]:
                yield _mapped(found, ungroup)

    def _part(self, index: int, call: str) -> Part | None:
        parts = self._items[index]["parts"] if index < len(self._items) else []
        wanted = (p for p in parts if p["kind"] == "tool_result" and p.get("call") == call)
        return next(wanted, None)

    def _with(self, index: int, old: Part, new: Part) -> Sequence[Item]:
        """The items with another part in place of this one."""
        item = self._items[index]
        parts = [new if part is old else part for part in item["parts"]]
        return [*self._items[:index], {**item, "parts": parts}, *self._items[index + 1 :]]


def _mapped(text: str, change: Callable[[str], str]) -> str:
    """A text with its payload changed, in the wrapper that a client put around it."""
    wrapped = wrappers.opened(text)
    return wrapped.close(change(wrapped.payload))


def _mapped_part(part: Part, change: Callable[[str], str]) -> Part:
    texts = [(slot, _mapped(text, change)) for slot, text in wrappers.pieces(part)]
    changed = {**part, "text": wrappers.joined(text for _, text in texts)}
    if part.get("pieces"):
        changed["pieces"] = [[slot, len(text)] for slot, text in texts]
    return changed


def _same_values(shown: str, found: str) -> bool:
    """True if both hold the same JSON, inside of the same wrapper."""
    one, two = wrappers.opened(shown), wrappers.opened(found)
    if (one.head, one.tail) != (two.head, two.tail):
        return _same_members(shown, found)
    return jsontext.minify(one.payload) == two.payload or proofs.same(one.payload, two.payload)


def _same_members(shown: str, found: str) -> bool:
    """True if both are JSON objects whose members are equal, or texts that hold the same JSON."""
    try:
        one, two = json.loads(shown), json.loads(found)
    except (ValueError, RecursionError):
        return False
    if not (isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys()):
        return False
    differing = [(value, two[key]) for key, value in one.items() if value != two[key]]
    return all(
        isinstance(was, str) and isinstance(now, str) and _same_values(was, now)
        for was, now in differing
    )
