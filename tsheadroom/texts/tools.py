"""What is known of agents' tools: how their inputs are spelled, which outputs are what.

Names and keys are those that agents were seen to use (Claude Code, Codex, Gemini CLI, file servers
over MCP). A tool that is not known here loses nothing but savings: no path means no short name, no
command means that two outputs are not compared.
Standard library only: daemon and child both read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tsheadroom.texts import patches

# Keys of a call's input.

_PATH_KEYS = ("file_path", "notebook_path", "filePath", "absolute_path", "target_file", "path")
# Beside one of these a bare "path" is where to search, not what the call is about.
_SCOPES = ("pattern", "query", "regex")
_COMMAND_KEYS = ("command", "cmd", "script")
# Text that goes into a file as it stands here; never what is replaced by it.
_WRITTEN_KEYS = ("content", "contents", "new_string", "new_str", "file_text", "new_source",
                 "insert_text")  # fmt: skip
# Text that an edit looks for and takes out.
_REPLACED_KEYS = ("old_string", "old_str", "oldString", "oldText")
_WHOLE_KEYS = ("content", "contents", "file_text")  # of these, what is all of the file then
_EDIT_KEYS = ("old_string", "old_str", "edits", "insert_line", "new_source")
_RANGE_KEYS = ("offset", "limit", "view_range", "start_line", "end_line", "range", "lines", "pages")

# Names of tools.

# Tools whose outputs are what a process printed.
_RUNNERS = re.compile(
    r"bash|shell|exec|terminal|run_command|command|taskoutput|powershell|process", re.IGNORECASE
)
# Tools that are given a path and print something else than that file's text.
_LISTERS = re.compile(r"list|tree|search|find|stat|info|glob|grep", re.IGNORECASE)
# Tools that show a file, in lower case.
_FILE_READERS = frozenset(
    ("read", "read_file", "view", "str_replace_based_edit_tool", "str_replace_editor")
)
SEARCH_TOOLS = frozenset(("Bash", "Grep"))
"""The names by which Headroom 0.42 knows that an output may be a list of search results."""

# Programs of a command line.

# Programs that print what is stored: two of their outputs are excerpts, not results to compare.
_PRINTERS = frozenset(
    ("cat", "bat", "nl", "head", "tail", "sed", "awk", "less", "more", "type"),
)
_SEARCHERS = frozenset(
    ("grep", "egrep", "fgrep", "rg", "ag", "ack", "find", "ls", "tree", "jq", "wc", "sort", "uniq"),
)
_SILENT = frozenset(
    ("cut", "tr", "tee", "xargs", "echo", "printf", "cd", "pushd", "popd", "true", "export", "set"),
)
_READERS = _PRINTERS | _SEARCHERS | _SILENT
# Programs that run the one which is named after them.
_WRAPPERS = frozenset(
    ("sudo", "time", "timeout", "nice", "env", "command", "exec", "nohup", "stdbuf"),
)
_SPLIT = re.compile(r"\|\|?|&&?|;|\n|\$\(|`")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=\S*$")
_WORDS = re.compile(r"[\w./-]+")
_COMMAND_CHARS = 2000  # of a command line that are looked at: a script in a here-document is longer


@dataclass(slots=True, eq=False)
class ToolCall:
    """One tool call of a conversation: which tool, what it is about, and what tells it apart.

    `naming.py` fills in what a name is made of: `label`, `order` (its number among all calls of the
    conversation) and `ordinal` (its number among those of the same `key`). Both count from 1.
    """

    id: str
    tool: str
    path: str = ""
    command: str = ""
    label: str = ""  # what stands for its input when there is no path
    order: int = 0
    ordinal: int = 0
    writes: bool = False  # its input holds text that goes into a file

    @property
    def key(self) -> tuple[str, str]:
        """What calls have in common that only an ordinal tells apart."""
        return self.tool, self.path or self.label


def path_of(inputs: Mapping[str, Any]) -> str:
    """The one file that a call is about; "" when there is none."""
    for key in _PATH_KEYS:
        value = inputs.get(key)
        if isinstance(value, str) and value:
            scope = key == "path" and any(other in inputs for other in _SCOPES)
            return "" if scope else value
    return ""


def command_of(inputs: Mapping[str, Any]) -> str:
    """The shell command of a call; "" when there is none."""
    for key in _COMMAND_KEYS:
        value = inputs.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, list) and value and all(isinstance(x, str) for x in value):
            # ["bash", "-lc", "the command"], as some agents spell it.
            return (
                str(value[-1]) if len(value) == 3 and value[1].startswith("-") else " ".join(value)
            )
    return ""


def written_texts(inputs: Any) -> Iterator[tuple[list[str | int], str]]:
    """The texts that a call writes into files, each with the way to it from the call's part.

    Only the first key that holds one counts, and every edit of a list of edits.
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
            value = edit.get("new_string") if isinstance(edit, Mapping) else None
            if isinstance(value, str):
                yield ["input", "edits", at, "new_string"], value


def replaced_texts(tool: str, inputs: Any) -> list[str]:
    """The texts that an edit looks for in a file to replace them, in the order of the input.

    `inputs` is the call's decoded input, a mapping or a string. Of a patch, each hunk's kept and
    removed lines are one text. [] if the call is no edit, or only adds.
    """
    if isinstance(inputs, str):
        return list(patches.old_texts(inputs))
    if not isinstance(inputs, Mapping):
        return []
    edits = inputs.get("edits")
    found = []
    for edit in (inputs, *(edits if isinstance(edits, list) else ())):
        if isinstance(edit, Mapping):
            texts = (edit.get(key) for key in _REPLACED_KEYS)
            found += [text for text in texts if isinstance(text, str) and text][:1]
    if not found:
        for value in inputs.values():
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str):
                    found += patches.old_texts(text)
    return found


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
    return bool(call.command) or _RUNNERS.search(call.tool) is not None


def prints_file(call: ToolCall) -> bool:
    """True if the output is a file's text.

    An agent edits by its exact words, so only what stands outside of them (line numbers) may
    change.
    """
    if call.path:
        return _LISTERS.search(call.tool) is None
    if not call.command:
        return False
    words = set(_WORDS.findall(call.command[:_COMMAND_CHARS]))
    return (
        not programs(call.command)
        and not words.isdisjoint(_PRINTERS)
        and words.isdisjoint(_SEARCHERS)
    )


def compared(call: ToolCall, other: ToolCall) -> bool:
    """True if a reader may hold one output against the other, so that neither may be folded.

    That is so when both ran the same program, one that does more than print a file, and when what
    was run is not known. Two looks at one running process are not two runs of it.
    """
    if not (runs_commands(call) and runs_commands(other)):
        return False
    mine, theirs = programs(call.command), programs(other.command)
    if (call.command and not mine) or (other.command and not theirs):
        return False  # one of them only shows what is stored
    if not call.command or not other.command:
        return call.key != other.key
    return not mine.isdisjoint(theirs)


def programs(command: str) -> frozenset[str]:
    """The programs of a command line that are not mere readers or filters."""
    found = set()
    for piece in _SPLIT.split(command[:_COMMAND_CHARS]):
        words = [w for w in piece.split() if not _ASSIGNMENT.match(w)]
        while words and (words[0] in _WRAPPERS or words[0][0] in "-0123456789"):
            words.pop(0)
        if words:
            name = words[0].strip("(){}'\"").rpartition("/")[2]
            if name and name not in _READERS and not name.startswith((">", "<", "#")):
                found.add(name)
    return frozenset(found)
