"""Lines that come again within one output: a compiler's warning, the same stack, a line of a log.

    [4 lines again, from "warning: using single-quoted strings to"]
    [the line above 39 times more]

The quotation is the beginning of the first of these lines, so that a reader finds them without
counting. Standard library only, because the daemon checks folds of such outputs by the same rule.
"""

from __future__ import annotations

import re

MIN_LINES = 3  # as in Headroom's own fold of repeated blocks
MIN_SAVED = 80  # characters less by one line, or it is not worth the reader's while
MIN_RUN = 80  # characters of the same line, again and again
MAX_LINES = 20_000  # a longer output is nobody's reading
_KEY = 12  # characters of a line by which its first occurrence is looked up
_CANDIDATES = 64  # lines kept of one beginning, so that looking one up is bounded
_QUOTED = 40
_LINE = re.compile(r'\[(\d+) lines again, from "(.+)"\]|\[the line above (\d+) times more\]')
# Anything like such a line in a text that we did not write.
IMITATION = re.compile(r'\d lines again, from "|\[the line above \d+ times more\]')


class _Beginnings:
    """Which line of an output is the first to begin with a quotation, indentation aside."""

    def __init__(self) -> None:
        self._lines: dict[str, list[tuple[int, str]]] = {}

    def add(self, at: int, line: str) -> None:
        stripped = line.strip()
        same = self._lines.setdefault(stripped[:_KEY], [])
        if len(same) < _CANDIDATES:
            same.append((at, stripped))

    def find(self, quotation: str) -> int | None:
        for at, line in self._lines.get(quotation[:_KEY], []):
            if line.startswith(quotation):
                return at
        return None


def fold(text: str) -> str:
    """The text with blocks of lines that came before replaced by a line that quotes the first.

    The same text if nothing comes again, or if it holds something like such a line already.
    """
    lines = text.split("\n")
    if not 2 * MIN_LINES <= len(lines) <= MAX_LINES or IMITATION.search(text) is not None:
        return text
    out: list[str] = []
    kept = [True] * len(lines)  # True for a line that stands in the outgoing text itself
    blocks: dict[tuple[str, ...], int] = {}
    beginnings = _Beginnings()
    at = 0
    while at < len(lines):
        count = _run(lines, at) if at and kept[at - 1] else 0
        if count:
            out.append(f"[the line above {count} times more]")
            kept[at : at + count] = [False] * count
            at += count
            continue
        block = tuple(lines[at : at + MIN_LINES])
        first = blocks.get(block) if len(block) == MIN_LINES else None
        count = 0 if first is None else _common(lines, kept, first, at)
        line = "" if first is None else _quote(lines, first, count, beginnings)
        if line and sum(map(len, lines[at : at + count])) + count - 1 - len(line) >= MIN_SAVED:
            out.append(line)
            kept[at : at + count] = [False] * count
            at += count
            continue
        out.append(lines[at])
        beginnings.add(at, lines[at])
        if at >= MIN_LINES - 1:
            start = at - MIN_LINES + 1
            if all(kept[start : at + 1]):
                blocks.setdefault(tuple(lines[start : at + 1]), start)
        at += 1
    folded = "\n".join(out)
    return folded if len(out) < len(lines) and unfold(folded) == text else text


def _run(lines: list[str], at: int) -> int:
    """How often the line before comes again from here on, if that is worth saying so."""
    count = 0
    while at + count < len(lines) and lines[at + count] == lines[at - 1]:
        count += 1
    return count if count * (len(lines[at - 1]) + 1) >= MIN_RUN else 0


def _common(lines: list[str], kept: list[bool], first: int, at: int) -> int:
    count = 0
    while (
        at + count < len(lines)
        and first + count < at
        and kept[first + count]
        and lines[first + count] == lines[at + count]
    ):
        count += 1
    return count


def _quote(lines: list[str], first: int, count: int, beginnings: _Beginnings) -> str:
    quotation = lines[first].strip()[:_QUOTED].rstrip()
    if len(quotation) < _KEY or beginnings.find(quotation) != first:
        return ""
    return f'[{count} lines again, from "{quotation}"]'


def unfold(text: str) -> str:
    """The text with every line of `fold` replaced by the lines that it stands for."""
    out: list[str] = []
    beginnings = _Beginnings()
    for line in text.split("\n"):
        match = _LINE.fullmatch(line)
        first = beginnings.find(match[2]) if match and match[2] else None
        if match and match[3] and out:
            out += [out[-1]] * int(match[3])
        elif match is None or first is None:
            beginnings.add(len(out), line)
            out.append(line)
        else:
            out += out[first : first + int(match[1])]
    return "\n".join(out)


def is_fold(line: str) -> bool:
    """True if a line stands for others of its own output."""
    return line.startswith("[") and _LINE.fullmatch(line) is not None
