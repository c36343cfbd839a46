"""The commands: what `serve` starts with, what `status` says, and what neither of them loads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.served import Served
from tests.workers.support import parents
from tsheadroom import __version__, daemon
from tsheadroom.cli import main as cli


def test_defaults(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    result, options = run()
    assert result.exit_code == 0, result.output
    assert options == daemon.Options(
        hostname="tsheadroom",
        addr=("", 80),
        state_dir=Path("/somewhere/tsheadroom"),
        config=Path("tsheadroom.config.json"),
        local_addr=None,
        verbose=False,
        pool_size=8,
        max_compress=60.0,
        deadline=4.0,
        drain=5.0,
        python=sys.executable,
        affinity=True,
        gzip_response=True,
        accept_compressed=True,
        unsupported_encoding="reject",
        control_url=None,
        authkey=None,
        decision_memory=256 << 20,
        body_memory=512 << 20,
        history=True,
        config_capability="tsheadroom.dev/cap/config",
        max_connections=1024,
        allow=(),
        port=0,
    )


def test_version() -> None:
    result = CliRunner().invoke(cli.main, ["--version"])
    assert result.exit_code == 0
    assert result.output.startswith(f"tsheadroom {__version__} (headroom-ai ")


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tsheadroom", "serve", "-worker"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "has no meaning here" in done.stderr


def test_only_serve_loads_the_parts() -> None:
    """A health check runs `status` every few seconds, so that it has to start fast."""
    code = "import sys, tsheadroom.cli.main; print([m for m in sys.argv[1:] if m in sys.modules])"
    parts = ["aiohttp", "tsheadroom.daemon", "tsheadroom.workers", "tsheadroom.conversations"]
    done = subprocess.run(
        [sys.executable, "-c", code, *parts], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "answer", "code"),
    [([], (200, "ready\n"), 0), ([], (503, "no worker is warm\n"), 1), (["--live"], (200, ""), 0)],
)
def test_status_says_what_the_daemon_says(
    monkeypatch: pytest.MonkeyPatch, words: list[str], answer: tuple[int, str], code: int
) -> None:
    asked: list[tuple[Path, str]] = []

    def ask(state_dir: Path, page: str) -> tuple[int, str]:
        asked.append((state_dir, page))
        return answer

    monkeypatch.setattr(cli, "ask", ask)
    result = CliRunner().invoke(cli.main, ["status", "--state-dir", "/x", *words])
    assert (result.exit_code, result.output) == (code, answer[1])
    assert asked == [(Path("/x"), "/livez" if words else "/readyz")]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_auth_key_of_a_running_daemon_is_nowhere_to_be_read(tmp_path: Path) -> None:
    serving = Served(tmp_path, TS_AUTHKEY="tskey-auth-secret", ANTHROPIC_API_KEY="sk-ant-secret")
    try:
        serving.ready()
        main = serving.process.pid
        processes = [main, *(pid for pid, parent in parents().items() if parent == main)]
        assert len(processes) == 3  # and the fork server and a worker
        for pid in processes:
            process = Path("/proc", str(pid))
            assert b"tskey" not in (process / "cmdline").read_bytes()
            assert re.search(r"Max core file size\s+0\s+0\s", (process / "limits").read_text())
            assert (process / "environ").stat().st_uid == 0  # it is dumpable if not
            if os.geteuid() == 0:
                given = (process / "environ").read_bytes()
                assert b"tskey" not in given
                assert (b"sk-ant" in given) == (pid == main)
    finally:
        serving.stop()
    assert serving.log.count("confined=undumpable,") == 1
