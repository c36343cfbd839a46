"""Bodies that take long to decode keep nobody waiting who sends others, plain or coded.

Six come at once, again and again. Beside, callers send small plain bodies, one sends 1.2 MB, one
sends gzip, and the daemon ends at once when it is told to.
"""

from __future__ import annotations

import gzip
import signal
import threading
import time
import zlib

from scripts.lab.torture.attacks._common import Talk, ask, beside
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

BODIES = 6
SECONDS = 6.0
WAIT = 2.0  # seconds; what must hold is far less, but the attack takes both cores
STOP = 7.0  # seconds: requests that are open may take five more


def attack(bench: Bench) -> Verdict:
    """Keep them coming, and send the others."""
    target = bench.daemon()
    slow = [gzip.compress(b"", 1) * 250_000, _tables(5_000_000)]
    ended = threading.Event()

    def keep(number: int) -> None:
        while not ended.is_set():
            ask(target, slow[number % 2], headers={"Content-Encoding": "gzip"})

    threads = [threading.Thread(target=keep, args=(n,), daemon=True) for n in range(BODIES)]
    worst: dict[str, float] = {"plain, 1.2 MB": 0.0, "gzip, 500 KB": 0.0}
    answered = True
    with beside(bench, target, 4, 1_000, 0.1) as served, target.watched() as watch:
        for thread in threads:
            thread.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            plain = Talk(bench, size=1_200_000).call()
            coded = gzip.compress(Talk(bench, size=500_000).call(), 1)
            for name, body, coding in (
                ("plain, 1.2 MB", plain, "identity"),
                ("gzip, 500 KB", coded, "gzip"),
            ):
                reply = ask(target, body, headers={"Content-Encoding": coding})
                answered &= reply.status == 200
                worst[name] = max(worst[name], round(reply.seconds, 2))
    started = time.monotonic()
    code = target.stop(signal.SIGTERM)
    stopping = time.monotonic() - started
    ended.set()
    for thread in threads:
        thread.join()
    figures = {
        **{f"slowest {name}, s": seconds for name, seconds in worst.items()},
        "seconds to end": round(stopping, 1),
        "exit status": code,
        **watch.figures(),
        **served.figures(),
    }
    quick = max(worst.values()) < WAIT and stopping < STOP and not code
    return Verdict(quick and answered and served.well, figures)


def _tables(size: int) -> bytes:
    """A gzip member of tables with no text behind them: flushed after every byte."""
    coder = zlib.compressobj(1, zlib.DEFLATED, 31)
    piece = b"".join(coder.compress(b"%c" % (n % 256)) + coder.flush(zlib.Z_SYNC_FLUSH)
                     for n in range(size // 8))  # fmt: skip
    return piece + coder.flush()
