"""Log lines in the format of the Go daemon: logfmt, on stderr.

No line holds text of a conversation. So of an exception only the type and the place are shown,
unless its text is a sentence of this package's, of the system's or of SQLite's. Of a message of
another package only the words before the first value are shown: aiohttp quotes the bytes that it
could not parse, and asyncio the arguments of a callback.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import sys
import threading
import traceback
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from tsheadroom.errors import TsheadroomError
from tsheadroom.telemetry.output import LINE_BYTES, LineOutput, standard

log = logging.getLogger(__name__)

# Bytes of one value as it is written; what is longer is cut.
VALUE_BYTES = 1000
# Of a line, what is left for the newline.
_ROOM = LINE_BYTES - 1
_CUT = "..."

# Of an exception: how many frames, the innermost, and how many of those that led to it.
_FRAMES = 12
_CAUSES = 4

# Fields at the end of a message template, such as " slot=%d code=%s".
_FIELDS = re.compile(r"(?: [A-Za-z_]\w*=%[-+0-9.]*[sdrfgxi])+$")
# What needs no quotes in logfmt: not empty, and no character that could end the value.
_BARE = re.compile(r"[^\s\"=\x00-\x1f\x7f]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}  # Go's slog knows four levels
_OURS = "tsheadroom"
# The beginning of a message, up to what may be a value.
_WORDS = re.compile(r"[A-Za-z ,.;_-]{0,100}")


def quote(value: str, room: int = VALUE_BYTES) -> str:
    """Return the value as logfmt writes it: on one line, in quotes where it needs them.

    What takes more than `room` bytes is cut.
    """
    bare = len(value) <= room and value.isprintable() and _BARE.fullmatch(value)
    if bare and len(value.encode()) <= room:
        return value
    parts: list[str] = []
    for character in value[: room + 1]:
        part = _ESCAPES.get(character)
        if part is None:
            part = character if character.isprintable() else ascii(character)[1:-1]
        room -= len(part.encode())
        if room < 0:
            parts.append(_CUT)
            break
        parts.append(part)
    return f'"{"".join(parts)}"'


class LogfmtFormatter(logging.Formatter):
    """`time=... level=... msg=... key=value`, at most LINE_BYTES with the newline.

    If a message template ends in ` key=%s` pairs, each of them becomes a field; the rest is `msg`.
    Where an exception came from is one more field, so that a record is always one line.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of logfmt."""
        moment = datetime.fromtimestamp(record.created).astimezone()
        level = _LEVELS.get(record.levelname, record.levelname)
        message, fields = _split(record)
        if record.exc_info and record.exc_info[1] is not None:
            fields.append(("trace", trace_of(record.exc_info[1])))
        line = f"time={moment.isoformat(timespec='milliseconds')} level={level}"
        for key, value in [("msg", message), *fields]:
            room = _ROOM - len(line.encode()) - len(f' {key}=""{_CUT}')
            if room < 0:
                break
            line += f" {key}={quote(value, min(room, VALUE_BYTES))}"
        return line


def trace_of(error: BaseException) -> str:
    """The type of an exception and where it was raised, and the same of what led to it."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(parts) < _CAUSES:
        frames = [
            f"{_place(frame.f_code.co_filename)}:{line} {frame.f_code.co_name}"
            for frame, line in traceback.walk_tb(cause.__traceback__)
        ]
        way = " > ".join(frames[-_FRAMES:])
        parts.append(f"{type(cause).__name__}{' at ' if way else ''}{way}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "; after ".join(parts)


def _place(path: str) -> str:
    return "/".join(Path(path).parts[-3:])


def _split(record: logging.LogRecord) -> tuple[str, list[tuple[str, str]]]:
    """The message and the fields of a record."""
    template = record.msg if isinstance(record.msg, str) else ""
    if record.name.partition(".")[0] != _OURS:
        words = _WORDS.match(template)
        return words[0].strip() if words else "", [("logger", record.name)]
    if not template or not isinstance(record.args, tuple):
        return record.getMessage(), []
    values = tuple(map(_plain, record.args))
    found = _FIELDS.search(template)
    pairs = [part.split("=", 1) for part in found.group().split()] if found else []
    head, tail = values[: len(values) - len(pairs)], values[len(values) - len(pairs) :]
    text = template[: found.start()] if found else template
    fields = [(key, form % (value,)) for (key, form), value in zip(pairs, tail, strict=True)]
    return (text % head if head else text.replace("%%", "%") if found else text), fields


def _plain(value: object) -> object:
    """An argument of a log call as it may be shown."""
    if not isinstance(value, BaseException) or isinstance(value, TsheadroomError):
        return value
    kind = type(value).__name__
    if isinstance(value, OSError) and value.errno:
        path = f": {value.filename}" if isinstance(value.filename, str) else ""
        return f"{kind}: {os.strerror(value.errno)}{path}"
    return f"{kind}: {value}" if isinstance(value, sqlite3.Error) else kind


class LineHandler(logging.Handler):
    """Hands records to an output that never waits."""

    def __init__(self, output: LineOutput) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(LogfmtFormatter())

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue a record. Without logging's lock: the output has one, and flush() must not hold it.

        The writing thread logs, too.
        """
        try:
            self._output.write(self.format(record))
        except Exception as error:
            place = f"{_place(record.pathname)}:{record.lineno}"
            log.error("bad log call place=%s", place, exc_info=error)
        return True

    def flush(self) -> None:
        """Wait for the reader, for a bounded time."""
        self._output.flush()


def configure(stream: TextIO | None = None, level: int = logging.INFO) -> LineOutput:
    """Send every log line of the process to `stream` (stderr). On stdout are only the -v lines.

    What Python itself would print on stderr becomes log lines, too. Returns the output, for what is
    no log line.
    """
    output = standard(stream or sys.stderr, "stderr")
    root = logging.getLogger()
    root.handlers[:] = [LineHandler(output)]
    root.setLevel(level)
    # Operators do not need aiohttp's line for each request: -v prints one.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable
    warnings.showwarning = _warned
    return output


def _uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    log.critical("the process ends", exc_info=error)


def _uncaught_in_thread(ended: threading.ExceptHookArgs) -> None:
    if not issubclass(ended.exc_type, SystemExit):
        log.error("a thread ended", exc_info=ended.exc_value)


def _unraisable(found: sys.UnraisableHookArgs) -> None:
    log.error("an error was passed over", exc_info=found.exc_value)


def _warned(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any
) -> None:
    log.warning("warning kind=%s place=%s", category.__name__, f"{_place(filename)}:{lineno}")
