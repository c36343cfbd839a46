"""The node's own log lines: bounded, and whole until the end."""

from __future__ import annotations

import logging
import os

import pytest

from tsheadroom.lines import LINE_BYTES, LINES_A_WINDOW
from tsheadroom.tailnet.logpipe import LogPipe


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "logpipe" in record.name]


def read_through(data: bytes) -> None:
    """Write it as the library would, and end."""
    pipe = LogPipe()
    library_end = pipe.hand_over()
    os.write(library_end, data)
    pipe.close()
    os.close(library_end)


async def test_all_that_is_in_the_pipe_is_read_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, logger="tsheadroom.tailnet.logpipe")
    read_through(b"x" * (60 << 10) + b"\nwithout an end")
    assert said(caplog) == ["x" * LINE_BYTES, "without an end"]


async def test_a_flood_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="tsheadroom.tailnet.logpipe")
    read_through(b"a line\n" * 1000)
    left_out = 1000 - LINES_A_WINDOW
    assert said(caplog) == ["a line"] * LINES_A_WINDOW + [
        f"{left_out} more lines of the node not logged"
    ]


async def test_nothing_is_kept_where_nobody_wants_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="tsheadroom.tailnet.logpipe")
    read_through(b"a line\n" * 1000)
    assert said(caplog) == []
