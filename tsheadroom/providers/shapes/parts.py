"""What every body shape yields: the parts of an item, in the workers' provider-neutral form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

Json = Any  # a parsed JSON value; msgspec and json yield nothing narrower
Slot = tuple[str | int, ...]  # path of keys and indexes from the item to a JSON string
Part = dict[str, Json]  # workers/protocol.py has its fields


class Shape(Protocol):
    """One provider shape. Implementations are stateless."""

    @property
    def key(self) -> str:
        """The request body's member that holds the conversation's items."""

    def by_model(self, role: str, kind: str) -> bool:
        """Whether an item with this `role` and `type` was made by the model."""

    def role(self, item: Json) -> str:
        """system, user, assistant or tool."""

    def parts(self, item: Json) -> Iterator[Part]:
        """The parts that a worker should know; images, thinking and unknown kinds are left out."""


@dataclass(frozen=True, slots=True)
class Result:
    """Where a tool's output stands."""

    call: str
    error: bool = False


def text(slot: Slot, value: str) -> Part:
    """Prose of a user, the system or the model."""
    return {"kind": "text", "slot": slot, "text": value}


def tool_use(call: Json, name: Json, arguments: Json) -> Part:
    """A call the model made; `arguments` is any JSON value."""
    return {"kind": "tool_use", "call": str(call), "name": str(name), "input": arguments}


def tool_result(slot: Slot, value: str, result: Result) -> Part:
    """A tool's output."""
    return {
        "kind": "tool_result",
        "slot": slot,
        "text": value,
        "call": result.call,
        "error": result.error,
    }


def strings(slot: Slot, value: Json) -> Iterator[tuple[Slot, str]]:
    """Each string below a JSON value with its path. Raises RecursionError on absurd nesting."""
    if isinstance(value, str):
        yield slot, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from strings((*slot, key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from strings((*slot, index), inner)
