"""What a terminal would show at the end of a command's output: no colours, no overwritten progress.

Only for outputs of commands: in a file an escape is content. Standard library only, because the
daemon checks folds of such outputs by the same rule.
"""

from __future__ import annotations

import re

# Colours and other renditions, and "erase to the end of the line": what programs print into pipes.
_STYLE = re.compile(r"\x1b\[[0-9;:]*m|\x1b\(B|\x1b\[0?K")
# Titles and links: the text between is not shown; a link's own text stands outside of it.
_OSC = re.compile(r"\x1b\][^\x07\x1b\n]{0,2000}(?:\x07|\x1b\\)")
_ERASE = re.compile(r"\x1b\[2K(?:\x1b\[(?:0|1)?G)?|\x1b\[1G\x1b\[0?K")


def screen(text: str) -> str:
    """The text as shown at the end; the same text where that is not certain.

    Cursor movements other than a return to the line's start are not modelled: such a text keeps
    every character.
    """
    if "\x1b" not in text and "\r" not in text:
        return text
    shown = _OSC.sub("", _STYLE.sub("", _ERASE.sub("\r", text)))
    if "\x1b" in shown or "\b" in shown:
        return text
    if "\r" not in shown:
        return shown
    return "\n".join(_overwrite(line) for line in shown.split("\n"))


def _overwrite(line: str) -> str:
    """One line after its carriage returns. What a shorter rewrite leaves of a longer text stays in
    a terminal, so then the longer text's rest is kept, too."""
    ending = "\r" if line.endswith("\r") else ""  # a CRLF file: its line ends are content
    cells = ""
    for piece in line.rstrip("\r").split("\r"):
        cells = piece + cells[len(piece) :]
    return cells + ending
