"""A call's items as workers read them: a role and parts, the same for every provider."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from tsheadroom.aperture.call import HookCall
from tsheadroom.aperture.names import Digests
from tsheadroom.conversations.forms import Form, forwarded, token_of
from tsheadroom.providers.shapes import COMPACTIONS, Part, Slot
from tsheadroom.texts import wrappers

_T = TypeVar("_T")

# Bytes. To parse more takes longer than anybody may be kept waiting; nobody reads a text so long.
READABLE_BYTES = 4 << 20
# Levels of a call's input. Real ones have a few; what is nested deeper cannot be encoded again.
_MAX_DEPTH = 100


class Items:
    """The items of one call. In each of its forms an item is parsed once, when it is asked for.

    An item that cannot be read has no parts, so nobody touches it.
    """

    def __init__(self, call: HookCall, digests: Digests) -> None:
        self.call = call
        self.names = digests.names
        self._digests = digests
        self._read: dict[tuple[int, bytes], tuple[str, list[Part]]] = {}
        self._texts: dict[int, dict[Slot, str]] = {}
        self._outputs: dict[tuple[int, bytes], dict[Slot, Part]] = {}

    def canonical(self, index: int) -> bytes:
        """The item's bytes as its digest sees them: without breakpoints."""
        known = self._digests.canonical(index)
        return known.data if known else self.call.item(index)

    def role(self, index: int, form: Form | None) -> str:
        """system, user, assistant or tool."""
        return self._of(index, form)[0]

    def parts(self, index: int, form: Form | None) -> list[Part]:
        """The parts of the item as it goes out in `form`, or as the client sent it with None."""
        return self._of(index, form)[1]

    def text_at(self, index: int, slot: Sequence[Any]) -> str | None:
        """The text at a path inside the item, as the client sent it."""
        if index not in self._texts:
            parts = [p for p in self.parts(index, None) if p["kind"] in ("text", "tool_result")]
            self._texts[index] = {tuple(s): t for p in parts for s, t in wrappers.pieces(p)}
        return _found(self._texts[index], slot)

    def output(self, index: int, form: Form | None, slot: Sequence[Any]) -> Part | None:
        """The tool output whose first text is at this path."""
        key = (index, token_of(form))
        if key not in self._outputs:
            outputs = (p for p in self.parts(index, form) if p["kind"] == "tool_result")
            self._outputs[key] = {tuple(part["slot"]): part for part in outputs}
        return _found(self._outputs[key], slot)

    def written(self, index: int, form: Form | None, call: str, way: Sequence[Any]) -> str | None:
        """The text at a path inside the input of a tool call."""
        parts = self.parts(index, form)
        inputs = (p["input"] for p in parts if p["kind"] == "tool_use" and p["call"] == call)
        texts = (_inside(given, way) for given in inputs)  # an id may stand twice
        return next((text for text in texts if text is not None), None)

    @cached_property
    def first_seen(self) -> int:
        """The first item that the model still sees; 0 if nothing was compacted.

        A compaction stands for all items before it.
        """
        data, end, known = self.call.data, self.call.conversation[1], self.call.known
        start = known.resume if known and not known.is_compacted else self.call.conversation[0]
        newest = 0
        for name in COMPACTIONS:
            at = data.rfind(b'"%b"' % name.encode(), start, end)
            while at > start and (index := bisect_right(self._starts, at) - 1) > newest:
                if any(part["kind"] == "forget" for part in self.parts(index, None)):
                    newest = index
                at = data.rfind(b'"%b"' % name.encode(), start, self._starts[index])
        return newest

    @cached_property
    def _starts(self) -> list[int]:
        return [item[0] for item in self.call.items]

    def _of(self, index: int, form: Form | None) -> tuple[str, list[Part]]:
        key = (index, token_of(form))
        if key not in self._read:
            item = _decode(forwarded(form, self.canonical(index)))
            shape = self.call.shape
            try:
                self._read[key] = (shape.role(item), [_flattened(p) for p in shape.parts(item)])
            except RecursionError:
                self._read[key] = (shape.role(item), [])
        return self._read[key]


def _decode(item: bytes) -> Any:
    """The parsed item; None if msgspec cannot parse it (a lone surrogate, say)."""
    if len(item) > READABLE_BYTES:
        return None
    try:
        return msgspec.json.decode(item)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def _flattened(part: Part) -> Part:
    """The part, but without a call's input that is nested too deeply."""
    if part["kind"] == "tool_use" and _is_deep(part["input"], _MAX_DEPTH):
        return {**part, "input": None}
    return part


def _is_deep(value: Any, levels: int) -> bool:
    inside = [value] if isinstance(value, dict | list) else []
    while inside and levels:
        levels -= 1
        inside = [
            inner
            for outer in inside
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(inside)


def _found(by_slot: Mapping[Slot, _T], slot: Sequence[Any]) -> _T | None:
    try:
        return by_slot.get(tuple(slot))
    except TypeError:  # a list in it
        return None


def _inside(value: Any, path: Sequence[Any]) -> str | None:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value if isinstance(value, str) else None
