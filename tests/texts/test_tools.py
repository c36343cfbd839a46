"""Which outputs are a file's text, and which two may be compared."""

from __future__ import annotations

import pytest

from tsheadroom.texts import tools
from tsheadroom.texts.naming import ToolCalls
from tsheadroom.texts.tools import command_of, path_of, written_texts


@pytest.mark.parametrize(
    ("one", "other", "compared"),
    [
        ("npm test", "npm test -- --watch", True),
        ("cd /a && timeout 60 npm test | tail -5", "CI=1 npm test", True),
        ("git diff", "npm test", False),
        ("cat a.py", "cat a.py", False),
        ("sed -n 1,80p a.py", "npm test", False),
    ],
)
def test_comparison(one: str, other: str, compared: bool) -> None:
    calls = ToolCalls()
    first = calls.add({"call": "a", "name": "Bash", "input": {"command": one}})
    second = calls.add({"call": "b", "name": "Bash", "input": {"command": other}})
    assert tools.compared(first, second) is compared


@pytest.mark.parametrize(
    ("tool", "inputs", "prints"),
    [
        ("Read", {"file_path": "/a.py"}, True),
        ("shell", {"command": ["bash", "-lc", "sed -n 1,200p src/a.py"]}, True),
        ("Bash", {"command": "cat a.py | head -50"}, True),
        ("Bash", {"command": "grep -rn foo src | head"}, False),
        ("Bash", {"command": "npm test | tail -50"}, False),
        ("mcp__fs__list_directory", {"path": "/src"}, False),
        ("Grep", {"pattern": "x", "path": "/src"}, False),
        ("WebFetch", {"url": "https://example.com"}, False),
    ],
)
def test_files(tool: str, inputs: dict[str, object], prints: bool) -> None:
    call = ToolCalls().add({"call": "a", "name": tool, "input": inputs})
    assert tools.prints_file(call) is prints


def test_what_calls_are_about() -> None:
    assert path_of({"path": "/src", "pattern": "x"}) == ""
    assert path_of({"command": "view", "path": "/src/a.py"}) == "/src/a.py"
    assert command_of({"command": ["bash", "-lc", "ls -l"]}) == "ls -l"
    assert list(written_texts({"old_string": "a", "new_string": "b"})) == [
        (["input", "new_string"], "b")
    ]
    assert list(written_texts("odd")) == []


@pytest.mark.parametrize(
    ("inputs", "edits", "whole", "part"),
    [
        ({"file_path": "/a", "old_string": "x", "new_string": "y"}, True, False, False),
        ({"file_path": "/a", "content": "all of it"}, False, True, False),
        ({"file_path": "/a", "limit": 50}, False, False, True),
        ({"file_path": "/a", "limit": None}, False, False, False),
    ],
)
def test_what_a_call_does_to_its_file(
    inputs: dict[str, object], edits: bool, whole: bool, part: bool
) -> None:
    assert tools.edits_file(inputs) is edits
    assert tools.writes_whole_file(inputs) is whole
    assert tools.asks_for_part(inputs) is part
    assert tools.reads_file("Read")
    assert not tools.reads_file("Write")


PATCH = "*** Begin Patch\n*** Update File: a.py\n@@\n def f():\n-    old\n+    new\n*** End Patch"


@pytest.mark.parametrize(
    ("tool", "inputs", "texts"),
    [
        ("Edit", {"file_path": "/a", "old_string": "x", "new_string": "y"}, ["x"]),
        ("edit", {"filePath": "/a", "oldString": "x", "newString": "y"}, ["x"]),
        ("replace", {"file_path": "/a", "old_string": "", "new_string": "y"}, []),
        ("str_replace_editor", {"command": "str_replace", "old_str": "x", "new_str": "y"}, ["x"]),
        ("MultiEdit", {"edits": [{"old_string": "x"}, {"old_string": "z"}, None, "odd"]},
         ["x", "z"]),
        ("apply_patch", PATCH, ["def f():\n    old"]),
        ("apply_patch", {"input": PATCH}, ["def f():\n    old"]),
        ("shell", {"command": ["apply_patch", PATCH]}, ["def f():\n    old"]),
        ("exec_command", {"cmd": f"apply_patch <<'EOF'\n{PATCH}\nEOF"}, ["def f():\n    old"]),
        ("Write", {"content": "x"}, []),
        ("odd", None, []),
        ("odd", {"edits": 3, "old_string": ["x"]}, []),
    ],
)  # fmt: skip
def test_texts_that_edits_look_for(tool: str, inputs: object, texts: list[str]) -> None:
    assert tools.replaced_texts(tool, inputs) == texts
