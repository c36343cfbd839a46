"""Calls are named so that the name leads back to them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.texts.naming import ToolCalls
from tsheadroom.texts.tools import ToolCall

PATHS = st.sampled_from(["/a/b/c.py", "/a/d/c.py", "/x/a/b/c.py", "c.py", "/c.py", "/a b/c.py"])
INPUTS = st.one_of(
    PATHS.map(lambda path: {"file_path": path}),
    st.sampled_from(["npm test", "ls", "echo 'a #2 b'", "x " * 60]).map(lambda c: {"command": c}),
)
TOOLS = st.sampled_from(["Read", "Write", "Bash", "mcp__a__b"])


@given(st.lists(st.tuples(TOOLS, INPUTS), min_size=2, max_size=12), st.data())
def test_every_name_leads_back(made: list[tuple[str, dict[str, Any]]], data: st.DataObject) -> None:
    calls = ToolCalls()
    added = [
        calls.add({"call": f"c{at}", "name": tool, "input": inputs})
        for at, (tool, inputs) in enumerate(made)
    ]
    own = added[-1]
    target = data.draw(st.sampled_from(added[:-1]))
    for written in (0, 1, 2):
        assert calls.find(calls.name(target, own, written), own) == (target, written)


def test_names_are_short() -> None:
    calls = ToolCalls()
    first = add(calls, "Read", {"file_path": "/home/me/project/lib/web/page.ex"})
    second = add(calls, "Read", {"file_path": "/home/me/project/lib/web/page.ex"})
    own = add(calls, "Bash", {"command": "cat lib/web/page.ex"})
    assert calls.name(second, own, 0) == "Read page.ex"
    assert calls.name(first, own, 0) == "Read #1 page.ex"
    assert calls.name(own, own, 1) == 'your Bash "cat lib/web/page.ex"'


def add(calls: ToolCalls, tool: str, inputs: dict[str, Any]) -> ToolCall:
    return calls.add({"call": f"id{len(calls.by_id)}", "name": tool, "input": inputs})
