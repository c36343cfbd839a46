"""Checks that a text that Headroom made shorter still says the same.

What Headroom calls lossless may still leave out colours and lines of a diff, which it takes for
noise. So its folds of lines are undone by its own functions, and its tables of JSON are decoded and
compared, value by value, with what the original says.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from itertools import pairwise
from typing import Any

from headroom.transforms import lossless_compaction
from headroom.transforms.compaction_codec import expand_compacted, is_compacted

# Folds of lines whose unfolding a reader sees at once. Repeated blocks are not among them: "repeats
# 4 lines from 61 lines back" counts lines that the text does not show.
_INVERSES = (
    lossless_compaction.expand_runs,
    lossless_compaction.search_dir_unheading,
    lossless_compaction.path_unheading,
)
# Search results by file: the path, and below it what stood behind the path in each line. Headroom
# takes all that stands before a number between colons for a path, "INFO 12" of "INFO 12:30:45" too.
_RESULT = re.compile(r"\d+:")
_PATH = re.compile(
    r"(?=.*[^\W\d_])(?:[^\s\d:'\"()\[\]{}<>,;=]+|"
    r"[^\s:'\"()\[\]{}<>,;=]*[/.\\][^\s:'\"()\[\]{}<>,;=]*)"
)
_TABLE = re.compile(r"\[\d+\]\{[^\n]*\}\n")
MAX_FAILURES = 200  # values that look like JSON and are not: then the text is something else


def same(original: str, shorter: str) -> bool:
    """True if the shorter text says what the original says."""
    if any(undo(shorter) == original for undo in _INVERSES):
        return True
    if lossless_compaction.search_unheading(shorter) == original:
        return _headed_by_paths(shorter)
    try:
        return _canonical(original) == _canonical(shorter)
    except (ValueError, RecursionError):
        return False


def _headed_by_paths(text: str) -> bool:
    """True if each line above search results is a path, as far as one can see."""
    return all(
        _RESULT.match(line) or not _RESULT.match(below) or _PATH.fullmatch(line)
        for line, below in pairwise(text.split("\n"))
    )


def _canonical(text: str) -> list[str]:
    """A text as a list of its JSON values, in one spelling each, and of the lines between them."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_float=Decimal)
    out: list[str] = []
    at = failures = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        if _TABLE.match(text, at):
            rows = expand_compacted(text[at:])
            if rows is not None:
                out.append(json.dumps(_revive(rows), sort_keys=True))
                break
        if text[at] in '[{"':
            try:
                value, at = decoder.raw_decode(text, at)
            except ValueError:
                failures += 1
                if failures > MAX_FAILURES:
                    raise
            else:
                out.append(json.dumps(_revive(value), sort_keys=True))
                continue
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        out.append(text[at:end].strip())
        at = end
    return out


def _revive(value: Any) -> Any:
    """A value with its tables expanded and its numbers in one spelling."""
    if isinstance(value, str) and is_compacted(value):
        rows = expand_compacted(value)
        return value if rows is None else _revive(rows)
    if isinstance(value, float | Decimal):
        return {
            "number": str(Decimal(repr(value) if isinstance(value, float) else value).normalize())
        }
    if isinstance(value, dict):
        return {key: _revive(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_revive(inner) for inner in value]
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a table cannot hold a key twice")
    return found
