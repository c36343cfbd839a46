"""A child's environment: nothing that phones out, nothing that is the daemon's alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tsheadroom.child import environment


def test_inherited_knobs_and_secrets_stay_out() -> None:
    base = {
        "PATH": "/bin",
        "HF_TOKEN": "kept",
        "HF_HUB_CACHE": "/kept",
        "HEADROOM_MODE": "wild",
        "TS_AUTHKEY": "secret",
        "TSHEADROOM_PYTHON": "x",
        "HF_HUB_OFFLINE": "0",
    }
    env = environment.offline(base)
    assert {"PATH", "HF_TOKEN", "HF_HUB_CACHE"} <= env.keys()
    assert not {"HEADROOM_MODE", "TS_AUTHKEY", "TSHEADROOM_PYTHON"} & env.keys()
    assert env["HF_HUB_OFFLINE"] == "1"
    assert env["HEADROOM_OFFLINE"] == "1"


def test_applying_names_the_vocabularies_of_this_interpreter() -> None:
    environ = {"HEADROOM_MODE": "wild", "TIKTOKEN_CACHE_DIR": "/elsewhere"}
    environment.apply(environ)
    assert "HEADROOM_MODE" not in environ
    assert list(Path(environ["TIKTOKEN_CACHE_DIR"]).glob("fb374d41*"))  # o200k_base
    assert "litellm" not in sys.modules


def test_the_network_is_closed_to_python_code() -> None:
    script = """
from tsheadroom.child import environment
environment.forbid_network()
import asyncio, socket, urllib.request
attempts = [
    lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
    lambda: socket.socket().connect(("127.0.0.1", 9)),
    lambda: socket.getaddrinfo("localhost", 9),
    lambda: urllib.request.urlopen("http://127.0.0.1:9/"),
]
for attempt in attempts:
    try:
        attempt()
    except OSError as error:
        assert "no network" in str(error), error
    else:
        raise SystemExit("got out")
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
