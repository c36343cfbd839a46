"""Line numbers that tools print before each line: found, taken off and put back.

| tool | a line |
|---|---|
| Claude Code's Read | `     1→text`, right-aligned to six |
| a newer one, `cat -n` | `1<tab>text`, `     1<tab>text` |
| OpenCode's read | `1: text` |
| an older one | `00001| text` |
| SWE-agent's editor, `grep -n` | `1:text` |

`strip_padding` makes of the first kind what the newer Claude Code prints, but for the arrow after a
segment's first number, which says that all of them had one.
Numbers that count up by one say little: every tenth one is enough to find the way (`sparse`).
The child folds and shortens by these rules and the daemon checks by them, so there is one copy.
Standard library only: it runs in any interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

ARROW = "→"
WIDTH = 6  # Claude Code and `cat -n` right-align the number to this many columns
MIN_SEGMENT = 3  # fewer numbered lines in a row may as well be the text's own
STEP = 10  # of a sparse text's numbers, the multiples of this are shown

_PADDED = (ARROW, "\t")  # what a right-aligned number is followed by
_NUMBERED = re.compile(r"( *)(\d{1,9})(?:[→\t]|: ?|\| )")
_ANY = re.compile(r"^ *\d{1,9}(?:[→\t:]|\| )", re.MULTILINE)
# A body may begin like a number itself: all of them go, so that the same body is left either way.
_ALL = re.compile(r"^(?: *\d{1,9}(?:[→\t:]|\| ))+", re.MULTILINE)


@dataclass(slots=True)
class Lines:
    """A text by lines.

    A segment is a run of lines whose numbers count up by one, whether each is shown or only some of
    them. For each line `bodies` has what stands after its number, `numbers` the number (0 outside
    of segments), and `segments` which segment it is in, from 0 (-1 for none).
    """

    raw: list[str]
    bodies: list[str]
    numbers: list[int]
    segments: list[int]
    separators: list[str]  # by segment
    starts: dict[int, int]  # number -> line, of the first segment that has it
    mixed: set[int] = field(default_factory=set)  # segments with tabs after an arrow
    meant: list[list[str]] | None = None  # kept for `pointers.meanings`

    @property
    def numbered(self) -> bool:
        """True if any of its lines shows a number."""
        return bool(self.separators)

    def dense(self, at: int) -> str:
        """A line with its number, whether that is shown or not."""
        segment = self.segments[at]
        if segment < 0 or self.raw[at] != self.bodies[at]:
            return self.raw[at]
        separator = "\t" if segment in self.mixed else self.separators[segment]
        return f"{label(self.numbers[at], separator)}{separator}{self.bodies[at]}"

    def framed(self, start: int, end: int) -> list[str]:
        """The lines [start, end), the first and the last of them with their numbers.

        A piece of a sparse text that stands alone is read by these.
        """
        out = self.raw[start:end]
        if out:
            out[0], out[-1] = self.dense(start), self.dense(end - 1)
        return out


def label(number: int, separator: str) -> str:
    """A number as tools print it before this separator, without the blanks that right-align it."""
    return f"{number:05}" if separator == "| " else str(number)


def read(text: str) -> Lines:
    """Split a text and recognise its numbered segments.

    Between two numbers that are as far apart as their lines, the lines are numbered, too, unless
    one of them would have a number that a sparse text shows.
    """
    return _read(text, gaps=True)


def _read(text: str, *, gaps: bool) -> Lines:
    raw = text.split("\n")
    lines = Lines(raw, raw, [0] * len(raw), [-1] * len(raw), [], {})
    if _ANY.search(text) is None:
        return lines
    lines.bodies = list(raw)
    found = [_NUMBERED.match(line) for line in raw]
    # In a segment, a number less its line's place is the same all along.
    offsets = [(int(m[2]) - at, _kind(m)) if m else None for at, m in enumerate(found)]
    start = 0
    while start < len(raw):
        shown = _count_up(offsets, start, gaps=gaps)
        end = shown[-1] + 1 if shown else start + 1
        if end - start >= MIN_SEGMENT:
            _mark(lines, start, end, [match for at in shown if (match := found[at])])
        start = end
    return lines


def _kind(match: re.Match[str]) -> str:
    """What follows a number begins like this. Arrows and tabs may take turns in one segment."""
    after = match[0][match.end(2)]
    return "\t" if after == ARROW else after


def _count_up(offsets: Sequence[tuple[int, str] | None], start: int, *, gaps: bool) -> list[int]:
    """The lines, from `start` on, whose numbers go on from one to the next as the lines do.

    With `gaps`, lines without such a number may stand between two of them. What follows a number
    has to begin alike; all of it cannot be compared, as a line may begin with a blank itself.
    """
    first = offsets[start]
    if first is None:
        return []
    shown = [start]
    for at in range(start + 1, len(offsets)):
        if offsets[at] == first:
            shown.append(at)
        elif not gaps or (first[0] + at) % STEP == 0:
            break
    return shown


def _mark(lines: Lines, start: int, end: int, numbers: Sequence[re.Match[str]]) -> None:
    """Make a segment of the lines [start, end), given the numbers that stand in them.

    If these could not be printed back as they stand here, the lines stay what they are.
    """
    after = [match[0][match.end(2) :] for match in numbers]
    separator = ARROW if ARROW in after else min(after, key=len)
    if not all(_exact(match, separator) for match in numbers):
        return
    first, segment = int(numbers[0][2]), len(lines.separators)
    lines.separators.append(separator)
    if separator == ARROW and "\t" in after:
        lines.mixed.add(segment)
    for at in range(start, end):
        lines.numbers[at] = first + at - start
        lines.segments[at] = segment
        lines.starts.setdefault(first + at - start, at)
    for match in numbers:
        at = start + int(match[2]) - first
        lines.bodies[at] = lines.raw[at][match.end(2) + len(separator) :]


def _exact(match: re.Match[str], separator: str) -> bool:
    """True if the number is printed back as it stands here, padding aside."""
    padded = bool(match[1]) and separator not in _PADDED
    return not padded and label(int(match[2]), separator) == match[2]


def loose(text: str) -> list[str]:
    """The lines without anything that looks like a line number, and without indentation.

    This takes off more than `read` does, which asks that numbers count up, but is much cheaper. So
    an index is made of it, and `read` confirms what the index finds. A blank may belong to a
    number or to its line; without indentation that is the same.
    """
    if _ANY.search(text) is not None:
        text = _ALL.sub("", text)
    return [line.lstrip(" ") for line in text.split("\n")]


def strip_padding(text: str) -> str:
    """The text with the numbers' padding gone, and a tab for most arrows, which costs less.

    The same text when that could not be undone.
    """
    lines = _right_aligned(text)
    out = list(lines.raw)
    for at, segment in enumerate(lines.segments):
        if segment >= 0 and lines.separators[segment] in _PADDED:
            first = at == 0 or lines.segments[at - 1] != segment
            separator = lines.separators[segment] if first else "\t"
            out[at] = f"{lines.numbers[at]}{separator}{lines.bodies[at]}"
    short = "\n".join(out)
    return short if len(short) < len(text) and add_padding(short) == text else text


def add_padding(text: str) -> str:
    """Undo `strip_padding`: every numbered line right-aligned again, with its own separator."""
    lines = _right_aligned(text)
    return "\n".join(
        line
        if segment < 0 or lines.separators[segment] not in _PADDED
        else f"{number:>{WIDTH}}{lines.separators[segment]}{body}"
        for line, body, number, segment in zip(
            lines.raw, lines.bodies, lines.numbers, lines.segments, strict=True
        )
    )


def _right_aligned(text: str) -> Lines:
    """The lines of a text of which each shows its number, as all do where they are aligned."""
    return _read(text, gaps=False)


def sparse(text: str) -> str:
    """The text with every tenth number only, and those of a segment's first and last line.

    A line that shows no number shows no separator either. The same text when that could not be
    undone.
    """
    lines = read(text)
    out, certain = list(lines.raw), _certain(lines)
    for at in range(1, len(out) - 1):
        segment = lines.segments[at]
        inside = lines.segments[at - 1] == segment == lines.segments[at + 1]
        if segment in certain and inside and lines.numbers[at] % STEP:
            out[at] = lines.bodies[at]
    short = "\n".join(out)
    return short if len(short) < len(text) and dense(short) == text else text


def _certain(lines: Lines) -> set[int]:
    """The segments whose lines are known to the last blank.

    When a colon and a blank follow each number, and another blank each of these, the first blank
    may belong to the line, and a reader would get its indentation wrong.
    """
    return {
        segment
        for body, segment in zip(lines.bodies, lines.segments, strict=True)
        if segment >= 0 and (lines.separators[segment] != ": " or not body.startswith(" "))
    }


def dense(text: str) -> str:
    """Undo `sparse`: every line of a segment shows its number again."""
    lines = read(text)
    if not lines.numbered:
        return text
    return "\n".join(map(lines.dense, range(len(lines.raw))))
