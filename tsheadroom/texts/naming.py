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

from tsheadroom.texts.tools import ToolCall, command_of, path_of

_SUFFIXES = 3  # components of a path tried for a short name, before the whole path
_QUOTED = 40  # characters of a command that make its name


@dataclass(slots=True)
class ToolCalls:
    """The calls of one conversation, in the order in which the agent made them."""

    by_id: dict[str, ToolCall] = field(default_factory=dict)
    _of_key: dict[tuple[str, str], list[ToolCall]] = field(default_factory=dict)
    _paths: dict[str, str] = field(default_factory=dict)  # an ending -> the path, "" if several
    _count: int = 0

    def add(self, part: Mapping[str, Any]) -> ToolCall:
        """Take in a tool_use part. An id that was seen before means this call from now on."""
        given = part.get("input")
        inputs: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
        call = ToolCall(str(part.get("call") or ""), str(part.get("name") or ""))
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

    def name(self, call: ToolCall, own: ToolCall, written: int) -> str:
        """How an output of the call `own` names another call's text.

        `written` 0 means that call's output, n the n-th text that it writes.
        """
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

    def find(self, name: str, own: ToolCall) -> tuple[ToolCall, int] | None:
        """What a name in an output of the call `own` stands for: a call and which text of it.

        None if there is no such call. The exact inverse of `name`.
        """
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

    def _latest(self, key: tuple[str, str], own: ToolCall, written: int) -> ToolCall | None:
        for call in reversed(self._of_key.get(key, [])):
            if call.order < own.order or (written and call is own):
                return call
        return None


_NAME = re.compile(
    r"(?P<your>(?:edit (?P<edit>\d+) of )?your )?"
    r"(?P<tool>[\w.-]+)(?: #(?P<ordinal>\d+))? (?P<label>.+)"
)


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
