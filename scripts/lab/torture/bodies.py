"""Two JSON texts compared as bytes: which strings differ, and whether anything else does.

Nothing is parsed into objects, and nothing recurses: bodies may be as deep and odd as they like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass

Path = tuple[str | int, ...]

STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_TOKEN = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")|[\[\]{},:]', re.DOTALL)

_HALF = re.compile(rb"(\xed[\xa0-\xbf][\x80-\xbf])")
_ESCAPED = re.compile("[\udc80-\udcff]")


class Differs(Exception):
    """The texts differ elsewhere than in the values of strings."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A string that differs: where it stands, what it was and what it is."""

    path: Path
    old: str
    new: str


def edits(original: bytes, forwarded: bytes) -> list[Edit]:
    """The strings in which two JSON texts differ. Raises Differs if they differ otherwise."""
    if original == forwarded:
        return []
    if STRING.split(original) != STRING.split(forwarded):
        raise Differs("other bytes than those of strings differ")
    before, after = STRING.findall(original), STRING.findall(forwarded)
    changed = {n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new}
    found = {
        number: Edit(path, text(before[number]), text(after[number]))
        for number, path in places(original, changed)
    }
    names = changed - found.keys()
    if any(_is_utf8(before[n]) or text(before[n]) != text(after[n]) for n in names):
        raise Differs("the name of a member differs")
    # What is not UTF-8 may go out as the UTF-8 that every reader takes it for.
    return [e for n, e in found.items() if e.old != e.new or _is_utf8(before[n])]


def _is_utf8(string: bytes) -> bool:
    try:
        string.decode()
    except UnicodeDecodeError:
        return False
    return True


def text(string: bytes) -> str:
    """A JSON string as a lenient reader has it. Raises Differs if it is none."""
    try:
        value: str = json.loads(_lenient(string), strict=False)
    except ValueError as error:
        raise Differs(f"not a JSON string: {error}") from None
    return value


def _lenient(string: bytes) -> str:
    """Halves of surrogate pairs as they are, and U+FFFD for each other byte that is not UTF-8."""
    try:
        return string.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return "".join(
            piece.decode("utf-8", "surrogatepass")
            if number % 2
            else _ESCAPED.sub("\N{REPLACEMENT CHARACTER}", piece.decode("utf-8", "surrogateescape"))
            for number, piece in enumerate(_HALF.split(string))
        )


def places(raw: bytes, wanted: Container[int]) -> Iterator[tuple[int, Path]]:
    """Yield each wanted string that is a value: its number among all strings, and its path."""
    number = -1
    path: list[str | int] = []
    objects: list[bool] = []  # for each open container whether it is an object
    key = False  # True where the next string names a member
    for token in _TOKEN.finditer(raw):
        string, what = token[1], token[0]
        if string is not None:
            number += 1
            if key:
                path[-1] = string.decode("utf-8", "replace")[1:-1]
            elif number in wanted:
                yield number, tuple(path)
        elif what in (b"{", b"["):
            objects.append(what == b"{")
            path.append("" if objects[-1] else 0)
            key = objects[-1]
        elif what in (b"}", b"]"):
            if not objects:
                return
            objects.pop()
            path.pop()
            key = False
        elif what == b":":
            key = False
        elif objects and objects[-1]:
            key = True
        elif objects:
            last = path[-1]
            path[-1] = last + 1 if isinstance(last, int) else 0


def member(raw: bytes, name: bytes) -> bytes | None:
    """The value of an object's member as it is spelled; of several with one name the last."""
    depth, key, start, found = 0, b"", -1, None
    for token in _TOKEN.finditer(raw):
        what = token[0]
        if what in (b"{", b"["):
            depth += 1
        elif what in (b"}", b"]"):
            depth -= 1
        if depth == 1 and what == b":" and start < 0:
            start = token.end()
        elif depth == 1 and start < 0:
            key = what
        elif (depth == 1 and what == b",") or depth == 0:
            if start >= 0 and key == b'"' + name + b'"':
                found = raw[start : token.start()].strip()
            start = -1
    return found
