"""What a terminal would show at the end of a command's output: no colours, no overwritten progress.

Only for outputs of commands: in a file an escape is content. Standard library only, because the
daemon checks folds of such outputs by the same rule.
"""

from __future__ import annotations

import re

MAX_ERASED = 8  # times the length of a line; a progress bar erases as much as it shows

# Colours and other renditions, which show no text of their own.
_STYLE = re.compile(r"\x1b\[[0-9;:]*m|\x1b\(B")
# Titles and links: the text between is not shown; a link's own text stands outside of it.
_OSC = re.compile(r"\x1b\][^\x07\x1b\n]{0,2000}(?:\x07|\x1b\\)")
# What progress bars move by: a return, the line's first column, erasing to its end or all of it.
_MOVE = re.compile(r"(\r|\x1b\[(?:[012]?K|1?G))")


def screen(text: str) -> str:
    """The text as shown at the end; the same text where that is not certain.

    Movements that leave the line are not modelled: such a text keeps every character.
    """
    if "\x1b" not in text and "\r" not in text:
        return text
    shown = _OSC.sub("", _STYLE.sub("", text))
    if "\b" in shown or "\x1b" in _MOVE.sub("", shown):
        return text
    if "\r" not in shown and "\x1b" not in shown:
        return shown
    lines = [_line(line) for line in shown.split("\n")]
    return "\n".join(line for line in lines if line is not None) if None not in lines else text


def _line(line: str) -> str | None:
    """One line after its movements; None if it erases far more than it shows.

    What a shorter rewrite leaves of a longer text stays on a terminal, so it stays here.
    """
    if "\r" not in line and "\x1b" not in line:
        return line
    ending = "\r" if line.endswith("\r") else ""  # a CRLF file: its line ends are content
    cells: list[str] = []
    column = erased = 0
    for piece in _MOVE.split(line.rstrip("\r")):
        if piece == "\r" or (piece.endswith("G") and piece.startswith("\x1b")):
            column = 0
        elif piece in ("\x1b[K", "\x1b[0K"):
            del cells[column:]
        elif piece == "\x1b[2K":
            erased += column
            cells.clear()
        elif piece == "\x1b[1K":
            erased += column
            cells[:column] = " " * column
        else:
            cells += " " * (column - len(cells))
            cells[column : column + len(piece)] = piece
            column += len(piece)
        if erased > MAX_ERASED * len(line):
            return None
    return "".join(cells) + ending
