"""Lines that come again within one output: a compiler's warning, the same stack, a line of a log.

    [4 lines again, from "warning: using single-quoted strings to"]
    [4 lines again, from #3 "warning: using single-quoted strings to"]
    [the line above 39 times more]

The quotation is the beginning of the first of these lines, indentation aside, so that a reader
finds them without counting. Where several lines that stand in the text begin so, `#3` says the
third of them is meant; without a number it is the first.
Standard library only, because the daemon checks folds of such outputs by the same rule.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import chain

BLOCK = 3  # lines by which a repeat is looked up, as in Headroom's own fold of repeated blocks
MIN_SAVED = 80  # characters less by one line, or it is not worth the reader's while
MIN_RUN = 80  # characters of the same line, again and again
MAX_LINES = 20_000  # a longer output is nobody's reading
_QUOTED = 40  # characters of a quotation
_KEY = 12  # characters of the shortest one, and by which it is looked up
_CANDIDATES = 64  # lines kept for short quotations of one beginning, so that looking is bounded
_LINE = re.compile(
    r'\[(\d{1,9}) lines? again, from (?:#(\d{1,9}) )?"(.+)"\]'
    r"|\[the line above (\d{1,9}) times more\]"
)
_IMITATION = re.compile(r'\d lines? again, from (?:#\d+ )?"|\[the line above \d+ times more\]')


class _Beginnings:
    """Which lines of an output, among those that stand in the text itself, begin with what."""

    def __init__(self) -> None:
        self._long: dict[str, list[int]] = {}
        self._short: dict[str, list[tuple[int, str]]] = {}

    def add(self, at: int, line: str) -> None:
        stripped = line.strip()
        if len(stripped) >= _QUOTED:
            self._long.setdefault(stripped[:_QUOTED], []).append(at)
        same = self._short.setdefault(stripped[:_KEY], [])
        if len(same) < _CANDIDATES:
            same.append((at, stripped))

    def find(self, quotation: str, ordinal: int) -> int | None:
        """The line that is the n-th to begin so, counted from 1."""
        places = self._places(quotation)
        return places[ordinal - 1] if 0 < ordinal <= len(places) else None

    def ordinal(self, quotation: str, at: int) -> int:
        """The number of a line among those that begin so; 0 if it cannot be quoted like that."""
        places = self._places(quotation)
        found = bisect_left(places, at)
        return found + 1 if found < len(places) and places[found] == at else 0

    def _places(self, quotation: str) -> Sequence[int]:
        if len(quotation) == _QUOTED:
            return self._long.get(quotation, ())
        same = self._short.get(quotation[:_KEY], ())
        return [at for at, line in same if line.startswith(quotation)]


class _Folder:
    """Goes through the lines of an output once, and says what may stand for the next ones."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._kept = [True] * len(lines)  # True for a line that stands in the outgoing text itself
        self._blocks: dict[tuple[str, ...], int] = {}
        self._beginnings = _Beginnings()

    def keep(self, at: int) -> None:
        """The line stands in the text, and may be quoted from now on."""
        self._beginnings.add(at, self._lines[at])
        for start in range(at, max(-1, at - BLOCK), -1):
            if not self._kept[start]:
                break
            self._blocks.setdefault(tuple(self._lines[start : at + 1]), start)

    def drop(self, at: int, count: int) -> None:
        """Another line stands for these."""
        self._kept[at : at + count] = [False] * count

    def run(self, at: int) -> tuple[str, int]:
        """What stands for the lines from here on that equal the one before, and their number.

        The number is 0 if they are not worth it.
        """
        if at == 0 or not self._kept[at - 1]:
            return "", 0
        lines, count = self._lines, 0
        while at + count < len(lines) and lines[at + count] == lines[at - 1]:
            count += 1
        worth = count * (len(lines[at - 1]) + 1) >= MIN_RUN
        return (f"[the line above {count} times more]", count) if worth else ("", 0)

    def again(self, at: int) -> tuple[str, int]:
        """The same for the longest block from here on that came before."""
        quotation = self._lines[at].strip()[:_QUOTED].rstrip()
        line, count = "", 0
        if len(quotation) < _KEY:
            return "", 0  # before anything is compared: a long output may be full of short lines
        for first in self._firsts(at):
            ordinal = self._beginnings.ordinal(quotation, first)
            common = self._common(first, at) if ordinal else 0
            if common > count:
                line, count = _render(common, ordinal, quotation), common
        saved = sum(map(len, self._lines[at : at + count])) + count - 1 - len(line)
        return (line, count) if saved >= MIN_SAVED else ("", 0)

    def _firsts(self, at: int) -> list[int]:
        """Where the lines from here on stand first: one, two, three of them."""
        blocks = (tuple(self._lines[at : at + size]) for size in range(1, BLOCK + 1))
        return sorted({self._blocks[block] for block in blocks if block in self._blocks})

    def _common(self, first: int, at: int) -> int:
        lines, count = self._lines, 0
        while (
            at + count < len(lines)
            and first + count < at
            and self._kept[first + count]
            and lines[first + count] == lines[at + count]
        ):
            count += 1
        return count


def fold(text: str) -> str:
    """The text with blocks of lines that came before replaced by a line that quotes the first.

    The same text if nothing comes again, or if it holds something like such a line already.
    """
    lines = text.split("\n")
    if not 2 <= len(lines) <= MAX_LINES or imitated(text):
        return text
    out: list[str] = []
    folder, at = _Folder(lines), 0
    while at < len(lines):
        line, count = folder.run(at)
        if not count:
            line, count = folder.again(at)
        if count:
            folder.drop(at, count)
        else:
            line, count = lines[at], 1
            folder.keep(at)
        out.append(line)
        at += count
    folded = "\n".join(out)
    return folded if len(folded) < len(text) and unfold(folded) == text else text


def _render(count: int, ordinal: int, quotation: str) -> str:
    lines = "line" if count == 1 else "lines"
    which = f"#{ordinal} " if ordinal > 1 else ""
    return f'[{count} {lines} again, from {which}"{quotation}"]'


def unfold(text: str) -> str:
    """The text with every line of `fold` replaced by the lines that it stands for."""
    return "\n".join(chain.from_iterable(meanings(text.split("\n"))))


def meanings(lines: Iterable[str]) -> list[list[str]]:
    """For each line of a text what it stands for: itself, or lines before it if `fold` made it."""
    out: list[str] = []
    found: list[list[str]] = []
    beginnings = _Beginnings()
    for line in lines:
        match = _LINE.fullmatch(line)
        count = int(match[1] or match[4]) if match else 0
        first = beginnings.find(match[3], int(match[2] or 1)) if match and match[3] else None
        if len(out) + count > MAX_LINES:
            first = match = None  # `fold` says no such thing
        if match and match[4] and out:
            meant = out[-1:] * count
        elif first is None:
            beginnings.add(len(out), line)
            meant = [line]
        else:
            meant = out[first : first + count]
        out += meant
        found.append(meant)
    return found


def imitated(text: str) -> bool:
    """True if a text that we did not write holds anything like a line of `fold`."""
    # The words are found ten times as fast as the pattern, and hardly any text has them.
    found = " again, from " in text or "[the line above " in text
    return found and _IMITATION.search(text) is not None


def is_fold(line: str) -> bool:
    """True if a line stands for others of its own output."""
    return line.startswith("[") and _LINE.fullmatch(line) is not None
