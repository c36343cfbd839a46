"""Checks that a text that Headroom made shorter still says the same.

Headroom proves its folds of logs, listings and diffs itself. Its tables of JSON are decoded here
by Headroom's own decoder and compared, value by value, with what the original says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from headroom.transforms.compaction_codec import expand_compacted, is_compacted

PROVEN = "lossless_"  # how Headroom names what it has proven
_TABLE = re.compile(r"\[\d+\]\{[^\n]*\}\n")
MAX_FAILURES = 200  # values that look like JSON and are not: then the text is something else


def same(original: str, shorter: str, names: Iterable[str]) -> bool:
    """True if the shorter text says what the original says; `names` are what was applied."""
    if all(name.rpartition(":")[2].startswith(PROVEN) for name in names):
        return True
    try:
        return _canonical(original) == _canonical(shorter)
    except (ValueError, RecursionError):
        return False


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
