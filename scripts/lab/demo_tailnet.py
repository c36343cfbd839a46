"""The demo's private tailnet: control server, a caller in Aperture's place, and the daemon."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from scripts.lab.daemon import short_directory
from scripts.lab.door import ROOT
from tests.tailnet import private
from tsheadroom.cli import ask as status
from tsheadroom.cli.ask import NoDaemon

HOST = "tsheadroom"
START_SECONDS = 90.0  # a loaded machine warms up the workers in ten
STOP_SECONDS = 20.0  # the daemon's own drain takes five
LINE_SECONDS = 10.0
POLL_SECONDS = 0.1
# Lets the kernel end a program when the demo ends, even if the demo is killed: PR_SET_PDEATHSIG
# with SIGTERM.
_LAUNCH = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"
)
DIE_WITH_DEMO = [sys.executable, "-c", _LAUNCH] if sys.platform == "linux" else []


class DemoFailed(Exception):
    """The demo did not show what it should. The text says what went wrong."""


class Undisturbed(private.Process):
    """A process that Ctrl-C in the terminal does not reach. The demo ends it in the right order."""

    log: IO[bytes]

    def __init__(self, *arguments: Any) -> None:
        self._before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._stderr = os.dup(2)
        os.dup2(self.log.fileno(), 2)
        super().__init__(*arguments)

    def _first_line(self) -> dict[str, Any]:
        os.dup2(self._stderr, 2)
        os.close(self._stderr)
        signal.signal(signal.SIGINT, self._before)
        try:
            return super()._first_line()
        except BaseException:
            self.process.kill()
            raise


class ControlServer(Undisturbed, private.ControlServer):
    """The tailnet's control server."""


class Caller(Undisturbed, private.Caller):
    """The node in Aperture's place."""


class Daemon:
    """`tsheadroom serve -v` as a node. Its -v lines go to a file, which is read as it grows."""

    def __init__(self, control_url: str, directory: Path, *, outlives: bool) -> None:
        self.log = directory / "tsheadroom.log"
        self.lines = directory / "tsheadroom.lines"
        self.state = directory / "state"
        words = ["serve", "-v", "--hostname", HOST, "--control-url", control_url]
        words += ["--state-dir", str(self.state), "--pool-size", "2"]
        words += ["--config", str(directory / "tsheadroom.config.json")]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TSHEADROOM_", "TS_"))}
        with self.log.open("wb") as errors, self.lines.open("wb") as lines:
            self.process = subprocess.Popen(
                [*([] if outlives else DIE_WITH_DEMO), sys.executable, "-m", "tsheadroom", *words],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=errors,
                env={**kept, **private.NODE_ENVIRONMENT, "TS_AUTHKEY": "any"},
                start_new_session=True,
            )
        self._reader = self.lines.open(encoding="utf-8")

    def check(self) -> None:
        """Raise DemoFailed if it has ended."""
        if self.process.poll() is not None:
            raise DemoFailed(f"the daemon ended with {self.process.returncode}")

    def next_line(self) -> str:
        """Wait for the next -v line and return it."""
        end = time.monotonic() + LINE_SECONDS
        line = ""
        while time.monotonic() < end:
            line += self._reader.readline()
            if line.endswith("\n"):
                return line.rstrip()
            self.check()
            time.sleep(0.002)
        raise DemoFailed("the daemon printed no line for a request")

    def stop(self) -> None:
        """End it as an operator would; kill it if that does not help."""
        self._reader.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def tailnet(keep: bool) -> Iterator[tuple[ControlServer, Caller, Daemon, Path]]:
    """Start control server, caller and daemon, and end all of them afterwards."""
    directory = short_directory("tsheadroom-demo-")
    with contextlib.ExitStack() as parts:
        parts.callback(shutil.rmtree, directory, ignore_errors=True)
        os.environ["GOTMPDIR"] = str(directory)  # an interrupted build leaves its files there
        private.build()
        Undisturbed.log = parts.enter_context((directory / "tailnet.log").open("wb"))
        control = ControlServer()
        parts.callback(control.close)
        print(f"      control server at {control.url}", flush=True)
        (directory / "caller").mkdir()
        caller = Caller(control.url, directory / "caller", "aperture")
        parts.callback(caller.close)
        print(f"      caller in Aperture's place: node aperture, {caller.ip}", flush=True)
        print("[3/5] Starting tsheadroom serve -v as a node", flush=True)
        daemon = Daemon(control.url, directory, outlives=keep)
        parts.callback(daemon.stop)
        try:
            yield control, caller, daemon, directory
        except Exception:
            print(f"\nThe daemon's log:\n{_tail(daemon.log)}", file=sys.stderr)
            raise


def _tail(path: Path, lines: int = 25) -> str:
    return "\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:])


def wait_ready(caller: Caller, daemon: Daemon, control: ControlServer) -> str:
    """Wait until a worker is warm and the caller has reached the node. Returns its address."""
    started = time.monotonic()
    why = "it did not start"
    while time.monotonic() < started + START_SECONDS:
        time.sleep(POLL_SECONDS)
        daemon.check()
        try:
            code, text = status.ask(daemon.state, "/readyz")
            # This is asked first: a caller that dials a node too early waits seconds to try again.
            if code == http.HTTPStatus.OK:
                address = _address(control)
                with contextlib.closing(caller.http(address)) as connection:
                    connection.ask("GET", "/readyz")
                taken = time.monotonic() - started
                print(f"      node {HOST}, {address}, ready after {taken:.1f} s", flush=True)
                return address
            why = text.strip()
        except (NoDaemon, OSError, http.client.HTTPException) as error:
            why = str(error)
    raise DemoFailed(f"the daemon did not get ready: {why}")


def _address(control: ControlServer) -> str:
    with urllib.request.urlopen(f"{control.url}/test/nodes", timeout=LINE_SECONDS) as answer:
        rows = dict(line.split() for line in answer.read().decode().splitlines())
    return str(rows[HOST])
