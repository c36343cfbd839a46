"""Actions become calls of the tools that a client declares."""

from __future__ import annotations

import json

from scripts.lab.clients import filling
from scripts.lab.clients.apis.parts import Body, Tool
from scripts.lab.clients.plan import Action, Delegate, Edit, Read, Run, Search, Todo, Write

IN = "/srv/work"


def made(action: Action, tools: dict[str, Tool], step: int = 0) -> filling.Made | None:
    calls = filling.calls([action], tools, IN, step)
    return calls[0][0] if calls else None


def tool(*fields: str, required: tuple[str, ...] = ()) -> Tool:
    return Tool({field: {"type": "string"} for field in fields}, required)


def test_fields_get_the_names_that_the_tool_has() -> None:
    read = Read("a.py", 10, 5)
    by_lines = made(read, {"read_file": tool("absolute_path", "start_line", "end_line")})
    assert by_lines == filling.Made(
        "read_file", {"absolute_path": f"{IN}/a.py", "start_line": 10, "end_line": 14}
    )
    by_count = made(read, {"Read": tool("file_path", "offset", "limit")})
    assert by_count == filling.Made("Read", {"file_path": f"{IN}/a.py", "offset": 10, "limit": 5})


def test_what_a_tool_must_have_is_there() -> None:
    call = made(Run("make"), {"bash": tool("command", "reason", required=("command", "reason"))})
    assert call == filling.Made("bash", {"command": "make", "reason": "reason"})


def test_an_edit_may_be_a_list_of_pairs() -> None:
    pair: Body = {"properties": {"oldText": {}, "newText": {}}}
    edits = Tool({"path": {}, "edits": {"type": "array", "items": pair}})
    call = made(Edit("a.py", "x", "y"), {"edit": edits})
    assert call == filling.Made(
        "edit", {"path": f"{IN}/a.py", "edits": [{"oldText": "x", "newText": "y"}]}
    )


def test_a_client_with_a_shell_alone_gets_commands() -> None:
    shell = {"exec_command": tool("cmd", "workdir")}
    for action, command in (
        (Read("a.py", 3, 2), "sed -n '3,4p' a.py"),
        (Search("def ", "lib"), "grep -rn 'def ' lib"),
    ):
        call = made(action, shell)
        assert call == filling.Made("exec_command", {"cmd": command, "workdir": IN})


def test_a_client_that_patches_gets_patches() -> None:
    tools = {"exec_command": tool("cmd"), "apply_patch": Tool(free=True)}
    call = made(Write("a.py", "1\n2"), tools)
    assert call is not None
    assert call.tool == "apply_patch"
    assert "*** Add File: a.py\n+1\n+2\n*** End Patch" in call.arguments


def test_codex_code_mode_gets_a_program() -> None:
    tools = {"exec": Tool(free=True)}
    call = made(Read("a.py"), tools)
    assert call is not None
    assert 'tools.exec_command({"cmd": "cat a.py"' in call.arguments
    assert call.arguments.endswith("text(r.output);")
    shown = {made(Read("a.py"), tools, step) for step in range(4)}
    assert len(shown) == 3


def test_what_no_tool_can_do_is_left_out() -> None:
    shell = {"bash": tool("command")}
    assert made(Todo(1), shell) is None
    assert made(Delegate("sub"), shell) is None
    assert made(Read("a.py"), {}) is None


def test_tasks_come_in_the_words_of_the_tool() -> None:
    item: Body = {"properties": {"step": {}, "status": {}}}
    plan = {"update_plan": Tool({"plan": {"type": "array", "items": item}})}
    call = made(Todo(1), plan)
    assert call is not None
    states = [task["status"] for task in call.arguments["plan"]]
    assert states[:3] == ["completed", "in_progress", "pending"]
    assert "Look around" in json.dumps(call.arguments)
