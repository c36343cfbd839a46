"""A child's stderr on its way into the daemon's log.

Until a worker is ready it has seen no conversation, and all that it prints may be logged. After
that a library may print what it works on: the message of an exception often quotes it. So only
those lines are logged that cannot hold any of it, and the rest is counted.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

from tsheadroom.lines import PrintedLines

log = logging.getLogger(__name__)

# The lines of the child's own loggers (child/main.py), which are written with that in mind.
_OWN = re.compile(r"tsheadroom\.child[\w.]*: ")
# How faulthandler and tracebacks name what happened, and where.
_FATAL = re.compile(
    r"Fatal Python error: (?:Segmentation fault|Aborted|Bus error|Illegal instruction"
    r"|Floating point exception)"
)
_FRAME = re.compile(r'File "([^"]+)", line (\d+),? in ')
_ERROR = re.compile(r"(?:[A-Za-z_]\w{0,40}\.){0,4}[A-Z]\w{0,40}(?:Error|Exception)(?=:|$)")
_CODE = (sys.prefix, sys.base_prefix, str(Path(__file__).resolve().parents[2]))


class StderrLog:
    """Logs what one child writes to stderr.

    `private` is True once the child may hold text of a conversation.
    """

    def __init__(self, name: str) -> None:
        # Until the child is ready its last line is the reason that is reported if it fails, and
        # retries would repeat the rest for ever.
        self.level = logging.DEBUG
        self.private = False
        self._name = name
        self._lines = PrintedLines()
        self._hidden = 0

    @property
    def last(self) -> str:
        """The last line, as far as it may be shown: it often is the reason of an end."""
        return self._shown(self._lines.last)

    def feed(self, data: bytes) -> None:
        """Log the lines that end in `data`; the rest waits for its end."""
        self._tell_left_out(self._lines.left_out())
        self._log(self._lines.feed(data))

    def end(self) -> None:
        """Log what was left without a line's end. May be called more than once."""
        self._log(self._lines.end())
        self._tell_left_out(self._lines.left_out(at_end=True))

    def _log(self, lines: list[str]) -> None:
        for line in lines:
            if text := self._shown(line):
                log.log(self.level, "%s stderr: %s", self._name, text)
            else:
                self._hidden += 1

    def _tell_left_out(self, more: int | None) -> None:
        if more is None:
            return
        more, self._hidden = more + self._hidden, 0
        if more:
            log.info("%s stderr: %d more lines not logged", self._name, more)

    def _shown(self, line: str) -> str:
        """What may be logged of a line."""
        if not self.private or _OWN.match(line):
            return line
        if found := _FRAME.match(line):
            path = found[1]
            known = path.startswith(_CODE) and path.endswith(".py") and Path(path).is_file()
            return f"{path}:{found[2]}" if known else ""
        found = _FATAL.match(line) or _ERROR.match(line)
        return found[0] if found else ""
