"""The parts of an item as workers get them, the same for every provider and body shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

Json = Any  # a parsed JSON value; msgspec and json have no narrower type for it
Slot = tuple[str | int, ...]  # the path of keys and indexes from an item to one of its strings
Part = dict[str, Json]  # the functions below have its fields
# Types of items and blocks that stand for all that came before them. Codex uses the last two, too.
COMPACTIONS = frozenset(("compaction", "compaction_summary", "context_compaction"))


class Shape(Protocol):
    """One body shape. It has no state."""

    @property
    def key(self) -> str:
        """The name of the request body's member that has the conversation's items."""

    def by_model(self, role: str, kind: str, *, at_provider: bool = False) -> bool:
        """True if the model made an item with this `role` and `type`.

        `at_provider` is true if the item says that it is of a tool that ran there.
        """

    def role(self, item: Json) -> str:
        """The item's role: system, user, assistant or tool."""

    def parts(self, item: Json) -> Iterator[Part]:
        """Yield the parts for a worker. Images, thinking and unknown kinds are left out."""


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of a tool's output beside its text."""

    call: str  # the id of the call that it answers
    error: bool = False  # True if it is flagged as an error


def text(slot: Slot, value: str) -> Part:
    """Make a part of a text by a user, the system or the model."""
    return {"kind": "text", "slot": slot, "text": value}


def tool_use(call: Json, name: Json, arguments: Json) -> Part:
    """Make a part of a call that the model made; `arguments` is any JSON value."""
    return {"kind": "tool_use", "call": str(call), "name": str(name), "input": arguments}


def output(texts: Iterable[tuple[Slot, str]], result: Result) -> Iterator[Part]:
    """Yield the part of a tool's output, which is one however many texts it is made of.

    `texts` are where they stand and what they say. Several are joined by newlines; "pieces" then
    has the place of each and its length in characters. There is no part if there is no text.
    """
    found = list(texts)
    pieces = [(slot, value) for slot, value in found if value] or found[:1]
    if not pieces:
        return
    part = {
        "kind": "tool_result",
        "slot": pieces[0][0],
        "text": "\n".join(value for _, value in pieces),
        "call": result.call,
        "error": result.error,
    }
    if len(pieces) > 1:
        part["pieces"] = [[slot, len(value)] for slot, value in pieces]
    yield part


def forget() -> Part:
    """Make a part that says: the model does not see what stands before it any more."""
    return {"kind": "forget"}


def texts(slot: Slot, content: Json) -> Iterator[tuple[Slot, str]]:
    """Yield the text of a content that is a string, or each text of a list of parts."""
    if isinstance(content, str):
        yield slot, content
    elif isinstance(content, list):
        for index, part in enumerate(content):
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield (*slot, index, "text"), part["text"]


def strings(slot: Slot, value: Json) -> Iterator[tuple[Slot, str]]:
    """Yield each string in a JSON value, with its path. Raises RecursionError on deep nesting."""
    if isinstance(value, str):
        yield slot, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from strings((*slot, key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from strings((*slot, index), inner)
