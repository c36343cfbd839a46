"""A body of very many gzip members or zstd frames is refused within two seconds.

Each of them costs some microseconds, however little is in it, and empty ones are small.
"""

from __future__ import annotations

import gzip

import zstandard

from scripts.lab.torture.attacks._common import ask, outcomes, quiet_stall
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

SECONDS = 5.0  # twice what must hold: the cores may be busy with something else
STALL_MS = 250  # beside what the machine adds without an attack
MOST = 50 << 20


def attack(bench: Bench) -> Verdict:
    """Send each shape alone."""
    target = bench.daemon()
    machine = quiet_stall(target)
    answers: dict[str, str] = {}
    well = True
    with target.watched() as watch:
        for name, (coding, body) in _bodies(bench).items():
            reply = ask(target, body, headers={"Content-Encoding": coding})
            well &= reply.status == 200 and b"allow" in reply.body and reply.seconds < SECONDS
            answers[name] = f"{len(body)} bytes, {reply.status}, {reply.seconds:.2f} s"
    refused = outcomes(target).get("decode_error", 0)
    figures = {**answers, "refused": refused, **watch.figures()}
    return Verdict(
        well and refused == len(answers) and watch.stalled_ms < STALL_MS + machine, figures
    )


def _bodies(bench: Bench) -> dict[str, tuple[str, bytes]]:
    member = gzip.compress(b"", 1)
    call = bench.call(bench.rows(4))
    letters = b"".join(gzip.compress(b"%c" % byte) for byte in call)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"a")
    sized = zstandard.ZstdCompressor(write_content_size=True).compress(b"a")
    skipped = b"\x50\x2a\x4d\x18" + bytes(4)
    block = bytes(3)  # raw, of no bytes, not the last one
    blocks = b"\x28\xb5\x2f\xfd\x00\x58" + block * (MOST // 4)
    return {
        "empty gzip members": ("gzip", member * 150_000),
        "all gzip members that fit": ("gzip", member * (MOST // len(member))),
        "a gzip member for each byte": ("gzip", letters * (MOST // len(letters))),
        "zstd frames without size": ("zstd", unsized * 1_000_000),
        "zstd frames with size": ("zstd", sized * 1_000_000),
        "skippable zstd frames": ("zstd", skipped * 2_000_000),
        "empty zstd blocks": ("zstd", blocks),
    }
