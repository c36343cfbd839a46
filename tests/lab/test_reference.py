"""The Go daemon's process: what it is started with, when it is ready, and that it ends.

A small Python server stands in for it, with its options, log lines and series.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scripts.lab.client import Connection
from scripts.lab.reference import NoReference, Reference, reference_environment

SERVER = """#!{python}
import http.server, json, os, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open({told!r}, "w") as file:
    json.dump([given, os.getcwd(), os.getpid()], file)
outcome, turns = {outcome!r}, 0

class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global turns
        turns += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"{{}}")

    def do_GET(self):
        name = 'tsheadroom_requests_by_outcome{{outcome="%s"}}' % outcome
        self.answer(f"# HELP tsheadroom_requests_by_outcome x\\n{{name}} {{turns}}\\n".encode())

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

host, port = given["-local-addr"].split(":")
server = http.server.ThreadingHTTPServer((host, int(port)), Hook)
for slot in range(int(given["-pool-size"])):
    print('level=INFO msg="worker ready" slot=%d' % slot, file=sys.stderr, flush=True)
server.serve_forever()
"""


def stand_in(directory: Path, outcome: str) -> Path:
    """A server that takes the Go daemon's options, and counts each answer as of that outcome."""
    binary = directory / "tsheadroom-go"
    told = str(directory / "told.json")
    binary.write_text(SERVER.format(python=sys.executable, told=told, outcome=outcome))
    binary.chmod(0o755)
    return binary


def test_it_is_started_apart_measured_and_ended(tmp_path: Path) -> None:
    with Reference(stand_in(tmp_path, "noop"), tmp_path / "worker.py", 3) as daemon:
        given, directory, pid = json.loads((tmp_path / "told.json").read_text())
        connection = Connection(daemon.connect)
        assert connection.post(b"{}").status == 200
        connection.close()
        assert daemon.metrics() == {'tsheadroom_requests_by_outcome{outcome="noop"}': 1.0}
        assert daemon.usage().daemon_cpu > 0
    assert given["-pool-size"] == "3"
    assert given["-python"] == sys.executable
    assert given["-worker"] == str(tmp_path / "worker.py")
    for name in ("-state-dir", "-config"):
        assert Path(given[name]).is_relative_to(directory)
    assert not Path(directory).exists()
    assert not Path(f"/proc/{pid}").exists()


def test_what_cannot_be_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoReference, match="cannot be run"):
        Reference(tmp_path / "missing", tmp_path / "worker.py", 1).__enter__()


def test_what_ends_at_once_is_said_with_its_log(tmp_path: Path) -> None:
    binary = tmp_path / "tsheadroom-go"
    binary.write_text("#!/bin/sh\necho no such model >&2\nexit 1\n")
    binary.chmod(0o755)
    with pytest.raises(NoReference, match="no such model"):
        Reference(binary, tmp_path / "worker.py", 1).__enter__()


def test_its_environment_has_no_secrets_and_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "TS_AUTHKEY", "HEADROOM_MODE", "PYTHONPATH", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    given = reference_environment(tmp_path)
    assert "x" not in given.values()
    assert given["LC_ALL"] == "C.UTF-8"
    assert given["HOME"] == str(tmp_path)
    assert given["HF_HUB_OFFLINE"] == "1"
    assert Path(given["TIKTOKEN_CACHE_DIR"]).is_dir()
