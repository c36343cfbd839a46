"""The old text of an edit is found where an agent can have read it, with the tokens since."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulate import made
from tsheadroom.simulate.blocks import Blocks, Counter
from tsheadroom.simulate.edits import Place, Reader
from tsheadroom.simulate.requests import encoded

OLD = "def area(self):\n    return self.width * self.height"
PATCH = """*** Begin Patch
*** Update File: a.py
@@
 class Box:
-    pass
+    size = 1
*** End Patch"""


def words(text: str) -> int:
    return len(text.split())


def reader(items: list[Any], shape: str = "messages") -> Reader:
    counter = Counter(count=words)
    return Reader(shape, items, counter, Blocks(counter))


def latest(old: str, items: list[Any], shape: str = "messages") -> Place | None:
    return reader(items, shape).latest(old, [encoded(item) for item in items])


def read_of(text: str) -> list[Any]:
    return [made.model(made.call(1, "Read", file_path="/w/a.py")), made.user(made.result(1, text))]


@pytest.mark.parametrize(
    "shown",
    [
        f"class Box:\n{OLD}\n",
        made.numbered(["class Box:", *OLD.split("\n"), ""]),
        "\n".join(f"{at}\t{line}" for at, line in enumerate(OLD.split("\n"), 9)),
        "\n".join(f"{at}: {line}" for at, line in enumerate(OLD.split("\n"), 9)),
        "\n".join(f"{at}:{line}" for at, line in enumerate(OLD.split("\n"), 9)),
        "\n".join(f"{at:05}| {line}" for at, line in enumerate(OLD.split("\n"), 9)),
        OLD.replace("\n", "\r\n"),
        # Of some views only every tenth line shows its number.
        OLD.replace("def", "10→def"),
        '{"output": "x\\n' + OLD.replace("\n", "\\n") + '\\n", "metadata": {}}',
    ],
)
def test_numbers_and_wrappers_are_looked_through(shown: str) -> None:
    place = latest(OLD, read_of(shown))
    assert place is not None
    assert (place.item, place.source) == (1, "Read /w/a.py")


def test_the_latest_counts_and_how_much_follows() -> None:
    items = [
        *read_of(OLD),
        *read_of(f"{OLD} one two"),
        made.model("three", "four five"),
        made.user("six"),
    ]
    place = latest(OLD, items)
    assert place is not None
    assert place.item == 3
    # What follows the old text, and the blocks after it with a frame each.
    assert place.distance == 2 + (1 + 3) + (2 + 3) + (1 + 3)


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (made.call(1, "Write", file_path="a.py", content=f"\n{OLD}\n"), True),
        (made.call(1, "Edit", file_path="a.py", old_string="x", new_string=OLD), True),
        (made.call(1, "Edit", file_path="a.py", old_string=OLD, new_string="x"), False),
        (made.call(1, "shell", cmd=PATCH.replace("    size = 1", OLD)), False),
        ({"type": "text", "text": OLD}, False),
        ({"type": "thinking", "thinking": OLD}, False),
    ],
)
def test_of_the_models_own_only_what_it_wrote_into_files(block: made.Item, found: bool) -> None:
    assert (latest(OLD, [made.model(block)]) is not None) is found


def test_a_patch_leaves_its_new_lines() -> None:
    items = [made.model(made.call(1, "apply_patch", input=PATCH))]
    assert latest("class Box:\n    size = 1", items) is not None
    assert latest("class Box:\n    pass", items) is None


def test_a_users_text_counts() -> None:
    place = latest(OLD, [made.user(f"Please change this:\n{OLD}")])
    assert place is not None
    assert place.source == "text"


def test_not_in_one_piece_is_not_there() -> None:
    first, second = OLD.split("\n")
    assert latest(OLD, [*read_of(first), *read_of(second)]) is None


def test_edits_are_read_from_each_shape() -> None:
    edit = {"file_path": "/w/a.py", "old_string": "a\r\nb", "new_string": "c"}
    several = {"file_path": "/w/a.py", "edits": [{"old_string": "a"}, {"old_string": "b"}]}
    cases: list[tuple[str, made.Item, list[str]]] = [
        ("messages", made.model(made.call(1, "Edit", **edit)), ["a\nb"]),
        ("messages", made.model(made.call(1, "MultiEdit", **several)), ["a", "b"]),
        ("messages", made.model(made.call(1, "Read", file_path="/w/a.py")), []),
        ("messages", made.model(made.call(1, "Edit", old_string=" \n", new_string="")), []),
        (
            "responses",
            {"type": "custom_tool_call", "call_id": "1", "name": "apply_patch", "input": PATCH},
            ["class Box:\n    pass"],
        ),
        (
            "gemini",
            {"role": "model", "parts": [{"functionCall": {"name": "replace", "args": edit}}]},
            ["a\nb"],
        ),
    ]
    for shape, item, expected in cases:
        found = reader([item], shape).edits(encoded(item), 7)
        assert [edit.old for edit in found] == expected
        assert all(edit.item == 7 for edit in found)


@pytest.mark.parametrize("shape", ["messages", "responses", "chat", "gemini"])
def test_odd_items_are_no_error(shape: str) -> None:
    odd: list[Any] = [
        {},
        {"role": None, "content": 3, "parts": "x"},
        {"role": "assistant", "content": [None, {"type": "tool_use", "input": ["x"]}]},
        {"role": "user", "content": [{"type": "tool_result", "content": '{"a":'}]},
        {"type": "function_call", "arguments": "[", "name": None},
        {"type": "function_call_output", "output": "{}"},
    ]
    for item in odd:
        one = reader([item], shape)
        assert one.edits(encoded(item), 0) == []
        assert one.latest("x y z", [encoded(item)]) is None
    assert reader([], shape).latest("x", []) is None
