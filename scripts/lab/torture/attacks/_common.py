"""What several attacks use: requests that need no answer, growing conversations, callers beside."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from scripts.lab import traffic
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.checking import ALLOW
from scripts.lab.torture.target import Target
from scripts.lab.torture.wire import Line, Reply

_Given = TypeVar("_Given")
_Got = TypeVar("_Got")

TURNS = 8  # of an honest caller's conversation
ROWS = 40  # of each of its outputs
_START_SECONDS = 60

_BEGIN = b'"messages":['
_END = b"]}"


def ask(
    target: Target, body: bytes = b"", path: str = "/", headers: Mapping[str, str] | None = None
) -> Reply:
    """Post on a connection of its own. The status is 0 if there was no answer."""
    line = target.line()
    try:
        return line.ask(body, path, headers=headers)
    except (OSError, ValueError, IndexError):
        return Reply(0, {}, b"", 0.0)
    finally:
        line.close()


def together(do: Callable[[_Given], _Got], each: Iterable[_Given]) -> list[_Got]:
    """Do this with each of them at once."""
    given = list(each)
    with ThreadPoolExecutor(len(given)) as pool:
        return list(pool.map(do, given))


def nested(depth: int, inside: bytes = b"1") -> bytes:
    """An object in an object, and so on."""
    return b'{"a":' * depth + inside + b"}" * depth


def quiet_stall(target: Target) -> float:
    """The longest stall in a second without any attack, in ms: what the machine itself adds."""
    with target.watched() as watch:
        time.sleep(1)
    return watch.stalled_ms


def outcomes(target: Target) -> dict[str, int]:
    """How many hook calls had each outcome."""
    start = 'tsheadroom_requests_by_outcome{outcome="'
    series = target.metrics().items()
    return {
        name.removeprefix(start).partition('"')[0]: int(value)
        for name, value in series
        if name.startswith(start) and value
    }


def scraped(target: Target) -> dict[str, float]:
    """All series, as a strict reader understands them: by name and labels.

    Raises RuntimeError for a page that cannot be read, or that has a series twice.
    """
    status, page = target.page("/metrics")
    if status != 200:
        raise RuntimeError(f"/metrics answers {status}")
    found: dict[str, float] = {}
    try:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                name = f"{sample.name}{sorted(sample.labels.items())}"
                if name in found:
                    raise RuntimeError(f"/metrics has a series twice: {name[:200]}")
                found[name] = sample.value
    except ValueError as error:
        raise RuntimeError(f"/metrics cannot be read: {error}") from None
    return found


class Talk:
    """A conversation in Anthropic's shape that grows, byte for byte, and its provider's view.

    Nothing of it is parsed, so its messages may be anything at all.
    """

    def __init__(self, bench: Bench, login: str = "attacker@example.com", size: int = 0) -> None:
        """It begins with so many bytes of text."""
        self.login = login
        self.session = ""
        self.broken = 0  # answers in which something differs from what went out before
        self.bench = bench
        self._number = 0
        self.items = [self.said(f"go {bench.salt()} " + "word " * (size // 5))]
        self.seconds = 0.0  # that the latest answer took
        self._seen = b""  # the messages that the provider got
        self._count = 0
        self._forgotten = False

    def said(self, text: str, role: str = "user") -> bytes:
        """A message of one text."""
        return traffic.dumps({"role": role, "content": text})

    def used(self, output: str, tool: str = "api", given: bytes = b"{}") -> None:
        """Add a tool's use with this input, and what came of it."""
        self._number += 1
        name = f"t{self._number}"
        begin = b'{"role":"assistant","content":[{"type":"tool_use","id":"%s","name":"%s","input":'
        result = {"type": "tool_result", "tool_use_id": name, "content": output}
        self.items += [
            begin % (name.encode(), tool.encode()) + given + b"}]}",
            traffic.dumps({"role": "user", "content": [result]}),
        ]

    def rows(self) -> None:
        """Add a tool's use whose output becomes shorter."""
        self.used(self.bench.rows(ROWS))

    def call(self) -> bytes:
        """The next hook call."""
        head = {"provider": "anthropic", "model": traffic.MODEL, "login_name": self.login}
        if self.session:
            head["session_id"] = self.session
        body = b'{"model":"%s",' % traffic.MODEL.encode() + _BEGIN + b",".join(self.items) + _END
        return b'{"metadata":' + traffic.dumps(head) + b',"request_body":' + body + b"}"

    def turn(self, line: Line) -> bool:
        """Send it as it is now, and check that the provider gets again what it has.

        True if anything new went out in a form. Raises OSError if there was no answer, and
        RuntimeError if it was no hook's.
        """
        reply = line.ask(self.call())
        if reply.status != 200:
            raise RuntimeError(f"the hook answers {reply.status}")
        now = b",".join(self.items)
        if reply.body != ALLOW:
            now = reply.body.partition(_BEGIN)[2].rstrip()[: -len(_END + b"}")]
        self.seconds = reply.seconds
        before, new = self._seen, b",".join(self.items[self._count :])
        if self._forgotten and not now.startswith(before):
            before = b",".join(self.items[: self._count])
        kept = now.startswith(before)
        self.broken += not kept
        self._seen, self._count, self._forgotten = now, len(self.items), False
        return kept and now[len(before) :].removeprefix(b",") != new

    def forget(self) -> None:
        """The daemon may have lost what it knew: once it may go back to the originals."""
        self._forgotten = True

    def missed(self) -> None:
        """Note that the provider got all as it is, because this turn was not answered."""
        self._seen, self._count = b",".join(self.items), len(self.items)


@dataclass(slots=True)
class Served:
    """What came of honest callers' turns. Each had an output that can be made shorter."""

    turns: int = 0
    left_alone: int = 0  # turns whose output went out as it was
    broken: int = 0
    unanswered: int = 0
    slowest: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *, shorter: bool = False, seconds: float = 0.0) -> None:
        """Count an answer."""
        with self._lock:
            self.turns += 1
            self.left_alone += not shorter
            self.slowest = max(self.slowest, seconds)

    @property
    def well(self) -> bool:
        """True if the callers have noticed nothing."""
        return bool(self.turns) and not (self.left_alone or self.broken or self.unanswered)

    def figures(self) -> dict[str, Any]:
        """The same for a report."""
        return {
            "turns beside": self.turns,
            "left alone beside": self.left_alone,
            "prefixes broken beside": self.broken,
            "unanswered beside": self.unanswered,
            "slowest beside, s": round(self.slowest, 2),
        }


@contextlib.contextmanager
def beside(
    bench: Bench, target: Target, sessions: int = 16, size: int = 1_000_000, pause: float = 0.5
) -> Iterator[Served]:
    """Let honest callers work meanwhile, whose conversations begin with `size` bytes.

    It begins when each has been served once. Each waits `pause` seconds between its turns.
    """
    served, ended = Served(), threading.Event()
    begun = threading.Barrier(sessions + 1)

    def play(number: int) -> None:
        own = replace(bench, name=f"{bench.name} {number}")
        line, first = target.line(), True
        while not ended.is_set():
            talk = Talk(own, f"honest{number}@example.com", size)
            for _ in range(TURNS):
                talk.rows()
                _serve(talk, line, served)
                if first:
                    first = False
                    begun.wait(_START_SECONDS)
                if ended.wait(pause):
                    break
            served.broken += talk.broken
        line.close()

    threads = [threading.Thread(target=play, args=(n,), daemon=True) for n in range(sessions)]
    for thread in threads:
        thread.start()
    try:
        begun.wait(_START_SECONDS)
        yield served
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _serve(talk: Talk, line: Line, served: Served) -> None:
    started = time.perf_counter()
    try:
        shorter = talk.turn(line)
    except (OSError, RuntimeError):
        served.unanswered += 1
        talk.missed()
    else:
        served.add(shorter=shorter, seconds=time.perf_counter() - started)
