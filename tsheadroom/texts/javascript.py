"""What a script of Codex's code mode runs: JavaScript with `tools.exec_command({cmd: "..."})`.

The script is cut into tokens, so that comments, strings and templates cannot be mistaken for calls;
it is not parsed further. Standard library only: daemon and child both read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MAX_CHARS = 100_000  # a longer script is not looked at
_MAX_CALLS = 64

_RUN = "exec_command"
_COMMAND = "cmd"
# No possessive group has alternatives in it: before 3.11.5 such a group may match too little.
_SPACE = re.compile(r"(?:\s|//[^\n]*|/\*(?:[^*]|\*(?!/))*(?:\*/)?)+")
_NAME = re.compile(r"[^\W\d][\w$]*+|\$[\w$]*+")
_NUMBER = re.compile(r"\d[\w.]*+")
_STRING = re.compile(r"\"((?:[^\"\\\n]|\\.)*)(\"?)|'((?:[^'\\\n]|\\.)*)('?)", re.DOTALL)
_TEMPLATE = re.compile(r"((?:[^`\\$]|\\.|\$(?!\{))*)(`|\$\{)?", re.DOTALL)
_REGEX = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.){0,200}\]){1,500}/[a-z]*+")
_BEFORE_REGEX = frozenset("(,=:[!&|?{};+-*%<>~^")
_ESCAPE = re.compile(
    r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|.))", re.DOTALL
)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_ESCAPED |= dict.fromkeys(("\n", "\r\n", "\r", "\u2028", "\u2029"), "")  # the line goes on


class _Token(NamedTuple):
    kind: str  # name, string (its value, decoded), computed (a template with `${`), or other
    value: str


def commands(source: str) -> list[str] | None:
    """The command lines that a script runs, in order.

    None if that cannot be told: a command line is computed, other tools are called, or the script
    is too long. A call inside a loop or a condition counts once.
    """
    if len(source) > MAX_CHARS:
        return None
    tokens = list(_tokens(source))
    found: list[str] = []
    for at, (kind, value) in enumerate(tokens):
        if kind == "name" and value == "tools" and not _spells(tokens, at + 1, ".", _RUN, "("):
            return None
        if kind == "name" and value == _RUN:
            command = _command(tokens, at + 1)
            if command is None or len(found) == _MAX_CALLS:
                return None
            found.append(command)
    return found


def literals(source: str) -> Iterator[str]:
    """The texts that a script spells out, decoded.

    Pieces that are added up are one text, and pieces of a list are joined by newlines, as lines of
    a longer text often are. Nothing if the script is too long.
    """
    text: str | None = None
    separator = ""
    for kind, value in _tokens(source) if len(source) <= MAX_CHARS else ():
        if kind == "string":
            text = value if text is None else text + separator + value
            separator = ""
        elif kind == "other" and value in ("+", ",") and text is not None:
            separator = "" if value == "+" else "\n"
        elif text is not None:
            yield text
            text = None
    if text is not None:
        yield text


def _spells(tokens: Sequence[_Token], at: int, *values: str) -> bool:
    """True if these names and signs stand here."""
    here = tokens[at : at + len(values)]
    return [t.value for t in here if t.kind in ("name", "other")] == list(values)


def _command(tokens: Sequence[_Token], at: int) -> str | None:
    """The literal `cmd` of the object that is the first argument; None if there is none."""
    if not _spells(tokens, at, "(", "{"):
        return None
    at += 2
    command: str | None = None
    while at < len(tokens) and tokens[at] != ("other", "}"):
        key = tokens[at]
        if key.kind not in ("name", "string", "other") or key.value in (".", "["):
            return None  # what is spread into the object is not known
        end = _value_end(tokens, at)
        if key.value == _COMMAND and key.kind != "other":
            value = tokens[at + 2 : end]
            if tokens[at + 1 : at + 2] != [("other", ":")] or command is not None:
                return None
            if [t.value for t in value[:-1]] == ["String", ".", "raw"]:
                value = value[-1:]
            if len(value) != 1 or value[0].kind != "string":
                return None
            command = value[0].value
        at = end + (tokens[end : end + 1] == [("other", ",")])
    return command if at < len(tokens) else None


def _value_end(tokens: Sequence[_Token], at: int) -> int:
    """Where a member of an object ends: at its comma or at the object's bracket."""
    depth = 0
    while at < len(tokens):
        kind, value = tokens[at]
        if kind == "other":
            if depth == 0 and value in ",}":
                break
            depth += (value in "([{") - (value in ")]}")
        at += 1
    return at


def _tokens(source: str) -> Iterator[_Token]:
    """The tokens of a script, without space and comments."""
    at = 0
    open_templates: list[int] = []  # for each `${` that is open: how many brackets inside it are
    last = before_last = _Token("other", ";")
    while at < len(source):
        space = _SPACE.match(source, at)
        if space is not None:
            at = space.end()
            continue
        if source[at] == "`" or (source[at] == "}" and open_templates and not open_templates[-1]):
            raw = (before_last.value, last.value) == (".", "raw")
            goes_on = source[at] == "}" and open_templates.pop() == 0
            token, at, opens = _template(source, at + 1, raw=raw, goes_on=goes_on)
            if opens:
                open_templates.append(0)
        else:
            token, at = _token(source, at, last)
            if open_templates and token.kind == "other":
                open_templates[-1] += (token.value == "{") - (token.value == "}")
        before_last, last = last, token
        yield token


def _template(source: str, at: int, *, raw: bool, goes_on: bool) -> tuple[_Token, int, bool]:
    """A piece of a template, where it ends, and whether `${` follows."""
    match = _TEMPLATE.match(source, at)
    text, end = (match[1], match[2]) if match else ("", None)
    whole = end == "`" and not goes_on
    token = _Token("string", text if raw else _decode(text)) if whole else _Token("computed", "")
    return token, (match.end() if match else at), end == "${"


def _token(source: str, at: int, last: _Token) -> tuple[_Token, int]:
    match = _STRING.match(source, at)
    if match is not None:
        text, end = match.group(1, 2) if source[at] == '"' else match.group(3, 4)
        return _Token("string", _decode(text)) if end else _Token("computed", ""), match.end()
    match = _NAME.match(source, at)
    if match is not None:
        return _Token("name", match[0]), match.end()
    regex = (last.kind == "other" and last.value in _BEFORE_REGEX) or last.value == "return"
    match = _NUMBER.match(source, at) or (_REGEX.match(source, at) if regex else None)
    if match is not None:
        return _Token("computed", ""), match.end()
    return _Token("other", source[at]), at + 1


def _decode(literal: str) -> str:
    """What a string literal's text means."""
    if "\\" not in literal:
        return literal
    text = _ESCAPE.sub(_unescaped, literal)
    try:
        # A character outside of the basic plane may be spelled as two halves.
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeError:
        return text


def _unescaped(match: re.Match[str]) -> str:
    code = int(match[1] or match[2] or match[3] or "0", 16)
    if match[4] is not None:
        return _ESCAPED.get(match[4], match[4])
    return chr(code) if code <= 0x10FFFF else match[0]
