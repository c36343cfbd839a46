"""How a pointer names a tool call, so that a model, and a program, finds it again.

A name is the tool, a file's shortest unambiguous ending (or a command's beginning), and an ordinal
when the latest such call is not meant: `Read lib/a.py`, `Read #2 lib/a.py`, `Bash "npm test"`.
Ids would be exact, too, but cost some twenty tokens and mean nothing to a reader.

A pointer that was sent stays, while calls are added behind it. So what a name means to an output
depends on the calls up to that output's own, and on nothing later.
Standard library only: it runs in any interpreter.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tsheadroom.texts import shell
from tsheadroom.texts.tools import ToolCall, call_of, spell

_SUFFIXES = 3  # components of a path tried for a short name, before the whole path
_QUOTED = 40  # characters of a command that make its name
_LONGER = (80, 120)  # and if another command has that name already
_LOOKED_AT = 2_000  # characters of an input that tell it from others
# What every script and every patch begins with.
_PREAMBLE = re.compile(r"(?:\s*//[^\n]*\n)+|\s*\*\*\* Begin Patch\s*+")
# What says more of a call than the first of its strings.
_SUBJECT_KEYS = ("pattern", "query", "regex", "url")


@dataclass(frozen=True, slots=True)
class _Ending:
    """The file that an ending of paths stands for."""

    path: str
    until: int | None = None  # from this call on another path ends like this, too


@dataclass(slots=True)
class ToolCalls:
    """The calls of one conversation, in the order in which the agent made them."""

    by_id: dict[str, ToolCall] = field(default_factory=dict)
    _of_key: dict[tuple[str, str], list[ToolCall]] = field(default_factory=dict)
    _endings: dict[str, _Ending] = field(default_factory=dict)
    _labelled: dict[tuple[str, str], str] = field(default_factory=dict)  # key -> the whole input
    _count: int = 0

    def add(self, part: Mapping[str, Any]) -> ToolCall:
        """Take in a tool_use part. An id that was seen before means this call from now on."""
        call = call_of(part)
        if not call.path:
            call.label = self._label(call, part.get("input"))
        self._count += 1
        call.order = self._count
        same = self._of_key.setdefault(call.key, [])
        same.append(call)
        call.ordinal = len(same)
        self.by_id[call.id] = call
        if call.path:
            self._note_endings(call)
        return call

    def name(self, call: ToolCall, own: ToolCall, written: int) -> str:
        """How an output of the call `own` names another call's text.

        `written` 0 means that call's output, n the n-th text that it writes.
        """
        label = call.label
        if call.path:
            found = (e for e in endings(call.path) if self._meant(e, own) == call.path)
            label = next(found, call.path)
        # An ordinal also keeps a label apart that would be read as one.
        plain = label and not label.startswith("#")
        latest = self._latest(call.key, own, written) is call
        ordinal = "" if plain and latest else f" #{call.ordinal}"
        edit = f"edit {written} of " if written > 1 else ""
        rest = f" {label}" if label else ""
        return f"{edit}{'your ' if written else ''}{call.tool}{ordinal}{rest}"

    def find(self, name: str, own: ToolCall) -> tuple[ToolCall, int] | None:
        """What a name in an output of the call `own` stands for: a call and which text of it.

        None if there is no such call. The exact inverse of `name`.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        label = match["label"] or ""
        written = int(match["edit"] or 1) if match["your"] else 0
        key = (match["tool"], self._meant(label, own))
        if match["ordinal"] is None:
            call = self._latest(key, own, written)
        else:
            same, at = self._of_key.get(key, []), int(match["ordinal"])
            call = same[at - 1] if 0 < at <= len(same) else None
        return None if call is None else (call, written)

    def _latest(self, key: tuple[str, str], own: ToolCall, written: int) -> ToolCall | None:
        same = self._of_key.get(key, [])
        at = bisect_left(same, own.order, key=lambda call: call.order)
        if written and at < len(same) and same[at] is own:
            return own
        return same[at - 1] if at else None

    def _note_endings(self, call: ToolCall) -> None:
        for ending in endings(call.path):
            known = self._endings.setdefault(ending, _Ending(call.path))
            if known.path != call.path and known.until is None:
                self._endings[ending] = _Ending(known.path, call.order)

    def _meant(self, label: str, own: ToolCall) -> str:
        """The path that a label stands for in an output of the call `own`, or the label itself."""
        ending = self._endings.get(label)
        if ending is None or label.startswith('"'):
            return label
        return ending.path if ending.until is None or ending.until > own.order else label

    def _label(self, call: ToolCall, inputs: Any) -> str:
        """The shortest quotation that no other input has; if all are taken, the first of them."""
        whole, quotations = _quotations(call, inputs)
        first = ""
        for quotation in quotations:
            first = first or quotation
            if quotation and self._labelled.setdefault((call.tool, quotation), whole) == whole:
                return quotation
        return first


_NAME = re.compile(
    r"(?P<your>(?:edit (?P<edit>\d{1,9}) of )?your )?"
    r"(?P<tool>[\w.:-]+)(?= )(?: #(?P<ordinal>\d{1,9}))?(?: (?P<label>.+))?"
)


def _quotations(call: ToolCall, inputs: Any) -> tuple[str, list[str]]:
    """What tells the input of a call without a file from others, and its quotations."""
    if call.process:
        return call.process, [_quote(f"{call.process} {call.script}", _QUOTED)]
    command = call.command or "; ".join(call.commands)
    if command:
        short, long = shell.gist(command), command
    elif isinstance(inputs, str):
        short = long = inputs
    elif isinstance(inputs, Mapping):
        long = _spell(inputs)
        short = _subject(inputs) or long
    else:
        return "", []
    preamble = _PREAMBLE.match(short, 0, _LOOKED_AT)
    short = short[preamble.end() :] if preamble else short
    quotations = [_quote(short, _QUOTED), *(_quote(short, length) for length in _LONGER)]
    return long[:_LOOKED_AT], [*quotations, _quote(long, _LONGER[-1])]


def _subject(inputs: Mapping[str, Any]) -> str:
    values = [*(inputs.get(key) for key in _SUBJECT_KEYS), *inputs.values()]
    return next((v for v in values if isinstance(v, str) and v.strip()), "")


def _spell(inputs: Mapping[str, Any]) -> str:
    """The members of an input that are no objects, as `key=value`."""
    members = ((str(key)[:_QUOTED], spell(value)) for key, value in inputs.items())
    return " ".join(f"{key}={value}" for key, value in members if value)


def _quote(text: str, length: int) -> str:
    """A text's beginning in quotation marks; "" if there is nothing to quote."""
    squeezed = " ".join(text[:_LOOKED_AT].split()).replace('"', "'")
    if not squeezed:
        return ""
    return f'"{squeezed[:length].rstrip()}{"…" if len(squeezed) > length else ""}"'


def endings(path: str) -> Iterator[str]:
    """Short names of a path, shortest first, the whole path last."""
    trimmed = path.rstrip("/\\")
    separators = [at for at, char in enumerate(trimmed) if char in "/\\"]
    for at in reversed(separators[-_SUFFIXES:]):
        yield trimmed[at + 1 :]
    yield path
