"""Line numbers that tools print before each line: found, taken off and put back.

Claude Code's Read prints `     1→text` (right-aligned to six), newer ones and `cat -n` a tab.
The child folds and shortens by these rules and the daemon checks by them, so there is one copy.
Standard library only: it runs in any interpreter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ARROW = "→"
WIDTH = 6  # Claude Code and `cat -n` right-align the number to this many columns
MIN_SEGMENT = 3  # fewer numbered lines in a row may as well be the text's own

_NUMBERED = re.compile(r"( *)(\d{1,9})([→\t])")
_ANY = re.compile(r"^ *\d{1,9}[→\t]", re.MULTILINE)


@dataclass(slots=True)
class Lines:
    """A text by lines.

    A segment is a run of lines whose numbers count up by one. For each line `bodies` has what
    stands after its number, `numbers` the number (0 outside of segments), and `segments` which
    segment it is in, from 0 (-1 for none).
    """

    raw: list[str]
    bodies: list[str]
    numbers: list[int]
    segments: list[int]
    separators: list[str]  # by segment
    starts: dict[int, int]  # number -> line, of the first segment that has it

    @property
    def numbered(self) -> bool:
        """True if any of its lines shows a number."""
        return bool(self.separators)


def read(text: str) -> Lines:
    """Split a text and recognise its numbered segments."""
    raw = text.split("\n")
    lines = Lines(raw, raw, [0] * len(raw), [-1] * len(raw), [], {})
    if _ANY.search(text) is None:
        return lines
    lines.bodies = list(raw)
    start, found = 0, [_NUMBERED.match(line) for line in raw]
    while start < len(raw):
        match = found[start]
        if match is None:
            start += 1
            continue
        end, number, separator = start + 1, int(match[2]), match[3]
        while end < len(raw):
            following = found[end]
            if following is None or following[3] != separator:
                break
            if int(following[2]) != number + end - start:
                break
            end += 1
        # A number with leading zeros could not be printed back.
        exact = all(str(int(m[2])) == m[2] for m in found[start:end] if m)
        if end - start >= MIN_SEGMENT and exact:
            _mark(lines, start, end, number, separator)
        start = end
    return lines


def _mark(lines: Lines, start: int, end: int, number: int, separator: str) -> None:
    segment = len(lines.separators)
    lines.separators.append(separator)
    for at in range(start, end):
        lines.numbers[at] = number + at - start
        lines.segments[at] = segment
        lines.bodies[at] = lines.raw[at].partition(separator)[2]
        lines.starts.setdefault(number + at - start, at)


def loose(text: str) -> list[str]:
    """The lines without anything that looks like a line number.

    This takes off more than `read` does, which asks that numbers count up, but is much cheaper. So
    an index is made of it, and `read` confirms what the index finds.
    """
    if _ANY.search(text) is not None:
        text = _ANY.sub("", text)
    return text.split("\n")


def strip_padding(text: str) -> str:
    """The text with the numbers' padding gone; the same text when that could not be undone."""
    lines = read(text)
    if not lines.numbered:
        return text
    out = [
        line if segment < 0 else f"{number}{lines.separators[segment]}{body}"
        for line, body, number, segment in zip(
            lines.raw, lines.bodies, lines.numbers, lines.segments, strict=True
        )
    ]
    short = "\n".join(out)
    return short if len(short) < len(text) and add_padding(short) == text else text


def add_padding(text: str) -> str:
    """Undo `strip_padding`: every numbered line right-aligned again."""
    lines = read(text)
    if not lines.numbered:
        return text
    return "\n".join(
        line if segment < 0 else f"{number:>{WIDTH}}{lines.separators[segment]}{body}"
        for line, body, number, segment in zip(
            lines.raw, lines.bodies, lines.numbers, lines.segments, strict=True
        )
    )
