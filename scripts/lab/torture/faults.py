"""What can go wrong around the daemon. Each fault is a context manager: it holds as long as that.

A fault says in the Situation what callers may see of it; nothing else that they see is excused.
"""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from scripts.lab.torture import processes
from scripts.lab.torture.checking import Break, Finding
from scripts.lab.torture.sessions import Situation
from scripts.lab.torture.tally import Tally
from scripts.lab.torture.target import Target

PAGE = 4096  # bytes of a page of SQLite's
NETEM = "the network delays, loses and reorders"
_BAD = ("netem", "delay", "20ms", "15ms", "loss", "3%", "reorder", "10%")
_DAY = 86_400
_WRITABLE_AGAIN = 3.0  # seconds in which the daemon finds that it can write again
_SPARE = 3  # descriptors that are left when they are gone


@dataclass(slots=True)
class Scene:
    """What faults work on. `mood` and `clock` are the files of unreliable.py and moved_clock.py."""

    target: Target
    situation: Situation
    tally: Tally
    random: Random
    mood: Path
    clock: Path
    lost: bool = False  # what it knows is in its memory alone


Fault = Callable[[Scene], AbstractContextManager[None]]
Steps = Callable[[Scene], Iterator[None]]
FAULTS: dict[str, Fault] = {}
TAILNET_FAULTS: dict[str, Fault] = {}


def _named(known: dict[str, Fault], name: str) -> Callable[[Steps], Fault]:
    def add(generator: Steps) -> Fault:
        known[name] = fault = contextlib.contextmanager(generator)
        return fault

    return add


@_named(FAULTS, "a worker is killed")
def _worker_killed(scene: Scene) -> Iterator[None]:
    workers = scene.target.workers()
    processes.send(scene.random.choice(workers) if workers else None, signal.SIGKILL)
    yield


@_named(FAULTS, "all workers and their parent are killed")
def _all_killed(scene: Scene) -> Iterator[None]:
    for pid in scene.target.children():
        processes.send(pid, signal.SIGKILL)
    yield


@_named(FAULTS, "the fork server is killed")
def _fork_server_killed(scene: Scene) -> Iterator[None]:
    processes.send(scene.target.fork_server(), signal.SIGKILL)
    yield


@_named(FAULTS, "workers are stopped")
def _workers_stopped(scene: Scene) -> Iterator[None]:
    with processes.stopped(scene.target.children()):
        yield


def _mood(name: str) -> Steps:
    def hold(scene: Scene) -> Iterator[None]:
        scene.mood.write_text(name)
        yield
        scene.mood.write_text("")

    return hold


_named(FAULTS, "workers are slow")(_mood("slow"))
_named(FAULTS, "workers are out of memory")(_mood("memory"))
_named(FAULTS, "workers crash")(_mood("crash"))
_named(FAULTS, "workers lie")(_mood("lie"))
_named(FAULTS, "workers talk on stderr")(_mood("chatter"))


@contextlib.contextmanager
def _locked(scene: Scene) -> Iterator[None]:
    """Let nobody else write to the store, as a backup or a curious person's shell may do."""
    with contextlib.ExitStack() as parts:
        # It may be gone or not readable at the moment; and the end may come in another thread.
        with contextlib.suppress(sqlite3.Error):
            shell = sqlite3.connect(
                f"file:{scene.target.store}?mode=rw",
                uri=True,
                timeout=1,
                isolation_level=None,
                check_same_thread=False,
            )
            parts.callback(shell.close)
            shell.execute("BEGIN IMMEDIATE")
        yield


@contextlib.contextmanager
def _unwritable(scene: Scene) -> Iterator[None]:
    """What is decided meanwhile may be lost with the daemon's memory."""
    scene.situation.unwritable = True
    yield
    ended = time.monotonic() + _WRITABLE_AGAIN
    while scene.target.running and time.monotonic() < ended:
        with contextlib.suppress(OSError):
            if scene.target.metrics().get("tsheadroom_store_ok"):
                break
        time.sleep(0.1)
    scene.situation.unwritable = False


@_named(FAULTS, "the store is locked")
def _store_locked(scene: Scene) -> Iterator[None]:
    with _unwritable(scene), _locked(scene):
        yield


@_named(FAULTS, "the store is slow")
def _store_slow(scene: Scene) -> Iterator[None]:
    ended = threading.Event()

    def hold() -> None:
        while not ended.wait(0.02):
            with contextlib.suppress(sqlite3.Error), _locked(scene):
                ended.wait(0.15)

    thread = threading.Thread(target=hold, daemon=True)
    with _unwritable(scene):
        thread.start()
        yield
        ended.set()
        thread.join()


@_named(FAULTS, "the store is spoilt")
def _store_spoilt(scene: Scene) -> Iterator[None]:
    scene.lost = True
    for path in (scene.target.store, Path(f"{scene.target.store}-wal")):
        with contextlib.suppress(OSError), path.open("r+b") as file:
            pages = path.stat().st_size // PAGE
            for page in range(pages):
                if scene.random.random() < 0.5:
                    file.seek(page * PAGE)
                    file.write(scene.random.randbytes(PAGE))
    yield


@_named(FAULTS, "the store is deleted")
def _store_deleted(scene: Scene) -> Iterator[None]:
    _delete(scene)
    yield


def _delete(scene: Scene) -> None:
    scene.lost = True
    for path in scene.target.state.glob(f"{scene.target.store.name}*"):
        path.unlink(missing_ok=True)


@_named(FAULTS, "the disk is full")
def _disk_full(scene: Scene) -> Iterator[None]:
    pid = scene.target.pid
    largest = max((path.stat().st_size for path in scene.target.state.glob("*")), default=0)
    limit = max(largest, len(scene.target.log))
    with _unwritable(scene), processes.limited(pid, resource.RLIMIT_FSIZE, limit):
        yield


@_named(FAULTS, "descriptors are gone")
def _descriptors_gone(scene: Scene) -> Iterator[None]:
    few = scene.target.footprint().descriptors + _SPARE
    scene.situation.starved = True
    with _unwritable(scene), processes.limited(scene.target.pid, resource.RLIMIT_NOFILE, few):
        for pid in scene.target.workers():
            processes.send(pid, signal.SIGKILL)
        yield
    scene.situation.starved = False


@_named(FAULTS, "the settings are broken")
def _settings_broken(scene: Scene) -> Iterator[None]:
    file = scene.target.settings_file
    usual = file.read_bytes() if file.exists() else None
    broken = (b'{"mode":', b"\xff\xfe\x00", b"[]", b'{"mode": "on", "fold_min_lines": -1}')
    file.write_bytes(scene.random.choice(broken))
    scene.target.signal(signal.SIGHUP)
    yield
    if usual is None:
        file.unlink()
    else:
        file.write_bytes(usual)
    scene.target.signal(signal.SIGHUP)


@_named(FAULTS, "the clock is moved")
def _clock_moved(scene: Scene) -> Iterator[None]:
    scene.clock.write_text(str(scene.random.choice((-2 * _DAY, -3600, 3600, 2 * _DAY))))
    yield
    scene.clock.write_text("0")


@contextlib.contextmanager
def _down(scene: Scene, number: int) -> Iterator[None]:
    scene.situation.down = True
    scene.situation.kills += 1
    scene.target.stop(number)
    yield
    _start(scene)
    if not scene.target.running:
        scene.tally.found([Finding(Break.NO_START)], scene.situation.last)
        _delete(scene)  # as an operator would
        _start(scene)
    scene.situation.down = False


def _start(scene: Scene) -> None:
    """Start the daemon again, which then knows what the state directory has."""
    if scene.lost:
        scene.lost = False
        scene.situation.losses += 1
    scene.target.start()
    scene.target.wait_for("/livez")


@_named(FAULTS, "the daemon is killed")
def _killed(scene: Scene) -> Iterator[None]:
    with _down(scene, signal.SIGKILL):
        yield


@_named(FAULTS, "the daemon is ended")
def _ended(scene: Scene) -> Iterator[None]:
    with _down(scene, signal.SIGTERM):
        yield


@_named(FAULTS, "the daemon is stopped")
def _stopped(scene: Scene) -> Iterator[None]:
    pid = scene.target.pid
    scene.situation.unreadable = True
    processes.send(pid, signal.SIGSTOP)
    waker = threading.Timer(scene.random.uniform(0.2, 1.0), processes.send, (pid, signal.SIGCONT))
    waker.start()
    yield
    waker.join()
    scene.situation.unreadable = False


@_named(FAULTS, "callers hang up")
def _callers_hang_up(scene: Scene) -> Iterator[None]:
    scene.situation.hang_ups = True
    yield
    scene.situation.hang_ups = False


@_named(TAILNET_FAULTS, "the control server and DERP are away")
def _control_away(scene: Scene) -> Iterator[None]:
    pid = scene.target.control.pid if scene.target.control else None
    processes.send(pid, signal.SIGSTOP)
    yield
    processes.send(pid, signal.SIGCONT)


@_named(TAILNET_FAULTS, "the network is away")
def _network_away(scene: Scene) -> Iterator[None]:
    scene.situation.starved = True
    _ip("link", "set", "lo", "down")
    time.sleep(scene.random.uniform(0.2, 2))  # turns stand still meanwhile, and cannot be counted
    _ip("link", "set", "lo", "up")
    yield
    scene.situation.starved = False


def _ip(*words: str) -> None:
    subprocess.run([shutil.which("ip") or "ip", *words], check=True)


@_named(TAILNET_FAULTS, NETEM)
def _network_bad(scene: Scene) -> Iterator[None]:
    del scene
    _tc("replace", *_BAD).check_returncode()
    yield
    _tc("del").check_returncode()


def has_netem() -> bool:
    """True if the kernel can make the network of this namespace a bad one."""
    return _tc("replace", *_BAD).returncode == 0 and _tc("del").returncode == 0


def _tc(change: str, *how: str) -> subprocess.CompletedProcess[bytes]:
    words = ["qdisc", change, "dev", "lo", "root", *how]
    return subprocess.run([shutil.which("tc") or "tc", *words], check=False, capture_output=True)
