"""The demo: a private tailnet, the real daemon, two conversations, and what came of them."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from scripts.lab import traffic
from scripts.lab.daemon import short_directory
from scripts.lab.door import ROOT
from tests.tailnet import private
from tsheadroom import status
from tsheadroom.status import NoDaemon

HOST = "tsheadroom"
CONVERSATIONS = (
    ("A coding agent's session", traffic.DATA / "258c7280-ae70-1.jsonl"),
    ("A session of JSON tools", traffic.DATA / "json_heavy.jsonl"),
)
JSON_TOOLS = CONVERSATIONS[1][0]
LEAST_SAVED = 15.0  # percent of the tokens of the conversation that is heavy with JSON
SHOWN_TURNS = 6  # rows of a conversation in the table, from its first turn to its last
START_SECONDS = 90.0  # a loaded machine warms up the workers in ten
STOP_SECONDS = 20.0  # the daemon's own drain takes five
LINE_SECONDS = 10.0
POLL_SECONDS = 0.1
# Has the kernel end a program with the demo, even if that is killed (PR_SET_PDEATHSIG, SIGTERM).
_LAUNCH = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"
)
DIE_WITH_DEMO = [sys.executable, "-c", _LAUNCH] if sys.platform == "linux" else []
KEEPER = ROOT / ".build" / "demo.pid"


class DemoFailed(Exception):
    """The demo did not show what it is there to show."""


class Undisturbed(private.Process):
    """A process that Ctrl-C in the terminal does not reach: it is ended in its turn."""

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
    """`tsheadroom serve -v` as a node; its -v lines go to a file that is read as it grows."""

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
        """Raise when it has ended."""
        if self.process.poll() is not None:
            raise DemoFailed(f"the daemon ended with {self.process.returncode}")

    def next_line(self) -> str:
        """The next -v line, once it is there."""
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
        """End it as an operator would; kill it when that does not help."""
        self._reader.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Turn:
    """One request: bytes of its body and o200k tokens, before and after."""

    messages: int
    bytes_before: int
    bytes_after: int
    tokens_before: int
    tokens_after: int


@dataclass
class Conversation:
    """What a provider saw of one conversation."""

    name: str
    turns: list[Turn] = field(default_factory=list)
    changed_prefixes: int = 0
    markers: int = 0
    changed_fields: int = 0
    _seen: list[Any] = field(default_factory=list)

    def take(self, sent: traffic.Body, got: traffic.Body) -> None:
        """One request, as the agent sent it and as it is forwarded."""
        before, after = traffic.dumps(sent), traffic.dumps(got)
        self.turns.append(
            Turn(
                len(sent["messages"]),
                len(before),
                len(after),
                traffic.tokens(sent),
                traffic.tokens(got),
            )
        )
        now = traffic.plain(got["messages"])
        self.changed_prefixes += now[: len(self._seen)] != self._seen
        self._seen = now
        self.markers += any(
            after.count(marker.encode()) > before.count(marker.encode())
            for marker in traffic.MARKERS
        )
        rest = [{k: v for k, v in b.items() if k != "messages"} for b in (sent, got)]
        self.changed_fields += rest[0] != rest[1] or list(sent) != list(got)

    @property
    def total(self) -> Turn:
        """All turns together: what the provider bills."""
        columns = ("bytes_before", "bytes_after", "tokens_before", "tokens_after")
        sums = [sum(getattr(turn, name) for turn in self.turns) for name in columns]
        return Turn(self.turns[-1].messages, *sums)


def saved(before: int, after: int) -> float:
    """Percent."""
    return 100 * (before - after) / before if before else 0.0


@contextlib.contextmanager
def tailnet(keep: bool) -> Iterator[tuple[ControlServer, Caller, Daemon, Path]]:
    """Control server, caller and daemon; gone afterwards, whatever happens."""
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
    """The node's address, once a worker is warm and the caller has reached it."""
    started = time.monotonic()
    why = "it did not start"
    while time.monotonic() < started + START_SECONDS:
        time.sleep(POLL_SECONDS)
        daemon.check()
        try:
            code, text = status.ask(daemon.state, "/readyz")
            # Asked here first: a caller that dials a node too early waits seconds to try again.
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


def converse(name: str, path: Path, caller: Caller, address: str, daemon: Daemon) -> Conversation:
    """Send a conversation turn by turn over the tailnet, showing the daemon's lines."""
    seen = Conversation(name)
    with contextlib.closing(caller.http(address)) as connection:
        connection.connect()
        # As Go's client does: head and body would wait 40 ms for each other otherwise.
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
    return seen


def show(conversations: list[Conversation]) -> None:
    """The table."""
    head = f"{'turn':>6}{'messages':>10}{'bytes':>14}{'forwarded':>12}{'saved':>8}"
    print("\n" + head + f"{'tokens':>14}{'forwarded':>12}{'saved':>8}")
    for conversation in conversations:
        count = len(conversation.turns)
        print(conversation.name)
        shown = sorted({round(i * (count - 1) / (SHOWN_TURNS - 1)) for i in range(SHOWN_TURNS)})
        for at in shown:
            _row(f"{at + 1}", conversation.turns[at])
        _row(f"all {count}", conversation.total)
    print("\nWhat stayed true, in every turn:")
    for text, attribute in (
        ("prefixes changed that the provider already had", "changed_prefixes"),
        ("markers that promise what nobody can retrieve", "markers"),
        ("other fields of a request changed", "changed_fields"),
    ):
        print(f"  {sum(getattr(c, attribute) for c in conversations)} {text}")
    print("(tokens: o200k, of system prompt and conversation; all: the sum over the turns)")


def _row(label: str, turn: Turn) -> None:
    print(
        f"{label:>6}{turn.messages:>10}"
        f"{turn.bytes_before:>14,}{turn.bytes_after:>12,}"
        f"{saved(turn.bytes_before, turn.bytes_after):>7.1f}%"
        f"{turn.tokens_before:>14,}{turn.tokens_after:>12,}"
        f"{saved(turn.tokens_before, turn.tokens_after):>7.1f}%"
    )


def judge(conversations: list[Conversation]) -> None:
    """Raise when the demo shows something else than it should."""
    for conversation in conversations:
        for attribute in ("changed_prefixes", "markers", "changed_fields"):
            if getattr(conversation, attribute):
                raise DemoFailed(f"{conversation.name}: {attribute.replace('_', ' ')}")
        total = conversation.total
        share = saved(total.tokens_before, total.tokens_after)
        if share <= 0:
            raise DemoFailed(f"{conversation.name}: nothing was saved")
        if conversation.name == JSON_TOOLS and share < LEAST_SAVED:
            raise DemoFailed(f"{conversation.name}: {share:.1f}% saved, under {LEAST_SAVED:g}%")


def run(keep: bool, shown: Callable[[], None]) -> None:
    """The demo; with `keep` it stays until somebody stops it, after calling `shown`."""
    print("[2/5] Starting a private tailnet", flush=True)
    with tailnet(keep) as (control, caller, daemon, directory):
        address = wait_ready(caller, daemon, control)
        results = []
        for number, (name, path) in enumerate(CONVERSATIONS, 4):
            print(f"[{number}/5] {name}, turn by turn ({traffic.source_of(path)})", flush=True)
            results.append(converse(name, path, caller, address, daemon))
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
    """Run, and give the exit code."""
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
    """Run in a process that stays when this one, which the person waits for, has ended."""
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keeper hears it, too, and tells us
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
    """The command; gives its exit code."""
    if stop:
        return _stop()
    return _keep() if keep else _guarded(keep=False, shown=lambda: None)
