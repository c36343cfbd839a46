"""Which outputs are a file's text, and which two may be compared."""

from __future__ import annotations

import pytest

from tsheadroom.texts import tools as commands
from tsheadroom.texts.naming import Calls


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
    calls = Calls()
    first = calls.add({"call": "a", "name": "Bash", "input": {"command": one}})
    second = calls.add({"call": "b", "name": "Bash", "input": {"command": other}})
    assert commands.compared(first, second) is compared


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
    call = Calls().add({"call": "a", "name": tool, "input": inputs})
    assert commands.prints_file(call) is prints
