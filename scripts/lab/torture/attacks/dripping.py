"""Bodies that come byte by byte end within seconds, and neither they nor heads hold anybody up.

A body may fall ten seconds behind 128 KiB/s. Callers beside are served as ever. Heads end after the
two minutes that a silent connection has: longer than this waits, so they are only counted.
"""

from __future__ import annotations

import contextlib
import socket
import time

from scripts.lab.torture.attacks._common import beside
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

EACH = 30
PATIENCE = 15.0  # seconds; what must hold is ten, and the next look at the clock
DRIP = 0.5  # seconds

HEADS = "heads"
BEGUN = {
    HEADS: b"POST / HTTP/1.1\r\nHost: x\r\nX-A: ",
    "bodies": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n{",
    "chunks": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n{",
    "coded bodies": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: zstd\r\n"
    b"Content-Length: 10000\r\n\r\n(",
    "bills": b"POST /bills HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n{",
    "settings": b"PUT /config HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n{",
}


def attack(bench: Bench) -> Verdict:
    """Let all drip until they have ended, or should have."""
    target = bench.daemon()
    before = target.footprint()
    with contextlib.ExitStack() as held, beside(bench, target, 4, 1_000, 0.2) as served:
        dripping = {
            name: [held.enter_context(target.connect()) for _ in range(EACH)] for name in BEGUN
        }
        for name, lines in dripping.items():
            for line in lines:
                line.sendall(BEGUN[name])
        end = time.monotonic() + PATIENCE
        while (
            any(lines for name, lines in dripping.items() if name != HEADS)
            and time.monotonic() < end
        ):
            time.sleep(DRIP)
            for name, lines in dripping.items():
                dripping[name] = [line for line in lines if _takes_more(line)]
        left = {f"{name} left": len(lines) for name, lines in dripping.items()}
        more = target.footprint().descriptors - before.descriptors
    figures = {**left, "more descriptors": more, **served.figures()}
    bodies = (lines for name, lines in dripping.items() if name != HEADS)
    return Verdict(not any(bodies) and served.well, figures)


def _takes_more(line: socket.socket) -> bool:
    """Send a byte. False if the daemon has answered, or closed."""
    line.setblocking(False)
    try:
        line.send(b"a")
        line.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
