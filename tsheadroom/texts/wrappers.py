"""What a client puts around a tool's output: header, trailer, or JSON with the text in a string.

    Chunk ID: ab023d                                   Codex
    Wall time: 0.0 seconds
    Process exited with code 0
    Output:
    the text

Inside of it stands the payload, which is what the tool printed. Only the payload is made shorter:
a header holds an id or a time that is never the same twice, and an exit code that keeps its words.
Two outputs with the same payload say the same.
The child takes wrappers off and puts them on again, and the daemon does so when it checks a
pointer. Standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

MAX_DEPTH = 3  # wrappers inside of each other: a marked context, a command's report, JSON
MAX_JSON_CHARS = 1_000_000  # above, finding out whether it is JSON costs more than a turn may take

# The first text of an output of Codex's code mode.
_SCRIPT = re.compile(
    r"(?:Script (?:completed|failed|terminated)|Script running with cell ID \S{1,256})\n"
    r"(?:Wall time \d{1,12}(?:\.\d{1,12})? seconds\n)?Output:\n?"
)
_FAILED = "Script failed\n"

# The lines of Codex's header above an output.
_CODEX = re.compile(
    r"(?:(?:Chunk ID|Exit code|Wall time|Process exited|Process running|Original token count"
    r"|Total output lines)[^\n]{0,200}\n){1,8}Output:\n"
)
# Gemini CLI's report of a command. The command itself may have several lines.
_REPORT = re.compile(r"(?:Command: .*?\nDirectory: [^\n]*\n)?Output: ", re.DOTALL)
_REPORT_CHARS = 20_000  # of a report that are searched for where its output begins
_REPORT_LINES = 8  # labels that may stand behind an output
_LABEL = re.compile(r"(?:Error|Exit Code|Signal|Background PIDs|Process Group PGID): [^\n]*")
_MARKED = ("<untrusted_context>\n", "\n</untrusted_context>")
# OpenCode's view of a file.
_VIEW = re.compile(r"<path>[^\n]*</path>\n<type>file</type>\n<content>\n?")
_VIEW_END = "\n</content>"

# Members of a JSON object that hold what a tool printed, while the others describe it.
_PAYLOADS = ("output", "stdout", "content", "text", "result")
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A text in three pieces. `spell` writes the payload as it stands between the other two."""

    payload: str
    head: str = ""
    tail: str = ""
    spell: Callable[[str], str] = str
    inner: Wrapped | None = None  # what the payload of this wrapper is, if it is wrapped again

    def close(self, payload: str) -> str:
        """The text with another payload."""
        if self.inner is not None:
            payload = self.inner.close(payload)
        return self.head + self.spell(payload) + self.tail


def opened(text: str) -> Wrapped:
    """Take off all that a client put around a text; a text without a wrapper is all payload.

    `opened(text).close(payload)` is `text` for the payload that it was opened with, exactly.
    """
    return _opened(text, MAX_DEPTH) or Wrapped(text)


def pieces(part: Mapping[str, Any]) -> list[tuple[Sequence[Any], str]]:
    """The texts of an output, in order, each with its slot. `part` is a tool_result."""
    text: str = part["text"]
    lengths = part.get("pieces")
    if not lengths:
        return [(part["slot"], text)]
    found, at = [], 0
    for slot, length in lengths:
        found.append((slot, text[at : at + length]))
        at += length + 1  # the line break between two of them
    return found


def payload_of(part: Mapping[str, Any]) -> str:
    """What the tool printed: the payloads of all texts of an output, one below the other."""
    return joined(opened(text).payload for _, text in pieces(part))


def joined(texts: Iterable[str]) -> str:
    """Several texts of one output as the one text that pointers count lines in."""
    return "\n".join(texts)


def is_header(text: str) -> bool:
    """True for the text that Codex's code mode puts before what a script printed.

    It says how the script ended, and how long it took.
    """
    return text.startswith("Script ") and _SCRIPT.fullmatch(text) is not None


def says_failed(header: str) -> bool:
    """True if such a header says that the script failed."""
    return header.startswith(_FAILED)


def _opened(text: str, depth: int) -> Wrapped | None:
    """The text without its wrappers; None if it has none."""
    outer = _outermost(text) if depth else None
    if outer is None:
        return None
    inner = _opened(outer.payload, depth - 1)
    return outer if inner is None else replace(outer, payload=inner.payload, inner=inner)


def _outermost(text: str) -> Wrapped | None:
    """The text without its outermost wrapper. Its first character tells what it can be."""
    first = text[:1]
    if first == "<":
        return _marked(text) or _view(text)
    if first in ("{", '"'):
        return _json(text)
    header = _CODEX.match(text)
    if header:
        return Wrapped(text[header.end() :], header[0])
    return _report(text)


def _marked(text: str) -> Wrapped | None:
    start, end = _MARKED
    if not (text.startswith(start) and text.endswith(end)) or len(text) < len(start) + len(end):
        return None
    return Wrapped(text[len(start) : -len(end)], start, end)


def _view(text: str) -> Wrapped | None:
    head = _VIEW.match(text)
    end = text.rfind(_VIEW_END)
    if head is None or end < head.end():
        return None
    return Wrapped(text[head.end() : end], head[0], text[end:])


def _report(text: str) -> Wrapped | None:
    """A command, its output, and how it ended, each with a label."""
    if not text.startswith(("Command: ", "Output: ")):
        return None
    head = _REPORT.match(text, 0, _REPORT_CHARS)
    if head is None:
        return None
    end = len(text)
    for _ in range(_REPORT_LINES):
        start = text.rfind("\n", head.end(), end)
        if start < 0 or not _LABEL.fullmatch(text, start + 1, end):
            break
        end = start
    return Wrapped(text[head.end() : end], head[0], text[end:])


def _json(text: str) -> Wrapped | None:
    """A JSON string, or an object of which one member is what the tool printed."""
    if len(text) > MAX_JSON_CHARS:
        return None
    try:
        start, end = (0, len(text)) if text[0] == '"' else _member(text)
        payload, stop = _DECODER.raw_decode(text, start)
    except (ValueError, IndexError, RecursionError):
        return None
    spell = _spelling(text[start:end], payload)
    if stop != end or spell is None:
        return None
    # A single line in a string is a value of its own, not what a tool printed. But a pointer may
    # stand for all of that.
    several = "\n" in payload or (payload.startswith("[") and payload.endswith(" above]"))
    return Wrapped(payload, text[:start], text[end:], spell) if several else None


def _member(text: str) -> tuple[int, int]:
    """Where the string of the payload's member stands in a JSON object, quotes included.

    Raises ValueError if all of the text is no such object.
    """
    found: dict[str, tuple[int, int]] = {}
    at = _blank(text, 1)
    while text[at] == '"':
        key, at = _DECODER.raw_decode(text, at)
        at = _blank(text, at)
        if text[at] != ":":
            raise ValueError("no colon")
        start = _blank(text, at + 1)
        end = _DECODER.raw_decode(text, start)[1]
        if text[start] == '"':
            if key in found:
                raise ValueError("a key stands twice")
            found[key] = start, end
        at = _blank(text, end)
        if text[at] != ",":
            break
        at = _blank(text, at + 1)
    if text[at] != "}" or _blank(text, at + 1) != len(text):
        raise ValueError("not one object")
    name = next((name for name in _PAYLOADS if name in found), None)
    if name is None:
        raise ValueError("no payload")
    return found[name]


def _blank(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _ascii(text: str) -> str:
    return json.dumps(text)


def _plain(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _html(text: str) -> str:
    """As Go's encoder writes a string: what has a meaning in HTML or JavaScript is escaped."""
    spelled = _plain(text)
    for character in "<>&\u2028\u2029":
        spelled = spelled.replace(character, f"\\u{ord(character):04x}")
    return spelled


def _spelling(literal: str, text: str) -> Callable[[str], str] | None:
    """How a program spelled this string; None if it is none of the usual ways."""
    return next((spell for spell in (_plain, _ascii, _html) if spell(text) == literal), None)
