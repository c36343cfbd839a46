"""Which outputs are a file's text, and which two may be compared."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.texts import tools
from tsheadroom.texts.naming import ToolCalls
from tsheadroom.texts.tools import ToolCall, command_of, path_of, written_texts


def call(tool: str, inputs: object) -> ToolCall:
    return tools.call_of({"call": "c", "name": tool, "input": inputs})


def bash(command: str) -> ToolCall:
    return call("Bash", {"command": command})


@pytest.mark.parametrize(
    ("one", "other", "compared"),
    [
        ("npm test", "npm test -- --watch", True),
        ("cd /a && timeout 60 npm test | tail -5", "CI=1 npm test", True),
        ("npm test", "npm test", False),
        ("git diff", "npm test", False),
        ("cat a.py", "cat a.py", False),
        ("sed -n 1,80p a.py", "npm test", False),
        ('rg -n "alpha|git" src', "git diff", False),
        ("python3 - <<EOF\ngit log\nEOF", "git diff", False),
        ("git show HEAD:a.py", "git diff", False),
        ("git show HEAD", "git diff", True),
    ],
)
def test_comparison(one: str, other: str, compared: bool) -> None:
    assert tools.compared(bash(one), bash(other)) is compared


def test_the_same_run_again() -> None:
    """A command line says little without its tool, its folder and what it is typed into."""
    here = {"cmd": "npm test", "workdir": "/a"}
    first = call("exec_command", here)
    assert not tools.compared(first, call("exec_command", here | {"yield_time_ms": 9}))
    assert tools.compared(first, call("exec_command", here | {"workdir": "/b"}))
    assert tools.compared(first, call("shell", here))


def test_looks_at_a_process() -> None:
    """Those at one process are looks at one run; those at two may be held against each other."""
    calls = ToolCalls()

    def look(tool: str, inputs: dict[str, object]) -> ToolCall:
        return calls.add({"call": "c", "name": tool, "input": inputs})

    for tool, key in (("write_stdin", "session_id"), ("TaskOutput", "task_id")):
        one, again = look(tool, {key: 7, "chars": ""}), look(tool, {key: 7, "timeout": 9})
        assert not tools.compared(one, again)
        assert tools.compared(one, look(tool, {key: 8, "chars": ""}))
        assert tools.compared(one, bash("npm test"))
        assert not tools.compared(one, bash("cat a.py"))


@pytest.mark.parametrize(
    ("tool", "inputs", "prints"),
    [
        ("Read", {"file_path": "/a.py"}, True),
        ("read", {"filePath": "/a.py"}, True),
        ("read_file", {"absolute_path": "/a.py"}, True),
        ("read_many_files", {"paths": ["/a.py", "/b.py"]}, True),
        ("mcp__fs__read_multiple_files", {"paths": ["/a.py"]}, True),
        ("str_replace_editor", {"command": "view", "path": "/a.py"}, True),
        ("shell", {"command": ["bash", "-lc", "sed -n 1,200p src/a.py"]}, True),
        ("shell", {"command": ["rg", "-n", "a|cat", "src"]}, False),
        ("run_shell_command", {"command": "type a.py", "dir_path": "/a"}, True),
        ("terminal", {"command": "npm test", "path": "/a"}, False),
        ("Bash", {"command": "cat a.py | head -50"}, True),
        ("Bash", {"command": "cd /a && nl -ba a.py | sed -n 1,5p"}, True),
        ("Bash", {"command": "git -C /a show HEAD:src/a.py"}, True),
        ("Bash", {"command": "git cat-file -p abc123"}, True),
        ("Bash", {"command": "git show HEAD"}, False),
        ("Bash", {"command": "git show --format=%h:%s HEAD"}, False),
        ("Bash", {"command": "git diff | cat"}, False),
        ("Bash", {"command": "find . | xargs cat"}, False),
        ("Bash", {"command": "echo a.py | xargs cat"}, True),
        ("Bash", {"command": "cat > a.py <<EOF\ntext\nEOF"}, False),
        ("Bash", {"command": "cat <<EOF\ntext\nEOF"}, False),
        ("Bash", {"command": "cat a.py > b.py"}, False),
        ("Bash", {"command": "echo hello | cat"}, False),
        ("Bash", {"command": "mkdir -p b && cp a.py b && cat b/a.py"}, True),
        ("PowerShell", {"command": "Get-Content D:\\a.py | Select-Object -First 5"}, True),
        ("Bash", {"command": "grep -rn foo src | head"}, False),
        ("Bash", {"command": "npm test | tail -50"}, False),
        ("Bash", {"command": "python3 - <<EOF\nprint(open('cat').read())\nEOF"}, False),
        ("mcp__fs__list_directory", {"path": "/src"}, False),
        ("LS", {"path": "/src"}, False),
        ("Grep", {"pattern": "x", "path": "/src"}, False),
        ("WebFetch", {"url": "https://example.com"}, False),
        ("webfetch", {"url": "https://example.com", "format": "text"}, False),
        ("TodoWrite", {"todos": []}, False),
        # In code mode, what is not known may be a file.
        ("exec", 'text(await tools.exec_command({cmd: "cat a.json"}));', True),
        ("exec", 'text(await tools.exec_command({cmd: "npm test"}));', False),
        ("exec", "text(await tools.exec_command({cmd: command}));", True),
        ("exec", 'f(tools.exec_command({cmd: "git log"}), tools.exec_command({cmd: "ls"}))', True),
        ("wait", {"cell_id": "3"}, True),
        ("write_stdin", {"session_id": 3, "chars": "cat a.json\n"}, True),
        ("write_stdin", {"session_id": 3, "chars": ""}, False),
        ("odd", None, False),
        ("odd", [], False),
        ("exec_command", '{"cmd": "cat a.py', False),
    ],
)
def test_files(tool: str, inputs: object, prints: bool) -> None:
    assert tools.prints_file(call(tool, inputs)) is prints


@pytest.mark.parametrize(
    ("command", "reviewed"),
    [
        ("git diff", True),
        ("git -C /a --no-pager diff HEAD~1 -- a.py | head -100", True),
        ("git diff --stat", False),
        ("git diff --stat -p", True),
        ("git diff --name-only", False),
        ("git show HEAD", True),
        ("git show HEAD:a.py", False),
        ("git show -s HEAD", False),
        ("git log --oneline -5", False),
        ("git log -p -1", True),
        ("git stash show -p", True),
        ("gh pr diff 12", True),
        ("gh pr diff 12 --name-only", False),
        ("gh pr view 12", False),
        ("diff -u a b", True),
        ("gh run view 3 --log-failed | tail -50", True),
        ("gh run view 3", False),
        ("gh api repos/a/b/actions/jobs/3/logs", True),
        ("gh api repos/a/b/actions/jobs/3", False),
        ("docker compose logs web", True),
        ("kubectl -n a logs pod/b", True),
        ("docker ps", False),
        ("journalctl -u a", True),
        ("echo git diff", False),
        ("npm test", False),
    ],
)
def test_what_is_read_line_by_line(command: str, reviewed: bool) -> None:
    assert tools.read_line_by_line(bash(command)) is reviewed


def test_tools_that_show_diffs_and_logs() -> None:
    assert tools.read_line_by_line(call("mcp__git__git_diff", {"path": "/a"}))
    assert tools.read_line_by_line(call("mcp__github__get_job_logs", {"job_id": 3}))
    assert not tools.read_line_by_line(call("Login", {}))
    both = "f(tools.exec_command({cmd: 'git diff'}), tools.exec_command({cmd: 'ls'}))"
    assert tools.read_line_by_line(call("exec", both))


def test_texts_that_begin_like_a_diff() -> None:
    hunk = "@@ -1,2 +1,2 @@ def f():\n a\n-b\n+c\n"
    file = f"diff --git a/a.py b/a.py\nindex 1..2 100644\n--- a/a.py\n+++ b/a.py\n{hunk}"
    commit = f"commit {'0a' * 20}\nAuthor: A <a@b>\n\n    What was done\n\n{file}"
    for text in (hunk, file, commit, f"\n{file}", f"--- a\n+++ b\n{hunk}"):
        assert tools.is_diff(text)
    others = ("", "a\n" + file, "--- a\nb", "- a\n+ b", "@@ odd @@", commit[:60], "commit all")
    assert not any(map(tools.is_diff, others))


UPDATED = "The file /a.py has been updated successfully."
ECHO = f"{UPDATED} Here's the result of running `cat -n`:\n     1→a = 1\n     2→b = 2"
EDIT = {"file_path": "/a.py", "old_string": "x", "new_string": "y"}


@pytest.mark.parametrize(
    ("tool", "inputs", "text", "confirms"),
    [
        ("Edit", EDIT, UPDATED, True),
        ("Edit", EDIT, ECHO, False),
        ("Edit", EDIT, "<tool_use_error>Not found:\n" + "a\n" * 30, True),
        ("Edit", EDIT, "a\n" * 30, False),
        ("Edit", EDIT, "a" * 2000, False),
        ("replace", EDIT, "Successfully modified file: /a.py (1 replacements).", True),
        ("Write", {"file_path": "/a.py", "content": "x"}, "File created: /a.py", True),
        ("str_replace_editor", {"command": "view", "path": "/a.py"}, "a = 1", False),
        ("str_replace_editor", {"command": "create", "path": "/a.py"}, "New file", True),
        ("apply_patch", "*** Begin Patch\n*** End Patch", "Success. M a.py", True),
        ("exec", 'text(await tools.apply_patch("*** Begin Patch"))', "Success. M a.py", True),
        ("exec_command", {"cmd": "apply_patch <<'E'\n*** Begin Patch\nE"}, "Success.", True),
        ("TodoWrite", {"todos": []}, "Todos have been modified", True),
        ("TaskUpdate", {"taskId": "3", "status": "completed"}, "Updated task #3", True),
        ("Read", {"file_path": "/a.py"}, "a = 1", False),
        ("Bash", {"command": "npm test"}, "ok", False),
        ("write_stdin", {"session_id": 3, "chars": "y"}, "ok", False),
    ],
)
def test_confirmations(tool: str, inputs: object, text: str, confirms: bool) -> None:
    assert tools.confirms(call(tool, inputs), text) is confirms


def test_what_calls_are_about() -> None:
    assert path_of({"path": "/src", "pattern": "x"}) == ""
    assert path_of({"path": "/src", "command": "ls"}) == ""
    assert path_of({"command": "view", "path": "/src/a.py"}) == "/src/a.py"
    assert command_of({"command": "view", "path": "/src/a.py"}) == ""
    assert command_of({"command": ["bash", "-lc", "ls -l"]}) == "ls -l"
    assert command_of({"command": ["ls", "-l", "a b"]}) == "ls -l 'a b'"
    assert command_of({"commands": ["ls", "git status"]}) == "ls\ngit status"
    assert command_of({"command": ["ls", 3], "cmd": 4}) == ""


@pytest.mark.parametrize(
    ("inputs", "texts"),
    [
        ({"old_string": "a", "new_string": "b"}, [(["input", "new_string"], "b")]),
        ({"oldString": "a", "newString": "b"}, [(["input", "newString"], "b")]),
        ({"oldText": "a", "newText": "b"}, [(["input", "newText"], "b")]),
        ({"oldString": "a"}, []),
        ({"content": "b"}, [(["input", "content"], "b")]),
        ({"edits": [{"old_string": "a", "new_string": "b"}, "odd", {"newText": "c"}]},
         [(["input", "edits", 0, "new_string"], "b"), (["input", "edits", 2, "newText"], "c")]),
        ({"edits": "odd"}, []),
        ("*** Begin Patch\n*** Add File: a.py\n+b\n*** End Patch", []),
        (None, []),
    ],
)  # fmt: skip
def test_what_calls_write(inputs: object, texts: list[object]) -> None:
    assert list(written_texts(inputs)) == texts


@pytest.mark.parametrize(
    ("inputs", "edits", "whole", "part"),
    [
        ({"file_path": "/a", "old_string": "x", "new_string": "y"}, True, False, False),
        ({"file_path": "/a", "content": "all of it"}, False, True, False),
        ({"filePath": "/a", "oldString": "x", "newString": "y"}, True, False, False),
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
        ("edit", {"path": "/a", "edits": [{"oldText": "x", "newText": "y"}]}, ["x"]),
        ("exec", f"text(await tools.apply_patch({json.dumps(PATCH)}));", ["def f():\n    old"]),
        ("exec", f"const p = {json.dumps(PATCH.splitlines())}.join('\\n');", ["def f():\n    old"]),
        ("exec", 'tools.exec_command({cmd: "ls"})', []),
        ("Write", {"content": "x"}, []),
        ("odd", None, []),
        ("odd", {"edits": 3, "old_string": ["x"]}, []),
    ],
)  # fmt: skip
def test_texts_that_edits_look_for(tool: str, inputs: object, texts: list[str]) -> None:
    assert tools.replaced_texts(tool, inputs) == texts


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
    | st.sampled_from(["*** Begin Patch", "cat a", "git diff", "tools.exec_command({cmd: 'a'})"]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
KEYS = st.sampled_from(
    ["path", "file_path", "command", "cmd", "commands", "edits", "content", "old_string", "pattern",
     "session_id", "chars", "cell_id", "workdir", "odd"]
)  # fmt: skip
INPUTS = VALUES | st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES, max_size=2))
NAMES = st.sampled_from(["Bash", "exec", "write_stdin", "Edit", "apply_patch", "read", ""])


@given(NAMES, INPUTS, NAMES, INPUTS, st.text())
def test_no_input_is_too_odd(
    tool: str, inputs: object, other_tool: str, other_inputs: object, text: str
) -> None:
    one, other = call(tool, inputs), call(other_tool, other_inputs)
    assert tools.compared(one, other) is tools.compared(other, one)
    for answer in (
        tools.prints_file(one),
        tools.read_line_by_line(one),
        tools.runs_commands(one),
        tools.confirms(one, text),
        tools.is_diff(text),
    ):
        assert isinstance(answer, bool)
    assert all(isinstance(old, str) for old in tools.replaced_texts(tool, inputs))
    for way, new in written_texts(inputs):
        found: Any = {"input": inputs}
        for step in way:
            found = found[step]
        assert found == new
