"""Where in a conversation the old text of an agent's edit stands, and how far back.

An agent that edits a file copies the words that it replaces from what it has read. An edit is
located if its old text stands, in one piece, in some earlier text of the conversation: a tool's
output (with or without the line numbers in it), a text that the agent itself wrote in a tool's
input, or a text of the user's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tsheadroom.providers.shapes import Json, Part, Shape, shape_of
from tsheadroom.simulate.blocks import Blocks, Counter
from tsheadroom.simulate.requests import KEYS
from tsheadroom.texts.naming import ToolCalls
from tsheadroom.texts.tools import path_of, replaced_texts, written_texts

# How tools set off a line's number: `     1→text`, `1<tab>text`, `1: text`, `00001| text`; then
# `1:text`. They are taken off wherever they seem to stand: a view may show a tenth of its numbers.
_NUMBERS = (
    re.compile(r"^ *\d{1,9}(?:→|\t|: |\| )", re.MULTILINE),
    re.compile(r"^ *\d{1,9}:", re.MULTILINE),
)
_PATCH_WORDS = "*** Begin Patch"


@dataclass(frozen=True, slots=True)
class FileEdit:
    """One edit of an agent's: the text that it replaces, and which call it is in."""

    item: int
    tool: str
    path: str
    old: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands: which text of which item, and how many tokens before the edit."""

    item: int
    text: int  # which of the item's texts, from 0
    source: str  # the tool call whose output or input it is, such as `Read lib/a.py`
    distance: int  # tokens from its end to the end of the request


@dataclass(frozen=True, slots=True)
class _Text:
    source: str
    variants: tuple[str, ...]  # as it stands, and without line numbers

    def end_of(self, old: str) -> tuple[int, str] | None:
        """Where the last occurrence ends, and in which variant of the text; None if it has none."""
        for variant in self.variants:
            at = variant.rfind(old)
            if at >= 0:
                return at + len(old), variant
        return None


class Reader:
    """Reads the items of one conversation for texts that an edit may have been copied from."""

    def __init__(self, shape: str, items: Sequence[Json], counter: Counter, blocks: Blocks) -> None:
        """`items` are all of the conversation, as the client sends it."""
        found = shape_of((KEYS[shape],))
        assert found is not None
        self._shape: Shape = found
        self._messages = shape == "messages"
        self._counter = counter
        self._blocks = blocks
        self._known: dict[bytes, list[_Text]] = {}
        self._calls = {
            part["call"]: _label(part)
            for item in items
            for part in self._parts_of(item)
            if part["kind"] == "tool_use"
        }

    def edits(self, item: bytes, index: int) -> list[FileEdit]:
        """The edits in one item that the model made."""
        return [
            FileEdit(index, str(part["name"]), _path(part["input"]), old)
            for part in self._parts(item)
            if part["kind"] == "tool_use"
            for old in map(_unix, replaced_texts(str(part["name"]), part["input"]))
            if old.strip()
        ]

    def latest(self, old: str, items: Sequence[bytes]) -> Place | None:
        """The place nearest to the end of these items where a text stands in one piece."""
        after = 0
        for index in range(len(items) - 1, -1, -1):
            texts = self._texts(items[index])
            for number in range(len(texts) - 1, -1, -1):
                found = texts[number].end_of(old)
                if found is not None:
                    end, variant = found
                    rest = self._counter.text(variant[end:])
                    rest += sum(self._counter.text(t.variants[0]) for t in texts[number + 1 :])
                    return Place(index, number, texts[number].source, after + rest)
            after += sum(b.tokens for b in self._blocks.of(items[index], messages=self._messages))
        return None

    def _texts(self, item: bytes) -> list[_Text]:
        found = self._known.get(item)
        if found is None:
            found = self._known[item] = list(self._read(item))
        return found

    def _read(self, item: bytes) -> Iterator[_Text]:
        value = _decoded(item)
        role = self._shape.role(value)
        for part in self._parts(item):
            if part["kind"] == "tool_result":
                source = self._calls.get(part["call"], "")
                yield _Text(source, tuple(_variants(part["text"])))
            elif part["kind"] == "text" and role != "assistant":
                yield _Text("text", tuple(_variants(part["text"])))
            elif part["kind"] == "tool_use":
                for text in _written(part["input"]):
                    yield _Text(f"your {_label(part)}", (_unix(text),))

    def text_at(self, item: bytes, number: int) -> str:
        """The text of this number in an item, as it stands there; "" if there is none."""
        texts = self._texts(item)
        return texts[number].variants[0] if number < len(texts) else ""

    def _parts(self, item: bytes) -> list[Part]:
        return self._parts_of(_decoded(item))

    def _parts_of(self, item: Json) -> list[Part]:
        try:
            return list(self._shape.parts(item))
        except RecursionError:
            return []


def _decoded(item: bytes) -> Json:
    return json.loads(item.decode("utf-8", "surrogatepass"))


def _variants(text: str) -> Iterator[str]:
    """A text as it stands, and as an agent reads it: without numbers, out of its wrapper."""
    text = _unix(text)
    for inner in (text, *_wrapped(text)):
        yield inner
        for numbers in _NUMBERS:
            if numbers.search(inner):
                yield numbers.sub("", inner)


def _wrapped(text: str) -> Iterator[str]:
    """The texts inside a JSON object that stands for an output, as some agents send them."""
    if not (text.startswith("{") and text.rstrip().endswith("}")):
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    for inner in value.values():
        if isinstance(inner, str) and "\n" in inner:
            yield _unix(inner)


def _written(inputs: Any) -> Iterator[str]:
    """What a call writes into files. Of a patch that are the lines as they are afterwards."""
    yield from (text for _, text in written_texts(inputs))
    for text in inputs.values() if isinstance(inputs, Mapping) else (inputs,):
        if isinstance(text, str) and _PATCH_WORDS in text:
            lines = (line[1:] for line in text.split("\n") if line[:1] in ("+", " "))
            yield "\n".join(lines)


def _path(inputs: Any) -> str:
    return path_of(inputs) if isinstance(inputs, Mapping) else ""


def _label(part: Part) -> str:
    call = ToolCalls().add(part)
    return f"{call.tool} {call.path or call.label}"


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")
