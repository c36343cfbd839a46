"""Calls are named so that the name leads back to them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.texts.naming import ToolCalls, endings
from tsheadroom.texts.tools import ToolCall

LONG = "cd /a/long/path/to/the/project && sed -n '1,80p' lib/another/long/path/to/"
PATHS = st.sampled_from(
    ["/a/b/c.py", "/a/d/c.py", "/x/a/b/c.py", "c.py", "/c.py", "/a b/c.py", "D:\\a\\b\\c.py",
     "b/c.py", "D:/a\\c.py", "/a/", "#2 c.py", '"npm test"', '/x/"npm test"', "/"]
)  # fmt: skip
COMMANDS = st.sampled_from(
    ["npm test", "ls", "echo 'a #2 b'", "x " * 60, "x " * 61, "cd /a && npm test",
     "cd /b && npm test", f"{LONG}a.py", f"{LONG}b.py", 'npm "test"', "", "#1 a", "\n\t"]
)  # fmt: skip
INPUTS: st.SearchStrategy[Any] = st.one_of(
    PATHS.map(lambda path: {"file_path": path}),
    COMMANDS.map(lambda command: {"command": command}),
    COMMANDS,
    st.sampled_from(
        [{}, None, {"todos": []}, {"session_id": 3, "chars": ""}, {"n": 1}, {"n": 2.5, "ok": True},
         {"pattern": "x"}, {"pattern": "x", "path": "/a"}, "*** Begin Patch\n*** Add File: a\n+b"]
    ),
)  # fmt: skip
TOOLS = st.sampled_from(["Read", "Write", "Bash", "mcp__a__b", "exec", "edit", "a:b"])
Made = list[tuple[str, Any]]


def all_of(made: Made) -> tuple[ToolCalls, list[ToolCall]]:
    calls = ToolCalls()
    return calls, [
        calls.add({"call": f"c{at}", "name": tool, "input": inputs})
        for at, (tool, inputs) in enumerate(made)
    ]


@given(st.lists(st.tuples(TOOLS, INPUTS), min_size=2, max_size=12), st.data())
def test_every_name_leads_back(made: Made, data: st.DataObject) -> None:
    calls, added = all_of(made)
    own = added[-1]
    target = data.draw(st.sampled_from(added[:-1]))
    for written in (0, 1, 2):
        assert calls.find(calls.name(target, own, written), own) == (target, written)
    assert calls.find(calls.name(own, own, 1), own) == (own, 1)


@given(st.lists(st.tuples(TOOLS, INPUTS), min_size=3, max_size=16), st.data())
def test_later_calls_change_no_name(made: Made, data: st.DataObject) -> None:
    """A pointer that was sent is found again by whoever reads the conversation as it is later."""
    at = data.draw(st.integers(1, len(made) - 2))
    target = data.draw(st.integers(0, at - 1))
    early, first = all_of(made[: at + 1])
    late, second = all_of(made)
    for written in (0, 1, 2):
        name = early.name(first[target], first[at], written)
        assert late.find(name, second[at]) == (second[target], written)
        assert late.name(second[target], second[at], written) == name


@given(st.lists(st.tuples(TOOLS, INPUTS), min_size=2, max_size=8))
def test_no_name_is_empty(made: Made) -> None:
    calls, added = all_of(made)
    for call in added[:-1]:
        name = calls.name(call, added[-1], 0)
        assert '""' not in name
        assert name != call.tool


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


def label(calls: ToolCalls, tool: str, inputs: object) -> str:
    return calls.add({"call": "c", "name": tool, "input": inputs}).label


def test_labels_say_what_is_run() -> None:
    calls = ToolCalls()
    assert label(calls, "Bash", {"command": "cd /a/b && npm test"}) == '"npm test"'
    assert label(calls, "Bash", {"command": "set -e; CI=1 npm run lint"}) == '"npm run lint"'
    script = '// @exec: {}\nconst r = await tools.exec_command({cmd: "cat a.py"});'
    assert label(calls, "exec", script) == '"cat a.py"'
    script = "f(tools.exec_command({cmd: 'cat a'}), tools.exec_command({cmd: 'cat b'}))"
    assert label(calls, "exec", script) == '"cat a; cat b"'
    assert label(calls, "exec", "// why\ntext(x)") == '"text(x)"'
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n-a\n+b\n*** End Patch"
    assert label(calls, "apply_patch", patch) == '"*** Update File: a.py @@ -a +b *** End P…"'
    assert label(calls, "write_stdin", {"session_id": 12, "chars": ""}) == '"session_id=12"'
    assert label(calls, "write_stdin", {"session_id": 12, "chars": "y\n"}) == '"session_id=12 y"'
    assert label(calls, "Grep", {"output_mode": "content", "pattern": "def "}) == '"def"'
    assert label(calls, "odd", {"n": 3, "ok": True, "x": None, "y": [{}]}) == '"n=3 ok=true"'
    assert label(calls, "read_many_files", {"paths": ["/a", "/b"]}) == '"paths=/a,/b"'
    assert label(calls, "odd", {"n": 10**6000}) == ""


def test_different_commands_get_different_labels() -> None:
    calls = ToolCalls()
    first = label(calls, "Bash", {"command": f"{LONG}a.py"})
    second = label(calls, "Bash", {"command": f"{LONG}b.py"})
    assert first == "\"sed -n '1,80p' lib/another/long/path/to/…\""
    assert second == "\"sed -n '1,80p' lib/another/long/path/to/b.py\""
    assert label(calls, "Bash", {"command": f"{LONG}a.py"}) == first
    assert label(calls, "Bash", {"command": f"{LONG}b.py"}) == second
    assert label(calls, "Bash", {"command": "cd /a && ls"}) == '"ls"'
    assert label(calls, "Bash", {"command": "cd /b && ls"}) == '"cd /b && ls"'
    assert label(calls, "Grep", {"pattern": "x"}) == '"x"'
    assert label(calls, "Grep", {"pattern": "x", "path": "/a"}) == '"pattern=x path=/a"'


def test_calls_that_say_nothing_are_counted() -> None:
    calls = ToolCalls()
    first, second = add(calls, "ExitPlanMode", {}), add(calls, "ExitPlanMode", {})
    own = add(calls, "Bash", {"command": "ls"})
    assert calls.name(first, own, 0) == "ExitPlanMode #1"
    assert calls.name(second, own, 0) == "ExitPlanMode #2"
    assert calls.find("ExitPlanMode #2", own) == (second, 0)
    assert calls.find("ExitPlanMode #3", own) is None


def test_windows_paths_are_short() -> None:
    assert list(endings("D:\\repo\\src/engine.go")) == [
        "engine.go", "src/engine.go", "repo\\src/engine.go", "D:\\repo\\src/engine.go",
    ]  # fmt: skip
    assert list(endings("/a/")) == ["a", "/a/"]
    assert list(endings("a")) == ["a"]


def test_a_short_name_stays_with_the_file_that_it_was_given_for() -> None:
    calls = ToolCalls()
    first = add(calls, "Read", {"file_path": "/a/c.py"})
    own = add(calls, "Read", {"file_path": "/a/c.py"})
    assert calls.name(first, own, 0) == "Read c.py"
    add(calls, "Read", {"file_path": "/b/c.py"})
    later = add(calls, "Bash", {"command": "ls"})
    assert calls.find("Read c.py", own) == (first, 0)
    assert calls.name(own, later, 0) == "Read a/c.py"


def test_many_calls_of_one_name_are_no_trap() -> None:
    """Each output of a batch of parallel calls names the latest call before its own."""
    calls = ToolCalls()
    same = [add(calls, "Bash", {"command": "ls"}) for at in range(30_000)]
    for before, own in pairwise(same):
        assert calls.name(before, own, 0) == 'Bash "ls"'
    assert calls.find('Bash "ls"', same[0]) is None


def test_a_name_with_a_number_of_any_length_is_looked_up() -> None:
    calls = ToolCalls()
    tool = "T #" + "9" * 5000
    call, own = (add(calls, tool, {"x": said}) for said in "ab")
    assert calls.find(calls.name(call, own, 0), own) is None
