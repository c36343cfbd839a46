"""A child's environment: nothing that phones out, nothing that is the daemon's alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tsheadroom.child import environment


def test_a_child_gets_what_it_needs_and_nothing_else() -> None:
    needed = {"PATH": "/bin", "HOME": "/home/x", "LC_ALL": "C.UTF-8", "HF_HUB_CACHE": "/kept"}
    env = environment.of_child(
        {
            **needed,
            "HF_TOKEN": "hf_secret",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "TS_AUTHKEY": "secret",
            "TSHEADROOM_PYTHON": "x",
            "HEADROOM_MODE": "wild",
            "HF_HUB_OFFLINE": "0",
            "OF_A_NAME_THAT_NOBODY_HAS_HEARD_OF": "secret",
        }
    )
    assert env == {**needed, **environment.OFFLINE}
    assert (env["HF_HUB_OFFLINE"], env["HEADROOM_OFFLINE"]) == ("1", "1")


def test_applying_names_the_vocabularies_of_this_interpreter() -> None:
    environ = {"HEADROOM_MODE": "wild", "TIKTOKEN_CACHE_DIR": "/elsewhere", "OTHER": "kept"}
    environment.apply(environ)
    assert "HEADROOM_MODE" not in environ
    assert environ["OTHER"] == "kept"
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
