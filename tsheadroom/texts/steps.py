"""The one table of the steps that make a tool output shorter by looking at nothing but itself.

The child applies them, in this order. The daemon repeats them when it checks a pointer, because
the lines of a pointer are counted in the text as it stood after them. Whoever restores an output
undoes those that can be undone. A form names its steps, and forms are stored: a name stays what it
is, and a step makes the same text for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tsheadroom.texts import jsontext, numbering, repeats, terminal


@dataclass(frozen=True, slots=True)
class Step:
    """A function from a text to a shorter one, or to the same; `undo` is its exact inverse."""

    apply: Callable[[str], str]
    undo: Callable[[str], str] | None = None


STEPS: dict[str, Step] = {
    # Of a command's output stays what a terminal would show at its end. What was overwritten or
    # only coloured is gone for good.
    "terminal": Step(terminal.screen),
    # JSON loses the white space between its tokens. How it was laid out is gone for good.
    "json": Step(jsontext.minify),
    # Line numbers lose the blanks that right-align them; a tab follows them, as in newer clients.
    "gutter": Step(numbering.strip_padding, undo=numbering.add_padding),
    # Lines that come again within the output become a line that quotes the first of them.
    "repeat": Step(repeats.fold, undo=repeats.unfold),
    # Of line numbers every tenth stays. After the repeats, which would part what counts up.
    "sparse": Step(numbering.sparse, undo=numbering.dense),
}
"""By the name that a form carries, in the order in which they are applied."""


def repeat(text: str, transforms: Iterable[str]) -> str:
    """Apply the steps among a form's transforms again; other names are passed over."""
    for name in transforms:
        if name in STEPS:
            text = STEPS[name].apply(text)
    return text


def undo(text: str, transforms: Iterable[str]) -> str:
    """Take back the steps among these transforms, last first, as far as they can be undone."""
    taken = frozenset(transforms)
    for name, step in reversed(STEPS.items()):
        if name in taken and step.undo is not None:
            text = step.undo(text)
    return text
