"""Runs the demo: a private tailnet, the real daemon, two conversations, and what was saved."""

from __future__ import annotations

import contextlib
import fcntl
import http
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scripts.lab import traffic
from scripts.lab.demo_savings import Conversation, judge, show
from scripts.lab.demo_tailnet import (
    HOST,
    Caller,
    ControlServer,
    Daemon,
    DemoFailed,
    tailnet,
    wait_ready,
)
from scripts.lab.door import ROOT

# The last number is how much has to be saved at least, in percent of the tokens.
CONVERSATIONS = (
    ("A coding agent's session", traffic.DATA / "258c7280-ae70-1.jsonl", 0.0),
    ("A session of JSON tools", traffic.DATA / "json_heavy.jsonl", 15.0),
)
KEEPER = ROOT / ".build" / "demo.pid"


def converse(seen: Conversation, path: Path, caller: Caller, address: str, daemon: Daemon) -> None:
    """Send a conversation turn by turn over the tailnet, showing the daemon's lines."""
    with contextlib.closing(caller.http(address)) as connection:
        connection.connect()
        # As Go's client does. Otherwise the body would wait 40 ms after the head.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, sent in enumerate(traffic.turns(path)):
            call = traffic.hook_call(sent, path.stem, f"{path.stem}-{number}")
            headers = {"Content-Type": "application/json"}
            code, answer = connection.ask("POST", "/", call, headers)
            if code != http.HTTPStatus.OK:
                raise DemoFailed(f"the hook answered {code}")
            print(f"  {daemon.next_line()}", flush=True)
            said = json.loads(answer)
            seen.take(sent, said["request_body"] if said["action"] == "modify" else sent)


def run(keep: bool, shown: Callable[[], None]) -> None:
    """Run the demo. With `keep`, it then calls `shown` and stays until somebody stops it."""
    print("[2/5] Starting a private tailnet", flush=True)
    with tailnet(keep) as (control, caller, daemon, directory):
        address = wait_ready(caller, daemon, control)
        results: list[Conversation] = []
        for number, (name, path, least) in enumerate(CONVERSATIONS, 4):
            print(f"[{number}/5] {name}, turn by turn ({traffic.source_of(path)})", flush=True)
            results.append(Conversation(name, least))
            converse(results[-1], path, caller, address, daemon)
        show(results)
        judge(results)
        if keep:
            _how_to_reach(control, caller, address, directory)
            shown()
            while daemon.process.poll() is None:
                time.sleep(0.5)


def _how_to_reach(control: ControlServer, caller: Caller, address: str, directory: Path) -> None:
    host, port = caller.proxy
    proxy = f"socks5h://tsnet:{caller.password}@{host}:{port}"
    print(
        f"\nLeft running. The node is {address}:80; reach it through the caller:\n"
        f"  curl -x {proxy} http://{HOST}/config\n"
        f"  curl -x {proxy} http://{HOST}/metrics\n"
        f"Another node joins with: --control-url {control.url}, any auth key\n"
        f"Its lines and log: {directory}/tsheadroom.lines, {directory}/tsheadroom.log\n"
        "Stop it: scripts/demo --stop",
        flush=True,
    )


def _stop_on_signal(number: int, frame: object) -> None:
    del frame
    sys.exit(128 + number)


def _guarded(keep: bool, shown: Callable[[], None]) -> int:
    """Run the demo and return the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop_on_signal)
    try:
        run(keep, shown)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except (DemoFailed, OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"\nscripts/demo: {error}", file=sys.stderr)
        return 1
    return 0


def _keep() -> int:
    """Run the demo in a process that stays when this one has ended, so that the prompt returns."""
    KEEPER.parent.mkdir(exist_ok=True)
    lock = KEEPER.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("A demo is up already; scripts/demo --stop ends it.", file=sys.stderr)
        return 1
    reader, writer = os.pipe()
    sys.stdout.flush()
    keeper = os.fork()
    if keeper == 0:
        os.close(reader)

        def shown() -> None:
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            os.setsid()
            for descriptor in (0, 1, 2):
                os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
            os.write(writer, b"1")
            os.close(writer)

        code = _guarded(keep=True, shown=shown)
        sys.stdout.flush()
        os._exit(code)
    lock.close()
    os.close(writer)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keeper gets it, too, and ends
    signal.signal(signal.SIGTERM, lambda *_: os.kill(keeper, signal.SIGTERM))
    if os.read(reader, 1):
        return 0
    return os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1])


def _stop() -> int:
    """End what --keep left, and wait until it is gone."""
    try:
        with KEEPER.open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.kill(int(lock.read()), signal.SIGTERM)
                fcntl.flock(lock, fcntl.LOCK_EX)
                print("stopped")
                return 0
    except FileNotFoundError:
        pass
    print("no demo is up")
    return 0


def main(*, keep: bool, stop: bool) -> int:
    """Run the command and return its exit code."""
    if stop:
        return _stop()
    return _keep() if keep else _guarded(keep=False, shown=lambda: None)
