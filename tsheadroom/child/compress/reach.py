"""Which folds of a file's text are worth their price to the reader.

An agent edits a file by its exact words, and copies them from where it saw them last. If that view
was folded, the words stand further up, or half of them here and half there. So a view is folded
where that is near, or saves much, and where nearly all of it stands elsewhere; if less does, what
is near to the lines that are new stays with them. Outputs of commands are hardly ever edited; their
folds are not limited.
docs/savings.md has the price and the harm of this on recorded conversations.
"""

from __future__ import annotations

from collections.abc import Sequence

from tsheadroom.child.compress.folds import Run
from tsheadroom.texts.numbering import Lines

CHARS_PER_TOKEN = 3.6  # of code and prose by o200k; counting what lies between would cost too much
NEAR = 8_000  # tokens; as near as this a reader finds the words without ado
FAR_SAVES = 600  # tokens that a fold over a longer way must save
WAY_PER_TOKEN = 50  # and one more for as many tokens of the way
WHOLE = 0.75  # of a view's characters; folded in smaller parts, it splits what is edited
MARGIN = 20  # lines that stay beside a line that is new, if the view is folded in parts
MIN_PART = 8  # lines of such a part, so that a view does not become a patchwork


def worthwhile(runs: Sequence[Run], here: Lines, at: int) -> list[Run]:
    """The runs of a view to fold, of those that stand elsewhere.

    `here` is the view by lines, and `at` how many characters of the conversation stand before it.
    """

    def chars(start: int, end: int) -> int:
        return end - start + sum(map(len, here.raw[start:end]))

    sizes = {run: chars(run.of, run.end) for run in runs}
    ways = {run: (at - run.target.end) / CHARS_PER_TOKEN for run in runs}
    good = [run for run in runs if _worth_the_way(ways[run], sizes[run] / CHARS_PER_TOKEN)]
    if sum(sizes[run] for run in good) >= WHOLE * chars(0, len(here.raw)):
        return good
    return [part for run, part in _parts(good, here) if ways[run] <= NEAR]


def _worth_the_way(way: float, saved: float) -> bool:
    """True if a reader may be sent so far back; both in tokens."""
    return way <= NEAR or saved >= FAR_SAVES + (way - NEAR) / WAY_PER_TOKEN


def _parts(runs: Sequence[Run], here: Lines) -> list[tuple[Run, Run]]:
    """Each run with what is left of it when lines beside a new one stay; not the small ones."""
    folded = {at for run in runs for at in range(run.of, run.end)}

    def is_new(at: int) -> bool:
        # What stands outside of the numbers is the tool's own and no line of the file.
        in_file = not here.numbered or here.segments[at] >= 0
        return in_file and at not in folded

    found = []
    for run in runs:
        start, end = run.of, run.end
        if start > 0 and is_new(start - 1):
            start += MARGIN
        if end < len(here.raw) and is_new(end):
            end -= MARGIN
        if end - start >= MIN_PART:
            part = Run(start, end - start, run.target, run.first + start - run.of)
            found.append((run, part))
    return found
