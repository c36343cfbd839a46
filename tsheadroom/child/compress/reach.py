"""Which folds of a file's text are worth their price to the reader.

An agent edits a file by its exact words, and copies them from where it saw them last. If that view
was folded, the words stand further up, or half of them here and half there. So a view is folded
where nearly all of it stands elsewhere, and where that is near, or saves much. Outputs of commands
are hardly ever edited; their folds are not limited.
docs/folds.md has the price and the harm of these numbers and of others, on recorded conversations.
"""

from __future__ import annotations

from collections.abc import Sequence

from tsheadroom.child.compress.folds import Run

CHARS_PER_TOKEN = 3.6  # of code and prose by o200k; counting what lies between would cost too much
NEAR = 8_000  # tokens; as near as this a reader finds the words without ado
FAR_SAVES = 700  # tokens that a fold over a longer way must save
WAY_PER_TOKEN = 50  # and one more for as many tokens of the way
MIN_SHARE = 0.8  # of a view's characters; folded in parts only, it splits what is edited


def worthwhile(runs: Sequence[Run], text: str, at: int) -> list[Run]:
    """The runs of a view to fold: those that are near or save much, if they are nearly all of it.

    `at` is how many characters of the conversation stand before the text.
    """
    lines = text.split("\n")
    sizes = [(run, run.count + sum(map(len, lines[run.of : run.end]))) for run in runs]
    good = [
        (run, size)
        for run, size in sizes
        if _worth_the_way((at - run.target.end) / CHARS_PER_TOKEN, size / CHARS_PER_TOKEN)
    ]
    if sum(size for _, size in good) < MIN_SHARE * len(text):
        return []
    return [run for run, _ in good]


def _worth_the_way(way: float, saved: float) -> bool:
    """True if a reader may be sent so far back; both in tokens."""
    return way <= NEAR or saved >= FAR_SAVES + (way - NEAR) / WAY_PER_TOKEN
