"""What a patch in Codex's format (`*** Begin Patch` ... `*** End Patch`) looks for in its files.

Standard library only: daemon and child both read it.
"""

from __future__ import annotations

from collections.abc import Iterator

_BEGIN = "*** Begin Patch"
_UPDATE = "*** Update File:"


def holds_patch(text: str) -> bool:
    """True if there is a patch anywhere in a text, such as a command's here-document."""
    return _BEGIN in text


def old_texts(text: str) -> Iterator[str]:
    """Yield what each hunk of a text's patches wants to find: its kept and its removed lines.

    Without their first character, joined by newlines, as they stand in the file. A hunk that only
    adds looks for nothing, nor does a file that is added or deleted.
    """
    hunk: list[str] = []
    blanks = 0  # empty lines that belong to the hunk if it goes on after them
    updates = False
    for line in text[text.find(_BEGIN) :].split("\n") if _BEGIN in text else ():
        line = line.removesuffix("\r")
        if line.startswith(("***", "@@")):
            if any(hunk):
                yield "\n".join(hunk)
            hunk, blanks = [], 0
            goes_on = ("@@", "*** Move to:", "*** End of File")
            updates = line.startswith(_UPDATE) or (updates and line.startswith(goes_on))
        elif updates and not line:
            blanks += 1  # models leave out the blank that an empty line begins with
        elif updates and line[0] in " +-":
            hunk += [""] * blanks + ([line[1:]] if line[0] != "+" else [])
            blanks = 0
    if any(hunk):
        yield "\n".join(hunk)
