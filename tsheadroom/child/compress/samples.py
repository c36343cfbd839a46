"""What a child does before its first call, so that no caller waits for it.

A small text of each kind that Headroom tells apart, because it imports something at the first text
of a kind, and settings that let every step look at it.
"""

from __future__ import annotations

from typing import Any

_ROWS = ",\n".join(f'{{"name": "file {at}", "size": {at * 77}, "kind": "x"}}' for at in range(40))
_NUMBERS = range(60)

SAMPLES = (
    f"[{_ROWS}]",
    "\n".join(f"src/module_{at % 5}.py:{at}: def function_{at}():" for at in _NUMBERS),
    "word " * 300,
    "--- a/x\n+++ b/x\n" + "".join(f"@@ -{at} +{at} @@\n-old {at}\n+new {at}\n" for at in _NUMBERS),
    "".join(f"[section {at}]\nkey = {at}\nother = text\n" for at in _NUMBERS),
    "\n".join(f"2026-01-01 00:00:{at:02} INFO worker {at} did its job" for at in _NUMBERS),
    "<html><body>" + "".join(f"<div><p>Number {at}.</p></div>\n" for at in _NUMBERS) + "</body>",
    "\n".join(f"| name {at} | value {at} | text |" for at in _NUMBERS),
    f"Three Small Words\n\n```json\n[{_ROWS}]\n```\n\n" + "And Three More of them.\n" * 9,
    "".join(f"service_{at}:\n  image: repo/image:{at}\n  port: {at}\n" for at in _NUMBERS),
)

EVERY_STEP: dict[str, Any] = {
    "folds": True,
    "fold_min_lines": 2,
    "fold_files": "all",
    "gutter": True,
    "terminal": True,
    "json": True,
    "lossless": True,
    "lossy": True,
    "exclude_tools": [],
    "compress_user_messages": True,
    "compress_system_messages": True,
    "protect_recent": 4,
    "protect_analysis_context": True,
    "target_ratio": None,
    "min_tokens_to_compress": 250,
    "kompress_model": None,
    "savings_profile": None,
}
"""The `config` of the warm-up. Its values are no defaults: no job is decided by them."""
