"""A small text of each kind that Headroom tells apart: what it imports at the first of a kind
is then there before a caller waits."""

from __future__ import annotations

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
    "".join(f"service_{at}:\n  image: repo/image:{at}\n  port: {at}\n" for at in _NUMBERS),
)
