"""Log lines in the format of the Go daemon: logfmt, on stderr."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from datetime import datetime
from typing import TextIO

# Fields at the end of a message template, such as " slot=%d code=%s".
_FIELDS = re.compile(r"(?: [A-Za-z_]\w*=%[-+0-9.]*[sdrfgxi])+$")
# What needs no quotes in logfmt: not empty, and no character that could end the value.
_BARE = re.compile(r"[^\s\"=\x00-\x1f\x7f]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}  # Go's slog knows four levels


def quote(value: str) -> str:
    """Return the value as logfmt writes it: on one line, in quotes where it needs them."""
    if _BARE.fullmatch(value) and value.isprintable():
        return value
    escaped = (_ESCAPES.get(c) or (c if c.isprintable() else ascii(c)[1:-1]) for c in value)
    return f'"{"".join(escaped)}"'


class LogfmtFormatter(logging.Formatter):
    """`time=... level=... msg=... key=value`.

    If a message template ends in ` key=%s` pairs, each of them becomes a field; the rest is `msg`.
    A traceback is one more field, so that a record is always one line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of logfmt."""
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
            return record.getMessage(), []  # a wrong template: this raises, and logging reports it
        text = template[: found.start()]
        values = [(key, form % (value,)) for (key, form), value in zip(pairs, tail, strict=True)]
        return (text % head if head else text.replace("%%", "%")), values


def configure(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send every log line of the process to `stream` (stderr). On stdout are only the -v lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(LogfmtFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Operators do not need aiohttp's line for each request: -v prints one.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
