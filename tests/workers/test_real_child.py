"""The real child with real Headroom: it comes up, answers, and touches neither network nor disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.workers.support import MakePool, job_config, started
from tsheadroom.child.environment import OFFLINE
from tsheadroom.workers import Job, WorkerFailed
from tsheadroom.workers.launch import CHILD

ROWS = json.dumps([{"id": at, "name": f"row {at}", "status": "ok"} for at in range(100)], indent=1)


def listing(key: str = "c") -> dict[str, Any]:
    use = {"kind": "tool_use", "call": "t", "name": "Bash", "input": {"command": "list"}}
    part = {
        "kind": "tool_result",
        "slot": ["content", 0],
        "call": "t",
        "text": ROWS,
        "error": False,
    }
    return {
        "conversation": key,
        "base": 0,
        "prefix": "",
        "frozen": 0,
        "messages": [
            {"digest": "01" * 16, "role": "assistant", "context": True, "parts": [use]},
            {"digest": "02" * 16, "role": "user", "context": False, "parts": [part]},
        ],
        "model": "claude-sonnet-4-5",
        "config": job_config(),
    }


@pytest.mark.parametrize("fork", [True, False])
async def test_it_compresses(make_pool: MakePool, fork: bool) -> None:
    pool = await started(make_pool(size=2, fork=fork, pipelines=""))
    assert pool.headroom_version is not None
    assert pool.headroom_version.startswith("0.42")
    assert len(pool.pids) == (3 if fork and sys.platform == "linux" else 2)
    for key in ("a", "b"):
        reply = await pool.submit(Job(key, json.dumps(listing(key)).encode()))
        assert [form.item for form in reply.forms] == [1]
        assert len(reply.forms[0].edits[0].text) < len(ROWS)
        assert reply.forms[0].tokens_saved > 0


async def test_half_a_surrogate_pair_does_not_break_the_line(make_pool: MakePool) -> None:
    pool = await started(make_pool(pipelines=""))
    payload = listing()
    part = payload["messages"][1]["parts"][0]
    part["text"] = ROWS.replace("row 7", "row \ud800")
    await pool.submit(Job("a", json.dumps(payload).encode()))
    assert pool.stats.restarts == 0


async def test_a_job_without_a_setting_is_refused_and_the_child_stays(make_pool: MakePool) -> None:
    pool = await started(make_pool(pipelines=""))
    before = pool.pids
    payload = listing()
    del payload["config"]["gutter"], payload["config"]["lossy"]
    with pytest.raises(WorkerFailed, match=r"bad_request at .*settings\.py:\d+$") as caught:
        await pool.submit(Job("a", json.dumps(payload).encode()))
    assert (caught.value.error_type, caught.value.killed) == ("bad_request", False)
    payload["config"] = {**job_config(), "of_another_part": 7}
    assert (await pool.submit(Job("a", json.dumps(payload).encode()))).forms
    assert pool.pids == before


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_it_is_silent(tmp_path: Path) -> None:
    """Every system call of a child that starts and answers: no connection, no file written."""
    trace = tmp_path / "trace"
    home = tmp_path / "home"
    home.mkdir()
    request = json.dumps({"id": 1, "payload": listing()}).encode() + b"\n"
    watched = "trace=connect,sendto,open,openat,creat,mkdir"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", trace, "-e", watched, sys.executable, "-B", CHILD, "{}"],
        input=request,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **OFFLINE},
        cwd=home,
        check=False,
        timeout=120,
    )
    assert b'"ok":true' in done.stdout, done.stderr
    calls = trace.read_text().splitlines()
    assert calls
    assert not [call for call in calls if "connect(" in call or "sendto(" in call]
    writes = ("O_WRONLY", "O_RDWR", "O_CREAT", "mkdir(", "creat(")
    written = [call for call in calls if any(write in call for write in writes)]
    assert not [call for call in written if '"/dev/' not in call]
    assert list(home.iterdir()) == []
