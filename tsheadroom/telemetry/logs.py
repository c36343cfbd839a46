"""Logs as operators of the Go daemon know them: logfmt lines on stderr."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from datetime import datetime
from typing import TextIO

# The end of a message template that names values: " slot=%d code=%s".
_FIELDS = re.compile(r"(?: [A-Za-z_]\w*=%[-+0-9.]*[sdrfgxi])+$")
# What needs quotes in logfmt: empty, or anything that would end or confuse a bare value.
_BARE = re.compile(r"[^\s\"=\x00-\x1f\x7f]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}  # Go's slog knows four levels


def quote(value: str) -> str:
    """The value as logfmt writes it; one line, whatever it holds."""
    if _BARE.fullmatch(value) and value.isprintable():
        return value
    escaped = (_ESCAPES.get(c) or (c if c.isprintable() else ascii(c)[1:-1]) for c in value)
    return f'"{"".join(escaped)}"'


class LogfmtFormatter(logging.Formatter):
    """`time=... level=... msg=... key=value`.

    A message template that ends in ` key=%s` pairs yields them as fields of their own; the rest
    is `msg`. A traceback is one more field, so that a record is always one line.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone()
        level = _LEVELS.get(record.levelname, record.levelname)
        message, fields = self._split(record)
        line = (
            f"time={moment.isoformat(timespec='milliseconds')} level={level} msg={quote(message)}"
        )
        if fields:
            line += " " + " ".join(f"{key}={quote(value)}" for key, value in fields)
        if record.exc_info and record.exc_info[0] is not None:
            line += f" trace={quote(''.join(traceback.format_exception(*record.exc_info)))}"
        return line

    @staticmethod
    def _split(record: logging.LogRecord) -> tuple[str, list[tuple[str, str]]]:
        template = record.msg if isinstance(record.msg, str) else ""
        found = _FIELDS.search(template)
        if not found or not isinstance(record.args, tuple):
            return record.getMessage(), []
        pairs = [part.split("=", 1) for part in found.group().split()]
        head, tail = record.args[: -len(pairs)], record.args[-len(pairs) :]
        if len(tail) != len(pairs):
            return record.getMessage(), []  # raises what logging reports: a wrong template
        text = template[: found.start()]
        values = [(key, form % (value,)) for (key, form), value in zip(pairs, tail, strict=True)]
        return (text % head if head else text.replace("%%", "%")), values


def configure(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send every log line of the process to `stream` (stderr); stdout is the -v lines' alone."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LogfmtFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # asyncio's "slow callback" and aiohttp's access lines are not an operator's business.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
