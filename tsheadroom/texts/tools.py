"""What is known of agents' tools: how their inputs are spelled, which outputs are what.

Names and keys are those that agents were seen to use (Claude Code, Codex, Gemini CLI, OpenCode, pi,
Qwen Code, SWE-agent, file servers over MCP). A tool that is not known here loses nothing but
savings: no path means no short name, no command means that two outputs are compared.
Standard library only: daemon and child both read it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tsheadroom.texts import javascript, patches, shell
from tsheadroom.texts.shell import Command

# Keys of a call's input.

_PATH_KEYS = ("file_path", "notebook_path", "filePath", "absolute_path", "target_file", "filepath",
              "path")  # fmt: skip
# Beside one of these a bare "path" is where to search, not what the call is about.
_SCOPES = ("pattern", "query", "regex")
_COMMAND_KEYS = ("command", "cmd", "script", "commands")
# What an editor is told under "command"; beside a path that is no shell's command line.
_EDITOR_COMMANDS = frozenset(("view", "create", "str_replace", "insert", "undo_edit", "write"))
_FOLDER_KEYS = ("workdir", "cwd", "working_directory", "dir_path", "directory", "path")
# A process that runs already, which a call looks at or types into.
_PROCESS_KEYS = ("session_id", "task_id", "bash_id", "shell_id", "process_id", "terminal_id", "pid",
                 "cell_id")  # fmt: skip
_TYPED_KEYS = ("chars", "input", "text")
_SPELLED_CHARS = 2_000  # of one member of an input
# Text that goes into a file as it stands here; never what is replaced by it.
_NEW_KEYS = ("new_string", "new_str", "newString", "newText")
_WHOLE_KEYS = ("content", "contents", "file_text")  # of these, what is all of the file then
_WRITTEN_KEYS = (*_WHOLE_KEYS, *_NEW_KEYS, "new_source", "insert_text")
# Text that an edit looks for and takes out.
_REPLACED_KEYS = ("old_string", "old_str", "oldString", "oldText")
_EDIT_KEYS = (*_REPLACED_KEYS, "edits", "insert_line", "new_source")
_RANGE_KEYS = ("offset", "limit", "view_range", "start_line", "end_line", "range", "lines", "pages")

# Names of tools, and words in them.

# Tools whose outputs are what a process printed.
_RUNNERS = re.compile(
    r"bash|shell|exec|terminal|run_command|command|taskoutput|powershell|process|stdin",
    re.IGNORECASE,
)
# Tools that are given a path and print something else than that file's text.
_LISTERS = re.compile(r"list|tree|search|find|stat|info|glob|grep|^ls$", re.IGNORECASE)
# Tools that show a file, in lower case.
_FILE_READERS = frozenset(
    ("read", "read_file", "view", "str_replace_based_edit_tool", "str_replace_editor")
)
SEARCH_TOOLS = frozenset(("Bash", "Grep"))
"""The names by which Headroom 0.42 knows that an output may be a list of search results."""
_CODE_MODE = "exec"  # the tool of Codex that runs JavaScript
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_READING_WORDS = frozenset(("read", "view", "open", "cat", "get", "show"))
_FILE_WORDS = frozenset(("file", "files"))
_REVIEW_WORDS = frozenset(("diff", "logs"))
_ACTING_WORDS = frozenset(
    ("append", "copy", "create", "delete", "edit", "edits", "editor", "insert", "kill", "mkdir",
     "move", "multiedit", "notebookedit", "patch", "plan", "remove", "rename", "replace", "save",
     "todo", "todos", "todowrite", "undo", "update", "write"),
)  # fmt: skip

# Programs of a command line, in lower case.

# Programs that print what is stored: two of their outputs are excerpts, not results to compare.
_PRINTERS = frozenset(
    ("cat", "bat", "batcat", "nl", "head", "tail", "sed", "awk", "less", "more", "type",
     "get-content", "gc"),
)  # fmt: skip
_SEARCHERS = frozenset(
    ("grep", "egrep", "fgrep", "rg", "ag", "ack", "find", "fd", "ls", "tree", "jq", "wc", "sort",
     "uniq", "dir", "findstr", "where", "select-string", "sls", "get-childitem", "gci",
     "where-object", "measure-object", "sort-object", "group-object"),
)  # fmt: skip
# Programs that print nothing of their own, and filters that leave a file's words as they are.
_SILENT = frozenset(
    ("cut", "tr", "tee", "xargs", "echo", "printf", "cd", "pushd", "popd", "true", "false",
     "export", "set", "unset", "source", "test", "sleep", "wait", "read", "pwd", "mkdir", "touch",
     "rm", "cp", "mv", "ln", "chmod", "rmdir", "basename", "dirname", "exit", "return", "break",
     "continue", "local", "declare", "shift", "trap", "shopt", "command", "which", "column",
     "set-location", "sl", "select-object", "select", "out-string", "out-null", "write-output",
     "write-host", "foreach-object"),
)  # fmt: skip
_LOG_PROGRAMS = frozenset(("journalctl", "stern", "dmesg"))
_CONTAINER_PROGRAMS = frozenset(
    ("docker", "docker-compose", "podman", "nerdctl", "kubectl", "oc", "heroku", "fly", "flyctl",
     "vercel", "pm2"),
)  # fmt: skip
_DIFF_PROGRAMS = frozenset(("diff", "colordiff", "sdiff", "interdiff"))
_GIT_OPTIONS = ("-C", "-c", "--git-dir", "--work-tree", "--namespace")  # each takes a word
_SUMMARIES = re.compile(
    r"-s|-q|--(?:stat|shortstat|numstat|dirstat|summary|name-only|name-status|check|no-patch|quiet)"
    r"(?:=.*)?"
)
_PATCH_OPTIONS = frozenset(("-p", "-u", "--patch", "-L"))

# Outputs.

_DIFF = re.compile(
    r"^(?:diff --git |diff -|Index: |--- [^\n]*\n\+\+\+ |@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@)",
    re.MULTILINE,
)
_COMMIT = re.compile(r"(?:commit|From) [0-9a-f]{7,40}\b")
_DIFF_CHARS = 4_000  # of an output in which its first hunk is looked for
_NUMBERED = re.compile(r"^ *\d+(?:→|\t|:|\|)", re.MULTILINE)
_CONFIRMATION_LINES = 10
_CONFIRMATION_CHARS = 1_000
_FAILURE = re.compile(r"\W*(?:tool_use_error|error|failed)\b", re.IGNORECASE)


@dataclass(slots=True, eq=False)
class ToolCall:
    """One tool call of a conversation: which tool, what it is about, and what tells it apart.

    `naming.py` fills in what a name is made of: `label`, `order` (its number among all calls of the
    conversation) and `ordinal` (its number among those of the same `key`). Both count from 1.
    """

    id: str
    tool: str
    path: str = ""
    command: str = ""  # the one command line that it runs
    label: str = ""  # what stands for its input when there is no path
    order: int = 0
    ordinal: int = 0
    writes: bool = False  # its input holds text that goes into a file
    commands: tuple[str, ...] = ()  # all command lines of a script, if that is all it does
    script: str = ""  # what it runs if that is a program, or typed into a running process
    process: str = ""  # which running process it looks at, such as "session_id=7"
    folder: str = ""  # where its command runs, if it says so
    acts: bool = False  # it changes something, and its output says whether that worked
    _run: _Run | None = field(default=None, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """What calls have in common that only an ordinal tells apart."""
        return self.tool, self.path or self.label


@dataclass(frozen=True, slots=True)
class _Run:
    """What command lines do, as far as their programs are known."""

    programs: frozenset[str]  # those that are not mere readers or filters
    prints: bool  # they print what is stored, and nothing else
    reviewed: bool  # they print a diff or a log


def call_of(part: Mapping[str, Any]) -> ToolCall:
    """What a tool_use part says of its call, without what makes its name.

    The part's `input` is the decoded input: a mapping, a string, or anything else.
    """
    call = ToolCall(str(part.get("call") or ""), str(part.get("name") or ""))
    given = part.get("input")
    if isinstance(given, str):
        _take_text(call, given)
    elif isinstance(given, Mapping):
        call.path, call.command = path_of(given), command_of(given)
        _take_process(call, given)
        if call.command:
            folders = (given.get(key) for key in _FOLDER_KEYS)
            call.folder = next((f for f in folders if isinstance(f, str) and f), "")
        call.acts = _acts(call, given)
    return call


def _take_text(call: ToolCall, text: str) -> None:
    if call.tool.lower().rpartition(".")[2] == _CODE_MODE:
        call.script = text
        call.commands = tuple(javascript.commands(text) or ())
        call.command = call.commands[0] if len(call.commands) == 1 else ""
        call.acts = not call.commands and patches.holds_patch(text)
    elif patches.holds_patch(text):
        call.acts = True
    elif _RUNNERS.search(call.tool) and not text.lstrip().startswith("{"):
        call.command = text


def _take_process(call: ToolCall, inputs: Mapping[str, Any]) -> None:
    if call.command or not (_RUNNERS.search(call.tool) or "cell_id" in inputs):
        return
    for key in _PROCESS_KEYS:
        value = inputs.get(key)
        if isinstance(value, (str, int)) and spell(value):
            call.process = f"{key}={spell(value)}"
            typed = (inputs.get(k) for k in _TYPED_KEYS)
            text = next((t for t in typed if isinstance(t, str) and t), "")
            call.script = text if any(c > " " for c in text) else ""
            return


def _acts(call: ToolCall, inputs: Mapping[str, Any]) -> bool:
    if inputs.get("command") == "view":
        return False
    if patches.holds_patch(call.command) or any(map(patches.holds_patch, _strings(inputs))):
        return True
    if call.command or call.process:
        return False
    named = not _ACTING_WORDS.isdisjoint(_words(call.tool))
    return named or any(key in inputs for key in (*_EDIT_KEYS, *_WRITTEN_KEYS))


def _strings(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield the strings of an input, and those of its lists."""
    for value in inputs.values():
        for text in value if isinstance(value, list) else (value,):
            if isinstance(text, str):
                yield text


def spell(value: Any) -> str:
    """A member of an input in words, bounded: a string, number or truth value, or a list of them.

    "" for anything else.
    """
    if isinstance(value, list):
        return ",".join(filter(None, (spell(x) for x in value[:9] if not isinstance(x, list))))
    if isinstance(value, str):
        return value[:_SPELLED_CHARS]
    if isinstance(value, bool):
        return "true" if value else "false"
    number = isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= 64)
    return str(value) if number else ""


def _words(tool: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORDS.findall(tool))


def path_of(inputs: Mapping[str, Any]) -> str:
    """The one file that a call is about; "" when there is none."""
    for key in _PATH_KEYS:
        value = inputs.get(key)
        if isinstance(value, str) and value:
            scope = key == "path" and any(other in inputs for other in _SCOPES)
            return "" if scope or (key == "path" and command_of(inputs)) else value
    return ""


def command_of(inputs: Mapping[str, Any]) -> str:
    """The shell command of a call; "" when there is none."""
    for key in _COMMAND_KEYS:
        value = inputs.get(key)
        if isinstance(value, str) and value:
            return "" if value in _EDITOR_COMMANDS and "path" in inputs else value
        if isinstance(value, list) and value and all(isinstance(x, str) for x in value):
            if key == "commands":
                return "\n".join(value)
            # ["bash", "-lc", "the command"], as some agents spell it.
            return shell.script_of(value) or shlex.join(value)
    return ""


def written_texts(inputs: Any) -> Iterator[tuple[list[str | int], str]]:
    """The texts that a call writes into files, each with the way to it from the call's part.

    The way is of the decoded input: ["input", "content"], ["input", "edits", 0, "new_string"]. Only
    the first key that holds one counts, and every edit of a list of edits. A patch writes nothing
    that stands in it word for word, because each line of it begins with a sign.
    """
    if not isinstance(inputs, Mapping):
        return
    for key in _WRITTEN_KEYS:
        value = inputs.get(key)
        if isinstance(value, str):
            yield ["input", key], value
            return  # one text a call, or a pointer could not say which
    edits = inputs.get("edits")
    if isinstance(edits, list):
        for at, edit in enumerate(edits):
            for key in _NEW_KEYS:
                value = edit.get(key) if isinstance(edit, Mapping) else None
                if isinstance(value, str):
                    yield ["input", "edits", at, key], value
                    break


def replaced_texts(tool: str, inputs: Any) -> list[str]:
    """The texts that an edit looks for in a file to replace them, in the order of the input.

    `inputs` is the call's decoded input, a mapping or a string. Of a patch, each hunk's kept and
    removed lines are one text. [] if the call is no edit, or only adds.
    """
    if isinstance(inputs, str):
        script = tool.lower().rpartition(".")[2] == _CODE_MODE
        texts: Iterable[str] = javascript.literals(inputs) if script else [inputs]
        return [old for text in texts for old in patches.old_texts(text)]
    if not isinstance(inputs, Mapping):
        return []
    edits = inputs.get("edits")
    found = []
    for edit in (inputs, *(edits if isinstance(edits, list) else ())):
        if isinstance(edit, Mapping):
            values = (edit.get(key) for key in _REPLACED_KEYS)
            found += [text for text in values if isinstance(text, str) and text][:1]
    return found or [old for text in _strings(inputs) for old in patches.old_texts(text)]


def edits_file(inputs: Mapping[str, Any]) -> bool:
    """True if the call changes a part of a file, so that no input holds all of it."""
    return any(key in inputs for key in _EDIT_KEYS)


def writes_whole_file(inputs: Mapping[str, Any]) -> bool:
    """True if an input is all that the file holds after the call. Ask `edits_file` first."""
    return any(isinstance(inputs.get(key), str) for key in _WHOLE_KEYS)


def reads_file(tool: str) -> bool:
    """True if a tool of this name shows a file."""
    return tool.lower() in _FILE_READERS


def asks_for_part(inputs: Mapping[str, Any]) -> bool:
    """True if a call that reads a file names the lines or pages that it wants."""
    return any(inputs.get(key) is not None for key in _RANGE_KEYS)


def runs_commands(call: ToolCall) -> bool:
    """True if the call's output is what a process printed."""
    return bool(call.command or call.process) or _RUNNERS.search(call.tool) is not None


def prints_file(call: ToolCall) -> bool:
    """True if the output is a file's text, or may well be one.

    An agent edits by its exact words, so only what stands outside of them (line numbers) may
    change. What a script prints, or a program that was typed to, is not known: it counts as a file.
    """
    if call.path:
        return _LISTERS.search(call.tool) is None
    if call.command:
        run = _run_of(call)
        return run is not None and run.prints
    if call.script or call.process.startswith("cell_id="):
        return True
    words = _words(call.tool)
    return not (words.isdisjoint(_READING_WORDS) or words.isdisjoint(_FILE_WORDS))


def read_line_by_line(call: ToolCall) -> bool:
    """True if the output is a diff or a log, of which people read every line.

    Nothing may be taken together inside of it, because a line counts where it stands.
    """
    run = _run_of(call)
    if run is not None and run.reviewed:
        return True
    return not call.command and not _REVIEW_WORDS.isdisjoint(_words(call.tool))


def is_diff(text: str) -> bool:
    """True if a text begins like a unified diff, or like a commit that is shown with one."""
    start = text[:_DIFF_CHARS].lstrip("\r\n")
    if _COMMIT.match(start):
        return _DIFF.search(start) is not None
    return _DIFF.match(start) is not None


def confirms(call: ToolCall, text: str) -> bool:
    """True if an output only says whether an edit, or another action, worked.

    False if it echoes the file, with line numbers: those lines may be folded like any others.
    """
    if not (call.acts or call.writes) or len(text) > _CONFIRMATION_CHARS:
        return False
    if _FAILURE.match(text):
        return True  # it may quote what was not found
    return text.count("\n") < _CONFIRMATION_LINES and _NUMBERED.search(text) is None


def compared(call: ToolCall, other: ToolCall) -> bool:
    """True if a reader may hold one output against the other, so that neither may be folded.

    That is so when both ran the same program, one that does more than print a file, and when what
    was run is not known. Two looks at one running process are not two runs of it. The same command
    line run again, in the same folder, says what has changed since, and what has not may be folded.
    """
    if not (runs_commands(call) and runs_commands(other)) or _same_run(call, other):
        return False
    mine, theirs = _run_of(call), _run_of(other)
    if (mine and not mine.programs) or (theirs and not theirs.programs):
        return False  # one of them only shows what is stored
    if mine is None or theirs is None:
        return (call.key, call.script) != (other.key, other.script)
    return not mine.programs.isdisjoint(theirs.programs)


def _same_run(call: ToolCall, other: ToolCall) -> bool:
    if call.tool != other.tool or call.process != other.process:
        return False
    if call.process:
        return True
    mine, theirs = (call.command, call.script), (other.command, other.script)
    return any(mine) and mine == theirs and call.folder == other.folder


def programs(command: str) -> frozenset[str]:
    """The programs of a command line that are not mere readers or filters, in lower case."""
    return _run([command]).programs


def _run_of(call: ToolCall) -> _Run | None:
    """What a call's command lines do; None if they are not known."""
    lines = (call.command,) if call.command else call.commands
    if call._run is None and lines:
        call._run = _run(lines)
    return call._run


def _run(lines: Iterable[str]) -> _Run:
    found, prints, searches, reviewed = set(), False, False, False
    for command in (command for line in lines for command in shell.commands(line)):
        reviewed = reviewed or _reviewed(command)
        if _searches(command):
            searches = True
        elif _prints(command):
            prints = prints or not (command.fed or command.diverted)
        elif command.program not in _SILENT:
            found.add(command.program)
    return _Run(frozenset(found), prints and not searches and not found, reviewed)


def _searches(command: Command) -> bool:
    if command.program == "git":
        return _subcommand(command)[0] in ("grep", "ls-files", "ls-tree")
    return command.program in _SEARCHERS


def _prints(command: Command) -> bool:
    """True if a program prints what is stored, as it is stored."""
    if command.program != "git":
        return command.program in _PRINTERS
    name, arguments = _subcommand(command)
    if name == "cat-file":
        return "-p" in arguments or "blob" in arguments
    objects = [a for a in arguments if not a.startswith("-")]
    return name == "show" and bool(objects) and all(":" in a for a in objects)


def _reviewed(command: Command) -> bool:
    """True if a program prints a diff or a log."""
    program, arguments = command.program, command.arguments
    if program in ("git", "jj", "hg", "svn"):
        return _shows_diff(*_subcommand(command)) and not _prints(command)
    if program in ("gh", "glab"):
        return _shows_run(arguments)
    if program in _CONTAINER_PROGRAMS:
        return "logs" in arguments[:6]
    return program in _DIFF_PROGRAMS or program in _LOG_PROGRAMS


def _shows_diff(name: str, arguments: tuple[str, ...]) -> bool:
    patch = any(a in _PATCH_OPTIONS or a.startswith("-L") for a in arguments)
    if name in ("log", "stash", "diff-tree", "whatchanged", "reflog"):
        return patch
    summary = any(map(_SUMMARIES.fullmatch, arguments))
    return name in ("diff", "show", "range-diff", "format-patch") and (patch or not summary)


def _shows_run(arguments: tuple[str, ...]) -> bool:
    """True if GitHub's or GitLab's program shows the log of a run, or a diff."""
    if arguments[:1] == ("api",):
        return any(a.rstrip("/").partition("?")[0].endswith(("/logs", "/trace")) for a in arguments)
    if arguments[:1] in (("pr",), ("mr",)):
        return _shows_diff(arguments[1] if len(arguments) > 1 else "", arguments[2:])
    log = any(a.startswith("--log") for a in arguments)
    return log or arguments[:2] in (("ci", "trace"), ("job", "trace"))


def _subcommand(command: Command) -> tuple[str, tuple[str, ...]]:
    """What git is to do, and with which arguments."""
    arguments, at = command.arguments, 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in _GIT_OPTIONS else 1
    return (arguments[at] if at < len(arguments) else ""), arguments[at + 1 :]
