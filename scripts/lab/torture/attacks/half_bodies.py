"""Half-sent bodies of one peer, more than there may be connections, keep no other peer out.

They are ended when their time to go on is over.
"""

from __future__ import annotations

import contextlib
import socket

from scripts.lab.daemon import HOST
from scripts.lab.torture import wire
from scripts.lab.torture.attacks import _places
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

MOST = 32  # connections
HALVES = 48
BODY = 100_000
SLOWEST = 4.0  # seconds
ENDED_SECONDS = 25.0  # a body has ten to go on; the connection lingers five


def attack(bench: Bench) -> Verdict:
    """Send the first half of many bodies and wait, while a peer that --allow names works."""
    target = bench.daemon("--max-connections", str(MOST), "--allow", "honest", tailnet=True)
    honest = bench.peer(target, "honest")
    talk = _places.Talk(bench, lambda: honest.connect(HOST))
    talk.turn()
    half = wire.request(bytes(BODY))[: -BODY // 2]
    with contextlib.ExitStack() as held:
        halves = [held.enter_context(target.connect()) for _ in range(HALVES)]
        for one in halves:
            with contextlib.suppress(OSError):
                one.sendall(half)
        served = 0
        for _ in range(10):
            fresh = _places.Talk(bench, lambda: honest.connect(HOST))
            fresh.turn()
            talk.turn()
            talk.slowest = max(talk.slowest, fresh.slowest)
            served += 1
        ended = _places.until(lambda: all(map(_ended, halves)), ENDED_SECONDS)
    well = ended is not None and served == 10 and not talk.broken and talk.slowest < SLOWEST
    figures = {"half bodies": HALVES, "all ended after, s": ended, "new connections served": served}
    return Verdict(well, {**figures, **talk.figures()})


def _ended(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(1 << 16)
    except BlockingIOError:
        return False
    except OSError:
        return True
