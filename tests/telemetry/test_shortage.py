"""Errors of the event loop in the log."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

from tsheadroom.telemetry.shortage import say_briefly

if TYPE_CHECKING:
    import pytest


async def test_a_shortage_is_one_line_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    loop, now = asyncio.get_running_loop(), 0.0
    say_briefly(loop, clock=lambda: now)
    error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    context = {"message": "out of system resource", "exception": error, "socket": object()}
    for _ in range(1000):
        loop.call_exception_handler(context)
    assert [record.exc_info for record in caplog.records] == [None]
    assert "Too many open files" in caplog.text
    now = 60.0
    loop.call_exception_handler(context)
    assert len(caplog.records) == 2


async def test_other_errors_are_logged_as_they_come(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    say_briefly(loop)
    for error in (ValueError("on purpose"), OSError(errno.EMFILE, "elsewhere"), None):
        loop.call_exception_handler({"message": "something", "exception": error})
    assert len(caplog.records) == 3
