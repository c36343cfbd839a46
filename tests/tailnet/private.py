"""A private tailnet on this machine: its control server, nodes as processes, calls through them.

Used by the tests and by scripts; only build() needs more than the standard library.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
CONTROL_SERVER = ROOT / ".build" / "controlserver"

# What a node on a private tailnet needs to be told at exec; Go reads its environment then.
QUIET = {"TS_NO_LOGS_NO_SUPPORT": "1"}
NODE_ENVIRONMENT = {
    **QUIET,
    "TS_PANIC_IF_HIT_MAIN_CONTROL": "1",
    "TS_ASSUME_NETWORK_UP_FOR_TEST": "1",
    "TS_DISABLE_PORTMAPPER": "1",
}

# Generous: on a machine with two busy cores the first connection of two nodes may take a while, and
# so may the control server's news of a node to the others.
PATIENCE = 60.0


def build() -> None:
    """Compile the control server, or find that nothing has changed."""
    import hatch_build  # beside the tests in a checkout; its hatchling is for those who build

    hatch_build.build_control_server()


class Process:
    """A child that says one line of JSON when it is ready, and ends when its stdin does."""

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        errors: IO[Any] | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
            text=True,
        )
        self.ready = self._first_line()

    def _first_line(self) -> dict[str, Any]:
        assert self.process.stdout
        alarm = threading.Timer(PATIENCE, self.process.kill)
        alarm.start()
        line = self.process.stdout.readline()
        alarm.cancel()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}")
        ready: dict[str, Any] = json.loads(line)
        return ready

    @property
    def pid(self) -> int:
        return self.process.pid

    def close(self) -> int:
        """End it and give its exit code."""
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            code = self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            # tsnet's own netstack may hang in its end when it has had many connections.
            self.process.kill()
            code = self.process.wait()
        finally:
            if self.process.stdout:
                self.process.stdout.close()
        return code


class ControlServer(Process):
    """The tailnet's control server, with DERP and STUN."""

    def __init__(self, *flags: str) -> None:
        super().__init__([str(CONTROL_SERVER), "-until-eof", *flags], {})
        self.url: str = self.ready["url"]
        self.ports = {
            int(self.url.rpartition(":")[2]),
            self.ready["derp_port"],
            self.ready["stun_port"],
        }

    def grant(self, capabilities: Mapping[str, list[Any]]) -> None:
        """Grant application capabilities to everybody, in place of the earlier ones."""
        self._post("grants", json.dumps(capabilities))

    def log_in(self, url: str) -> None:
        """What a person does at a login URL."""
        self._post("login", url)

    def expire_keys(self) -> None:
        """Let the node keys that there are expire."""
        self._post("expire", "")

    def tag(self, hostname: str, *tags: str) -> None:
        """Make a node a tagged one."""
        self._post(f"tags?hostname={hostname}&tags={','.join(tags)}", "")

    def _post(self, path: str, body: str) -> None:
        request = urllib.request.Request(f"{self.url}/test/{path}", body.encode(), method="POST")
        urllib.request.urlopen(request, timeout=PATIENCE).close()


class Caller(Process):
    """A second node, in Aperture's place: calls go out through its SOCKS5 proxy."""

    def __init__(
        self,
        control_url: str,
        state_dir: Path,
        hostname: str = "caller",
        key: str = "any",
        environment: Mapping[str, str] = NODE_ENVIRONMENT,
    ) -> None:
        super().__init__(
            [
                sys.executable,
                "-m",
                "tests.tailnet.caller",
                control_url,
                str(state_dir),
                hostname,
                key,
            ],
            environment,
        )
        host, _, port = str(self.ready["proxy"]).rpartition(":")
        self.proxy = (host, int(port))
        self.password: str = self.ready["password"]
        self.ip: str = self.ready["ip"]

    def connect(self, host: str, port: int = 80, timeout: float = PATIENCE) -> socket.socket:
        """A TCP connection over the tailnet.

        A node that has just come up is not known to its peers yet: such refusals are waited out.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                return socks5(self.proxy, "tsnet", self.password, host, port, timeout)
            except ProxyRefused:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.05)

    def http(self, host: str, port: int = 80, timeout: float = PATIENCE) -> TailnetHTTP:
        """An HTTP connection over the tailnet; it is kept alive like Aperture's."""
        return TailnetHTTP(self, host, port, timeout)


class TailnetHTTP(http.client.HTTPConnection):
    """http.client over a caller's tailnet."""

    def __init__(self, caller: Caller, host: str, port: int, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self._caller = caller
        self._patience = timeout

    def connect(self) -> None:
        self.sock = self._caller.connect(self.host, self.port, self._patience)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """One request; the status and the body of its answer."""
        self.request(method, path, body, dict(headers or {}))
        response = self.getresponse()
        return response.status, response.read()


class ProxyRefused(OSError):
    """The SOCKS5 proxy did not connect."""


def socks5(
    proxy: tuple[str, int], user: str, password: str, host: str, port: int, timeout: float
) -> socket.socket:
    """A connection through a SOCKS5 proxy with a password (RFC 1928, RFC 1929)."""
    sock = socket.create_connection(proxy, timeout=timeout)
    # As http.client's own connections: a request's head and body are two writes.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.sendall(b"\x05\x01\x02")  # version 5, one method: user and password
        if _exactly(sock, 2) != b"\x05\x02":
            raise ProxyRefused("the proxy wants another way to log in")
        name, word = user.encode(), password.encode()
        sock.sendall(b"\x01" + bytes([len(name)]) + name + bytes([len(word)]) + word)
        if _exactly(sock, 2)[1] != 0:
            raise ProxyRefused("the proxy does not take the password")
        target = host.encode("idna")
        sock.sendall(
            b"\x05\x01\x00\x03" + bytes([len(target)]) + target + struct.pack(">H", port)
        )  # connect to a name
        _, reply, _, kind = _exactly(sock, 4)
        if reply != 0:
            raise ProxyRefused(f"the proxy cannot reach {host}:{port}: reply {reply}")
        bound = {1: 4, 4: 16}.get(kind) or _exactly(sock, 1)[0]
        _exactly(sock, bound + 2)  # the address it is bound to: of no interest
    except BaseException:
        sock.close()
        raise
    return sock


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        if not chunk:
            raise ProxyRefused("the proxy hung up")
        data += chunk
    return data
