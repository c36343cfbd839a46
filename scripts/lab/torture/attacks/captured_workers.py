"""A worker that was taken over reaches no network, program, file or other process, and no secret.

What it tries goes through libc, past everything that Python could forbid.
"""

from __future__ import annotations

import json
import socket

from scripts.lab.torture import interpreter
from scripts.lab.torture.attacks import _intruder
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict
from tsheadroom.workers.launch import MEMORY_LIMIT

# What only Landlock prevents where the daemon is root's, and where the kernel lacks that.
READS = ("read", "listing", "the same", "environment", "descriptors", "memory")
PADDING = 400  # rows: what it tells has to be shorter than what it was told


def attack(bench: Bench) -> Verdict:
    """Put an intruder in the place of the compression, and ask what it could do."""
    script = interpreter.make(bench.folder, _intruder.__file__, {})
    unix = f"\0torture-{bench.salt()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.bind(unix)
        local.listen()
        target = bench.daemon("--python", str(script))
        about = {
            "pid": target.pid,
            "sibling": target.workers()[-1],
            "port": server.getsockname()[1],
            "unix": unix,
            "file": str(target.store),
            "folder": str(target.state),
            "memory": MEMORY_LIMIT,
            "padding": bench.rows(PADDING),
        }
        reply = target.line().ask(bench.call(json.dumps(about)))
    answer = json.loads(reply.body)
    if answer["action"] != "modify":
        return Verdict(False, {"ended by": "the intruder was not asked"})
    text = answer["request_body"]["messages"][-1]["content"][0]["content"]
    outcome = json.loads(text)
    done = sorted(name for name, what in outcome.items() if what == "done")
    landlock = "landlock" in target.log
    serious = [name for name in done if landlock or not any(word in name for word in READS)]
    means = sorted(
        {line.rpartition("confined=")[2] for line in target.log.splitlines() if "confined=" in line}
    )
    figures = {"attempts": len(outcome), "succeeded": done, "confined by": means}
    whole = target.store.exists() and len(outcome) > 30
    return Verdict(whole and not serious, figures)
