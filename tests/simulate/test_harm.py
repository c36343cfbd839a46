"""An edit is classed by where its old text stands as forwarded, worked out by hand."""

from __future__ import annotations

import pytest

from tests.simulate import made
from tsheadroom.simulate import harm
from tsheadroom.simulate.blocks import Blocks, Counter
from tsheadroom.simulate.edits import Reader
from tsheadroom.simulate.harm import FAR, Traced
from tsheadroom.simulate.requests import encoded

OLD = "the old words\nof the file"
POINTER = "[lines 1-2 unchanged: see Read a.py above]"
ANSWER = made.model(made.call(9, "Edit", file_path="a.py", old_string=OLD, new_string="x"))


def conversation(first: str, between: int, second: str) -> list[made.Item]:
    return [
        made.user("go"),
        made.model(made.call(1, "Read", file_path="a.py"), made.call(2, "Bash", command="x")),
        made.user(made.result(1, first), made.result(2, "w " * between)),
        made.model(made.call(3, "Read", file_path="a.py")),
        made.user(made.result(3, second)),
    ]


def traced(first: str, between: int, second: str) -> Traced | None:
    """The edit, where both reads were recorded as OLD and forwarded as given."""
    counter = Counter(count=lambda text: len(text.split()))
    raw = [encoded(item) for item in conversation(OLD, between, OLD)]
    forwarded = [encoded(item) for item in conversation(first, between, second)]
    reader = Reader("messages", conversation(OLD, between, OLD), counter, Blocks(counter))
    (located,) = harm.located(reader, 2, [encoded(ANSWER)], raw)
    assert (located.turn, located.edit.item, located.raw.item) == (2, 5, 4)
    (found,) = harm.trace(reader, [located], raw, forwarded)
    return found


@pytest.mark.parametrize(
    ("first", "between", "second", "kind", "far"),
    [
        (OLD, 10, OLD, harm.STOOD, False),
        (OLD, 10, f"[gone]\n{OLD}", harm.STOOD, False),
        (OLD, 10, POINTER, harm.BEHIND, False),
        (OLD, FAR, POINTER, harm.BEHIND, True),
        (OLD.split("\n")[0], 10, POINTER, harm.SPLIT, False),
        (POINTER, FAR, f"[x]\n{OLD}", harm.STOOD, False),
    ],
)
def test_classes(first: str, between: int, second: str, kind: str, far: bool) -> None:
    found = traced(first, between, second)
    assert found is not None
    assert (found.kind, found.far) == (kind, far)
    assert (found.before, found.after) == (OLD, second)


def test_how_much_further_is_counted_as_forwarded() -> None:
    near, farther = traced(OLD, 10, POINTER), traced(OLD, 110, POINTER)
    assert near is not None
    assert farther is not None
    assert near.extra > 10
    assert farther.extra == near.extra + 100


def test_what_cannot_be_located_is_no_case() -> None:
    counter = Counter(count=len)
    items = [made.user("nothing of it")]
    reader = Reader("messages", items, counter, Blocks(counter))
    assert harm.located(reader, 0, [encoded(ANSWER)], [encoded(items[0])]) == []
