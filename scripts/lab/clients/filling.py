"""Turns the plan's actions into calls of whatever tools a client declares, by names and schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scripts.lab.clients.apis.parts import Json, Tool
from scripts.lab.clients.plan import (
    TASKS,
    Action,
    Delegate,
    Edit,
    Find,
    Folder,
    Read,
    Run,
    Search,
    Todo,
    Write,
    prompt,
)

Tools = Mapping[str, Tool]

# Names that clients give such a tool, and to the fields of its arguments. The first that is
# declared is taken.
_NAMES: dict[type[Action], Sequence[str]] = {
    Read: ("Read", "read_file", "read"),
    Search: ("Grep", "grep_search", "search_file_content", "grep"),
    Find: ("Glob", "glob", "find"),
    Folder: ("LS", "list_directory", "list", "ls"),
    Run: ("Bash", "run_shell_command", "exec_command", "shell_command", "shell", "bash"),
    Edit: ("Edit", "replace", "edit"),
    Write: ("Write", "write_file", "write"),
    Todo: ("TodoWrite", "update_plan", "todowrite", "write_todos", "todo_write"),
    Delegate: ("Task", "Agent", "task", "spawn_agent"),
}
_PATH = ("file_path", "filePath", "absolute_path", "path")
_FOLDER = ("dir_path", "path", "directory")
_PATTERN = ("pattern", "query")
_COMMAND = ("command", "cmd")
_OLD = ("old_string", "oldString", "oldText")
_NEW = ("new_string", "newString", "newText")
_CONTENT = ("content", "contents")
_PROMPT = ("prompt", "message")

# What a client may ask for beside what an action says, and what it gets.
_TOKENS = {"max_output_tokens": 20_000}
_EXTRAS: dict[str, Json] = {
    "description": "Does what is asked",
    "instruction": "Change this line as discussed.",
    "yield_time_ms": 10_000,
    **_TOKENS,
}
# Codex's code mode: what the model's program shows of a result. Most programs show the output.
_SHOWN = (
    "text(r.output);",
    "text(r.output);",
    "text(r);",
    "text(`exit ${r.exit_code}\\n` + r.output);",
)


@dataclass(frozen=True, slots=True)
class Made:
    """A call: the tool's name, and its arguments. These are a text if the tool is free-form."""

    tool: str
    arguments: Json


def calls(
    actions: Sequence[Action], tools: Tools, workspace: str, step: int
) -> list[tuple[Made, Action]]:
    """The calls of one step of the plan. An action that no tool can do is left out."""
    filling = Filling(tools, workspace, step)
    made = ((filling.call(action), action) for action in actions)
    return [(call, action) for call, action in made if call is not None]


class Filling:
    """Makes the calls of one step. `workspace` is the path of the folder that is worked in."""

    def __init__(self, tools: Tools, workspace: str, step: int) -> None:
        self._tools = tools
        self._workspace = workspace
        self._step = step

    def call(self, action: Action) -> Made | None:
        """The call that does this, or None if there is no tool for it."""
        program = self._tools.get("exec")
        if program is not None and program.free:
            return self._by_program(action)
        name = next((n for n in _NAMES[type(action)] if n in self._tools), None)
        if name is None:
            return self._by_shell(action)
        return Made(name, self._arguments(action, self._tools[name]))

    def _arguments(self, action: Action, tool: Tool) -> dict[str, Json]:
        given = _Arguments(tool)
        self._fill(action, given)
        for name, value in _EXTRAS.items():
            given.put(value, name)
        return given.complete()

    def _fill(self, action: Action, given: _Arguments) -> None:
        match action:
            case Read():
                given.put(self._path(action.path), *_PATH)
                if action.first:
                    given.put(action.first, "start_line", "offset")
                    given.put(action.first + action.count - 1, "end_line")
                    given.put(action.count, "limit")
            case Search():
                given.put(action.pattern, *_PATTERN)
                given.put(self._path(action.path), *_FOLDER)
                given.put("content", "output_mode")
                given.put(True, "-n")
            case Find():
                given.put(action.pattern, *_PATTERN)
            case Folder():
                given.put(self._path(action.path), *_FOLDER)
            case Run():
                given.put(action.command, *_COMMAND)
                if given.has("cmd"):
                    given.put(self._workspace, "workdir")
            case Edit():
                given.put(self._path(action.path), *_PATH)
                given.put_edit(action)
            case Write():
                given.put(self._path(action.path), *_PATH)
                given.put(action.content, *_CONTENT)
            case Todo():
                given.put_tasks(action.done)
            case Delegate():
                given.put(prompt(action.plan, self._workspace), *_PROMPT)
                given.put("look_around", "task_name")
                given.put(False, "run_in_background")
                given.put_agent()

    def _path(self, path: str) -> str:
        return self._workspace if path == "." else f"{self._workspace}/{path}"

    def _by_shell(self, action: Action) -> Made | None:
        """The call for a client that has few tools: it patches files, and runs commands."""
        patch = self._tools.get("apply_patch")
        if patch is not None and isinstance(action, Edit | Write):
            return Made("apply_patch", _patch(action))
        command = _command(action)
        return self.call(Run(command)) if command and self._has(Run) else None

    def _by_program(self, action: Action) -> Made | None:
        """The call for Codex's code mode: a program that calls the tools and shows the result."""
        if isinstance(action, Edit | Write):
            return Made("exec", f"text(await tools.apply_patch({json.dumps(_patch(action))}));")
        command = action.command if isinstance(action, Run) else _command(action)
        if not command:
            return None
        asked = json.dumps({"cmd": command, "workdir": self._workspace, **_TOKENS})
        return Made(
            "exec",
            f"// @exec: {json.dumps(_TOKENS)}\nconst r = await tools.exec_command({asked});\n"
            + _SHOWN[self._step % len(_SHOWN)],
        )

    def _has(self, kind: type[Action]) -> bool:
        return any(name in self._tools for name in _NAMES[kind])


class _Arguments:
    """The arguments of one call, as its tool's schema wants them."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self._given: dict[str, Json] = {}

    def has(self, name: str) -> bool:
        return name in self._tool.fields

    def put(self, value: Json, *names: str) -> None:
        """Set the first of these fields that the tool has, unless it is set."""
        name = next((n for n in names if self.has(n)), None)
        if name is not None:
            self._given.setdefault(name, value)

    def put_edit(self, edit: Edit) -> None:
        """Set the text that is replaced and the new one. Some tools take a list of such pairs."""
        inner = (self._tool.fields.get("edits") or {}).get("items") or {}
        fields = inner.get("properties") or {}
        if fields and not any(map(self.has, _OLD)):
            nested = _Arguments(replace(self._tool, fields=fields))
            nested.put_edit(edit)
            self._given["edits"] = [nested._given]
            return
        self.put(edit.old, *_OLD)
        self.put(edit.new, *_NEW)

    def put_tasks(self, done: int) -> None:
        """Set the list of tasks, in the words of this tool."""
        name = next((n for n in ("plan", "todos") if self.has(n)), None)
        if name is None:
            return
        inner = (self._tool.fields[name].get("items") or {}).get("properties") or {}
        self._given[name] = [
            {field: _task_field(field, number, done) for field in inner}
            for number in range(len(TASKS))
        ]

    def put_agent(self) -> None:
        """Set what kind of agent is started. Clients name the kinds in the tool's description."""
        kinds = re.findall(r"general-purpose|general", json.dumps(self._tool.declaration))
        self.put(kinds[0] if kinds else "default", "subagent_type")

    def complete(self) -> dict[str, Json]:
        """The arguments, with a value for each field that must have one."""
        for name in self._tool.required:
            self._given.setdefault(name, _anything(self._tool.fields.get(name) or {}, name))
        return self._given


def _task_field(field: str, number: int, done: int) -> str:
    states = {-1: "completed", 0: "in_progress", 1: "pending"}
    known = {
        "status": states[(number > done) - (number < done)],
        "id": str(number),
        "priority": "medium",
    }
    return known.get(field, TASKS[number])


def _anything(schema: Mapping[str, Json], name: str) -> Json:
    if schema.get("enum"):
        return schema["enum"][0]
    values: dict[str, Json] = {"boolean": False, "number": 1, "integer": 1, "array": []}
    return {**values, "object": {}}.get(str(schema.get("type")), name)


def _patch(action: Edit | Write) -> str:
    """A change in the form of Codex's tool for patches."""
    if isinstance(action, Write):
        added = "\n".join(f"+{line}" for line in action.content.split("\n"))
        body = f"*** Add File: {action.path}\n{added}"
    else:
        old, new = action.old.rstrip("\n"), action.new.rstrip("\n")
        body = f"*** Update File: {action.path}\n@@\n-{old}\n+{new}"
    return f"*** Begin Patch\n{body}\n*** End Patch"


def _command(action: Action) -> str:
    """The command that does the same in a shell; "" if there is none."""
    match action:
        case Read() if action.first:
            return f"sed -n '{action.first},{action.first + action.count - 1}p' {action.path}"
        case Read():
            return f"cat {action.path}"
        case Search():
            return f"grep -rn '{action.pattern}' {action.path}"
        case Find():
            return f"find . -name '{action.pattern.rpartition('/')[2]}' | sort"
        case Folder():
            return f"ls -la {action.path}"
        case Write():
            return f"cat > {action.path} <<'END'\n{action.content}\nEND"
        case Edit():
            return _replacing(action)
    return ""


def _replacing(edit: Edit) -> str:
    return (
        f"python3 - <<'END'\nfrom pathlib import Path\n\npath = Path({edit.path!r})\n"
        f"text = path.read_text()\nassert {edit.old!r} in text\n"
        f"path.write_text(text.replace({edit.old!r}, {edit.new!r}))\nEND"
    )
