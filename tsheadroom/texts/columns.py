"""Lines that begin with the same columns, as logs of CI runs do: the columns once, above them.

    build<tab>Set up job
    <tab>2026-06-18T04:45:19.2404954Z Current runner version: '2.335.1'
    <tab>2026-06-18T04:45:19.2430321Z ##[group]Runner Image

Every time stamp and every word of a line stays where it is.
"""

from __future__ import annotations

import re

MIN_GROUP = 3  # lines in a row; the columns' own line costs as much as one of them
_COLUMNS = re.compile(r"[^\t\n]+(?:\t[^\t\n]+)?(?=\t)")


def fold(text: str) -> str:
    """Consecutive lines with the same first two columns as these once, and the rest of each below.

    The same text if nothing is gained, or if that could not be undone.
    """
    lines = text.split("\n")
    if any(line.startswith("\t") for line in lines):
        return text
    out: list[str] = []
    at = 0
    while at < len(lines):
        match = _COLUMNS.match(lines[at])
        columns = match[0] if match else ""
        end = at + 1
        while columns and end < len(lines) and lines[end].startswith(columns + "\t"):
            end += 1
        if columns and end - at >= MIN_GROUP:
            out.append(columns)
            out += [line[len(columns) :] for line in lines[at:end]]
        else:
            out += lines[at:end]
        at = end
    folded = "\n".join(out)
    return folded if len(folded) < len(text) and unfold(folded) == text else text


def unfold(text: str) -> str:
    """Undo `fold`: the line above those that begin with a tab has the columns of each of them."""
    lines = text.split("\n")
    out: list[str] = []
    columns = ""
    for at, line in enumerate(lines):
        if line.startswith("\t"):
            out.append(columns + line)
        elif at + 1 < len(lines) and lines[at + 1].startswith("\t"):
            columns = line
        else:
            out.append(line)
    return "\n".join(out)
