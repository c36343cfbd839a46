"""How a pointer names a tool call, so that a model, and a program, finds it again.

A name is the tool, a file's shortest unambiguous ending (or a command's beginning), and an ordinal
when the latest such call is not meant: `Read lib/a.py`, `Read #2 lib/a.py`, `Bash "npm test"`.
Ids would be exact, too, but cost some twenty tokens and mean nothing to a reader.
Standard library only: it runs in any interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Where tools name the file that they are about. A bare "path" beside a pattern is only a scope.
_PATH_KEYS = ("file_path", "notebook_path", "filePath", "absolute_path", "target_file", "path")
_SCOPES = ("pattern", "query", "regex")
_COMMAND_KEYS = ("command", "cmd", "script")
# Inputs by which an agent writes text that stands there verbatim; never what it replaces.
_WRITTEN_KEYS = ("content", "contents", "new_string", "new_str", "file_text", "new_source",
                 "insert_text")  # fmt: skip
_SUFFIXES = 3  # components of a path tried for a short name, before the whole path
_QUOTED = 40  # characters of a command that make its name


@dataclass(slots=True, eq=False)
class Call:
    """One tool call: what it is called, and which one of that name it is (from 1)."""

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
        return self.tool, self.path or self.label


@dataclass(slots=True)
class Calls:
    """The calls of one conversation, in the order in which the agent made them."""

    by_id: dict[str, Call] = field(default_factory=dict)
    _of_key: dict[tuple[str, str], list[Call]] = field(default_factory=dict)
    _paths: dict[str, str] = field(default_factory=dict)  # an ending -> the path, "" if several
    _count: int = 0

    def add(self, part: Mapping[str, Any]) -> Call:
        """Register a tool_use part. An id seen before means its latest use from now on."""
        given = part.get("input")
        inputs: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
        call = Call(str(part.get("call") or ""), str(part.get("name") or ""))
        call.path, call.command = path_of(inputs), command_of(inputs)
        call.label = "" if call.path else label_of(call.command, inputs)
        self._count += 1
        call.order = self._count
        same = self._of_key.setdefault(call.key, [])
        same.append(call)
        call.ordinal = len(same)
        self.by_id[call.id] = call
        if call.path:
            for ending in endings(call.path):
                if self._paths.setdefault(ending, call.path) != call.path:
                    self._paths[ending] = ""
        return call

    def name(self, call: Call, own: Call, written: int) -> str:
        """The name, in an output of `own`, of a call's result (`written` 0) or n-th text."""
        if call.path:
            label = next(
                (e for e in endings(call.path) if self._paths.get(e) == call.path), call.path
            )
        else:
            label = call.label
        latest = self._latest(call.key, own, written)
        ordinal = "" if latest is call else f" #{call.ordinal}"
        edit = f"edit {written} of " if written > 1 else ""
        return f"{edit}{'your ' if written else ''}{call.tool}{ordinal} {label}"

    def find(self, name: str, own: Call) -> tuple[Call, int] | None:
        """The call that a name stands for in an output of `own`, and which text of it."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        label = match["label"]
        written = int(match["edit"] or 1) if match["your"] else 0
        key = (match["tool"], self._paths.get(label) or label)
        if match["ordinal"] is None:
            call = self._latest(key, own, written)
        else:
            same, at = self._of_key.get(key, []), int(match["ordinal"])
            call = same[at - 1] if 0 < at <= len(same) else None
        return None if call is None else (call, written)

    def _latest(self, key: tuple[str, str], own: Call, written: int) -> Call | None:
        for call in reversed(self._of_key.get(key, [])):
            if call.order < own.order or (written and call is own):
                return call
        return None


_NAME = re.compile(
    r"(?P<your>(?:edit (?P<edit>\d+) of )?your )?"
    r"(?P<tool>[\w.-]+)(?: #(?P<ordinal>\d+))? (?P<label>.+)"
)


def path_of(inputs: Mapping[str, Any]) -> str:
    """The one file that a call is about, or nothing."""
    for key in _PATH_KEYS:
        value = inputs.get(key)
        if isinstance(value, str) and value:
            scope = key == "path" and any(other in inputs for other in _SCOPES)
            return "" if scope else value
    return ""


def command_of(inputs: Mapping[str, Any]) -> str:
    """The shell command of a call, or nothing."""
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


def label_of(command: str, inputs: Mapping[str, Any]) -> str:
    """A short quotation of what a call without a file was asked for."""
    text = command or next((v for v in inputs.values() if isinstance(v, str) and v.strip()), "")
    squeezed = " ".join(text.split()).replace('"', "'")
    return f'"{squeezed[:_QUOTED].rstrip()}{"…" if len(squeezed) > _QUOTED else ""}"'


def endings(path: str) -> Iterator[str]:
    """Short names of a path, shortest first, the whole path last."""
    parts = path.rstrip("/").split("/")
    for count in range(1, min(_SUFFIXES, len(parts) - 1) + 1):
        yield "/".join(parts[-count:])
    yield path


def written_texts(inputs: Any) -> Iterator[tuple[list[str | int], str]]:
    """The texts that a call writes, with the way to them inside its input."""
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
