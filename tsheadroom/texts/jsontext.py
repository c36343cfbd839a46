"""Pretty-printed JSON without its layout: every token stays as it was spelled.

Standard library only, because the daemon checks folds of such texts by the same rule.
"""

from __future__ import annotations

import json
import re

MAX_CHARS = 4_000_000  # above, checking that it is JSON costs more than a turn may take
_TOKENS = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', re.DOTALL)


def minify(text: str) -> str:
    """The text without whitespace between tokens if all of it is JSON, else the same text.

    Numbers, escapes, duplicate keys and their order stay, because nothing is printed anew.
    """
    stripped = text.strip(" \t\r\n")
    if "\n" not in stripped or stripped[:1] not in ("{", "[") or stripped[-1] not in ("}", "]"):
        return text
    if len(text) > MAX_CHARS:
        return text
    try:
        json.loads(stripped)
    except (ValueError, RecursionError):
        return text
    return _TOKENS.sub(lambda match: match[1] or "", stripped)
