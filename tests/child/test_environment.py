"""A child's environment: nothing that phones out, nothing that is the daemon's alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


def network(script: str) -> None:
    """Run a script that has no network; `refused` fails if an attempt gets through."""
    begin = """
import asyncio, ctypes, os, socket, subprocess, sys, urllib.request
from tsheadroom.child import environment, system
def refused(attempt, words=""):
    try:
        attempt()
    except OSError as error:
        assert words in str(error), error
    else:
        raise SystemExit(f"got out: {attempt}")
"""
    done = subprocess.run([sys.executable, "-c", begin + script], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_python_code_is_told_that_there_is_no_network() -> None:
    network(
        """
system.LINUX = False
environment.forbid_network()
words = "no network"
refused(lambda: socket.create_connection(("127.0.0.1", 9), timeout=1), words)
refused(lambda: socket.socket().connect(("127.0.0.1", 9)), words)
refused(lambda: socket.getaddrinfo("localhost", 9), words)
refused(lambda: urllib.request.urlopen("http://127.0.0.1:9/"), words)
"""
    )


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's filters")
def test_no_code_gets_round_it() -> None:
    network(
        """
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))
environment.forbid_network()
libc = ctypes.CDLL(None, use_errno=True)
import _socket
refused(lambda: _socket.socket().connect(udp.getsockname()))
refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
refused(lambda: socket.gethostbyname_ex("localhost"))
refused(lambda: subprocess.run([sys.executable, "-c", ""]))
assert libc.socket(2, 1, 0) == -1 and ctypes.get_errno() == 1
assert libc.connect(udp.fileno(), b"\\2" + bytes(15), 16) == -1 and ctypes.get_errno() == 1
"""
    )
