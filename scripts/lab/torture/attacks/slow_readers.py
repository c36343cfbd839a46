"""Answers that nobody reads hold little memory, and none of it for ever.

Twenty callers send 12 MB each, of which something becomes shorter, and read no byte of the answer.
Sixteen callers with 1 MB each work beside, and none of theirs is refused.
"""

from __future__ import annotations

import contextlib
import socket
import time

from scripts.lab.torture import wire
from scripts.lab.torture.attacks._common import Talk, beside, outcomes
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

READERS = 20
BODY = 12_000_000  # more, and nothing new is decided, so that answers are short
MORE_MIB = 700  # a budget of 512 MiB, and what the honest ones are held with
PATIENCE = 13.0  # seconds: an answer may fall ten behind its pace


def attack(bench: Bench) -> Verdict:
    """Send all, read nothing, and wait until nothing is held for them any more."""
    target = bench.daemon()
    with contextlib.ExitStack() as held:
        with beside(bench, target, pause=1.0) as served, target.watched() as watch:
            before = target.footprint()
            for _ in range(READERS):
                held.enter_context(_unread(bench, target))
        end = time.monotonic() + PATIENCE
        while (left := _held(target)) and time.monotonic() < end:
            time.sleep(0.2)
    more = watch.rss - before.rss
    figures = {
        "more memory, MiB": round(more),
        "bytes held at last": left,
        "outcomes": outcomes(target),
        **watch.figures(),
        **served.figures(),
    }
    return Verdict(more < MORE_MIB and not left and served.well, figures)


def _unread(bench: Bench, target: Target) -> socket.socket:
    talk = Talk(bench, size=BODY)
    talk.rows()
    line = target.connect()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.settimeout(2)  # one that is not read any more is held back, as it should be
    with contextlib.suppress(OSError):
        line.sendall(wire.request(talk.call()))
    return line


def _held(target: Target) -> int:
    return int(target.metrics()["tsheadroom_body_bytes"])
