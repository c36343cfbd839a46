"""Search results without line numbers, grouped by file; Headroom groups those that have them.

lib/opentelemetry.erl
:    set_text_map_propagator/1,
:    get_text_map_extractor/0,
"""

from __future__ import annotations

import re

MIN_GROUP = 2  # lines of one file in a row
# A path has no spaces or brackets in it; "http://" is none with a rest.
_HIT = re.compile(r"([^\s:'\"()\[\]{}<>,;=]++):(?!//)")


def fold(text: str) -> str:
    """Consecutive lines `path:rest` as the path once and each `:rest` below it."""
    lines = text.split("\n")
    if any(line.startswith(":") for line in lines):
        return text
    out: list[str] = []
    at = 0
    while at < len(lines):
        path = _path(lines[at])
        end = at + 1
        while path and end < len(lines) and lines[end].startswith(path + ":"):
            end += 1
        if path and end - at >= MIN_GROUP:
            out.append(path)
            out += [line[len(path) :] for line in lines[at:end]]
        else:
            out += lines[at:end]
        at = end
    folded = "\n".join(out)
    return folded if len(folded) < len(text) and unfold(folded) == text else text


def _path(line: str) -> str:
    """What a search result begins with; "" for any other line."""
    match = _HIT.match(line)
    path = match[1] if match else ""
    return path if "/" in path or "." in path else ""


def unfold(text: str) -> str:
    """Undo `fold`: a line before one that starts with a colon is the path of those that do."""
    lines = text.split("\n")
    out: list[str] = []
    path = ""
    for at, line in enumerate(lines):
        if line.startswith(":"):
            out.append(path + line)
        elif at + 1 < len(lines) and lines[at + 1].startswith(":"):
            path = line
        else:
            out.append(line)
    return "\n".join(out)
