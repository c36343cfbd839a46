"""Measures large cold conversations: would it be faster to spread one over several workers?

A conversation is cold when nothing of it is decided yet and all of it may be. The steps that look
at one item only (tidying, Headroom, counting tokens) are kept by a worker's memo. So a worker that
was given their results finds them there, and a second run with the same memo shows what is left.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from scripts.lab.client import Connection
from scripts.lab.daemon import Daemon
from scripts.lab.growing import varied
from scripts.lab.latency import SETTLE_SECONDS, percentile, size_name
from tsheadroom.aperture.call import HookCall, read
from tsheadroom.aperture.names import Digests
from tsheadroom.child import environment, main, protocol, system
from tsheadroom.child.compress.memo import Memo
from tsheadroom.child.held import HeldConversations
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.conversations.recognise import unknown
from tsheadroom.economy.account import Account
from tsheadroom.settings import Settings
from tsheadroom.simulate import recordings, requests
from tsheadroom.simulate.recordings import Recording
from tsheadroom.simulate.requests import Simulated, encoded
from tsheadroom.turns.question import BATCH_BYTES
from tsheadroom.turns.rules import Rules
from tsheadroom.turns.turns import Turns
from tsheadroom.workers import Job, Reply

if TYPE_CHECKING:
    from tsheadroom.child.compress.compressor import Compressor

T = TypeVar("T")

SIZES = (200_000, 1_000_000, 4_000_000)
RUNS = 3
PATIENCE = 60.0  # seconds: on a loaded machine nothing may be left alone for want of time
MODEL = "claude-sonnet-4-5-20250929"
_THINKING = ("thinking", "redacted_thinking")
_NO_FOLDS = Settings(folds=False)


class DifferentAnswerError(Exception):
    """With results of other workers the same conversation got another answer."""


@dataclass(slots=True)
class Call:
    """One call to a worker, in CPU milliseconds.

    `coded` is for the lines of question and reply, `worked` for all between. `passed_on` is what
    results of another worker cost the one that takes them, `helped` what they cost that one beside
    making them: it reads the same items and writes its results.
    """

    coded: float
    worked: float
    passed_on: float = 0.0
    helped: float = 0.0


@dataclass(slots=True)
class Run:
    """A conversation's answer, what all of it took in CPU milliseconds, and its calls."""

    answer: bytes
    whole: float
    calls: list[Call]

    @property
    def coded(self) -> float:
        """For the lines between daemon and worker, at the worker's end."""
        return sum(call.coded for call in self.calls)

    @property
    def worked(self) -> float:
        """In the worker, without these lines."""
        return sum(call.worked for call in self.calls)

    @property
    def daemon(self) -> float:
        """In the daemon, without HTTP and pipes."""
        return self.whole - self.coded - self.worked


@dataclass(slots=True)
class Parts:
    """Where the CPU time of one cold conversation goes, in milliseconds, and what could be saved.

    `outside` is HTTP, pipes, and what processes cost each other; `longest` is the longest call.
    `by_calls_2` and `best_2` are what the workers' part would take at least on two of them.
    """

    whole: float
    daemon: float
    outside: float
    coded: float
    one_item: float
    folds: float
    rest: float
    longest: float
    wall: float
    by_calls_2: float
    best_2: float
    by_calls_4: float
    best_4: float


def cold_call(recorded: Sequence[Recording], size: int, variety: int = 0) -> bytes:
    """Make the hook call of a conversation of about `size` bytes that no provider has a cache of.

    The recordings have one shape. Where they end, it goes on with their texts in other words. Each
    `variety` above 0 has other words, which no cache has seen.
    """
    items: list[bytes] = []
    held = 0
    for item in _endless(recorded, variety):
        if held >= size:
            break
        items.append(encoded(item))
        held += len(items[-1]) + 1
    members = {"model": encoded(MODEL)}
    return Simulated(recorded[0].shape, MODEL, 0, 0.0, items, members, "cold").hook_call()


def _endless(recorded: Sequence[Recording], variety: int) -> Iterator[Any]:
    for lap in itertools.count():
        suffix = f"{variety or ''}{'x' * lap}"
        for recording in recorded:
            for item in recording.items:
                plain = _without_thinking(item)
                yield _in_other_words(plain, suffix) if suffix else plain


def _in_other_words(item: dict[str, Any], suffix: str) -> Any:
    """An item in other words; what stands in it as JSON in a string stays JSON."""
    changed = {name: item[name] for name in ("arguments", "call_id") if name in item}
    if isinstance(changed.get("arguments"), str):
        changed["arguments"] = json.dumps(varied(json.loads(item["arguments"]), suffix))
    if "call_id" in changed:
        changed["call_id"] += f"_{suffix}"
    return {**varied(item, suffix), **changed}


def _without_thinking(item: Any) -> Any:
    """An item as an uncached client's: with signed thinking, what stands before it is settled."""
    if not isinstance(item.get("content"), list):
        return item
    left = [block for block in item["content"] if block.get("type") not in _THINKING]
    return {**item, "content": left or [{"type": "text", "text": "ok"}]}


def _cpu() -> float:
    return time.process_time() * 1e3


class _Memo(Memo):
    """Notes what is made anew: another worker would have to send it."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Hashable, object]] = []

    def get(self, what: Hashable, text: str, make: Callable[[], T], weigh: Callable[[T], int]) -> T:
        def noted() -> T:
            result = make()
            self.made.append((what, result))
            return result

        return super().get(what, text, noted, weigh)


class _Held(HeldConversations):
    """Notes how long the last turn took, without the lines around it."""

    worked = 0.0

    def turn(self, payload: dict[str, Any], within: float = math.inf) -> dict[str, Any]:
        started = _cpu()
        try:
            return super().turn(payload, within)
        finally:
            self.worked = _cpu() - started


class _Worker:
    """Stands in for the pool: one worker in this process, lines included."""

    def __init__(self, compressor: Compressor, memo: _Memo) -> None:
        compressor.memo = memo
        self._memo = memo
        self._held = _Held(compressor)
        self._memory = system.OwnMemory()
        self.calls: list[Call] = []
        self.beside = 0.0  # spent on what no daemon does: to estimate what it would cost

    def submit(self, job: Job) -> asyncio.Future[Reply]:
        """Return a future that has the reply already."""
        line = b'{"id":1,"within":%.1f,"payload":%b}\n' % (PATIENCE, job.payload)
        self._memo.made.clear()
        started = _cpu()
        reply = main.answer(self._held, line, False, self._memory)
        ended = _cpu()
        worked = self._held.worked
        call = Call(ended - started - worked, worked)
        call.passed_on, call.helped = _exchange(line, self._memo.made)
        self.calls.append(call)
        done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.beside += _cpu() - ended
        done.set_result(msgspec.convert(msgspec.json.decode(reply)["result"], Reply))
        return done


def _exchange(line: bytes, made: list[tuple[Hashable, object]]) -> tuple[float, float]:
    """What it costs to take over these results of a question, and to be asked for them."""
    name = "0" * 2 * protocol.CHAIN_BYTES
    started = _cpu()
    main.parse(line)
    results = json.dumps([(name, *entry) for entry in made], ensure_ascii=False)
    sent = _cpu()
    json.loads(results)
    return _cpu() - sent, sent - started


def by_calls(cold: Sequence[Call], warm: Sequence[Call], workers: int) -> float:
    """The least that the calls take on so many workers: nothing waits, but for the first call.

    One worker folds, because that goes in order. While it has the first call, the others begin with
    what looks at one item only in the later ones, and it takes their results.
    """
    alone = cold[0].coded + cold[0].worked
    later = cold[1:]
    passed_on = sum(one.passed_on for one in later)
    left = passed_on + sum(one.coded + one.worked for one in warm[1:])
    shared = passed_on + sum(one.coded + one.worked + one.helped for one in later)
    return max(alone + left, (alone + shared) / workers) if later else alone


def at_best(cold: Sequence[Call], warm: Sequence[Call], workers: int) -> float:
    """The least if calls could be cut as finely as one likes, and sending results cost nothing."""
    alone, left = (sum(one.coded + one.worked for one in calls) for calls in (cold, warm))
    return max(left, alone / workers)


class Measure:
    """Measures cold conversations in this process, and in a daemon of their own."""

    def __init__(self, options: tuple[str, ...]) -> None:
        environment.apply()  # before Headroom is imported
        from tsheadroom.child.compress.compressor import Compressor

        self._options = ("--deadline", f"{PATIENCE:.0f}s", *options)
        self._loop = asyncio.new_event_loop()
        self._compressor = Compressor({})
        self._compressor.warm_up()
        gc.collect()
        gc.freeze()  # as a worker does
        self._variety = 0

    def parts(self, recorded: Sequence[Recording], size: int) -> Parts:
        """The medians of RUNS runs, each with a conversation in words that were not used before."""
        runs = []
        for _ in range(RUNS):
            self._variety += 1
            runs.append(asdict(self._once(cold_call(recorded, size, self._variety))))
        return Parts(**{name: statistics.median(run[name] for run in runs) for name in runs[0]})

    def _once(self, call: bytes) -> Parts:
        memo = _Memo()
        cold = self._run(call, Settings(), memo)
        warm = self._run(call, Settings(), memo)
        if cold.answer != warm.answer:
            raise DifferentAnswerError
        self._run(call, _NO_FOLDS, memo)  # what was folded is worked on now
        plain = self._run(call, _NO_FOLDS, memo)
        whole, wall = self._of_daemon(call)
        return Parts(
            whole=whole,
            daemon=cold.daemon,
            outside=whole - cold.whole,
            coded=cold.coded,
            one_item=cold.worked - warm.worked,
            folds=warm.worked - plain.worked,
            rest=plain.worked,
            longest=max(one.coded + one.worked for one in cold.calls),
            wall=wall,
            by_calls_2=by_calls(cold.calls, warm.calls, 2),
            best_2=at_best(cold.calls, warm.calls, 2),
            by_calls_4=by_calls(cold.calls, warm.calls, 4),
            best_4=at_best(cold.calls, warm.calls, 4),
        )

    def _run(self, call: bytes, settings: Settings, memo: _Memo) -> Run:
        worker = _Worker(self._compressor, memo)
        turns = Turns(Conversations(directory=None), worker, deadline=PATIENCE)

        async def answer() -> bytes:
            with turns.open(call, settings) as turn:
                return await turn.answer()

        started = _cpu()
        answered = self._loop.run_until_complete(answer())
        return Run(answered, _cpu() - started - worker.beside, worker.calls)

    def _of_daemon(self, call: bytes) -> tuple[float, float]:
        """CPU milliseconds of daemon and workers, and those until its answer came."""
        with Daemon(*self._options) as daemon:
            time.sleep(SETTLE_SECONDS)
            before = daemon.usage()
            connection = Connection(daemon.connect)
            answered = connection.post(call)
            connection.close()
            time.sleep(SETTLE_SECONDS)
            after = daemon.usage()
        used = after.daemon_cpu - before.daemon_cpu + after.workers_cpu - before.workers_cpu
        return used, answered.ms


@dataclass(slots=True)
class Asked:
    """Bytes that may be decided: of each request, and if it came first and nothing were cached."""

    usual: list[int] = field(default_factory=list)
    uncached: list[int] = field(default_factory=list)

    def add(self, recording: Recording) -> None:
        """Count the requests of a conversation."""
        for simulated in requests.of(recording):
            call = read(simulated.hook_call())
            if not isinstance(call, HookCall):
                continue
            rules = Rules.of(call, Digests.of(call), Settings(), Account().model_of(call))
            of_the_client = (i for i, made in enumerate(call.by_model) if not made)
            self.usual.append(_bytes(call, unknown(rules.request).undecided))
            self.uncached.append(_bytes(call, of_the_client))


def _bytes(call: HookCall, items: Iterable[int]) -> int:
    return sum(end - start for start, end in (call.items[index] for index in items))


def _by_group(traces: list[Path]) -> list[tuple[str, list[Recording]]]:
    """The recordings of each folder and shape."""
    groups: dict[tuple[str, str], list[Recording]] = {}
    for recording in map(recordings.read, recordings.find(traces)):
        groups.setdefault((recording.group, recording.shape), []).append(recording)
    return [(group, found) for (group, _), found in sorted(groups.items())]


def run(
    traces: list[Path], sizes: Sequence[int], options: tuple[str, ...]
) -> tuple[str, dict[str, Any]]:
    """Measure all. Returns three tables, and the same figures for machines."""
    groups = _by_group(traces)
    measure = Measure(options)
    rows = [
        (group, size, measure.parts(recorded, size)) for group, recorded in groups for size in sizes
    ]
    asked: dict[str, Asked] = {}
    for group, recorded in groups:
        for recording in recorded:
            asked.setdefault(group, Asked()).add(recording)
    tables = [_where(rows), _spread(rows), _how_often(asked)]
    found = [{"group": g, "bytes": s, **asdict(p)} for g, s, p in rows]
    return "\n\n".join(tables), {"rows": found, "asked": msgspec.to_builtins(asked)}


_Row = tuple[str, int, Parts]


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column has words and whose others have numbers."""
    rule = "|---|" + "---:|" * head.count(" | ")
    return "\n".join([f"| {head} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])


def _where(rows: list[_Row]) -> str:
    return _table(
        "conversations | size | CPU ms | HTTP and pipes | daemon | lines | one item only | folds"
        " | rest | longest call | answer after ms",
        [
            (
                group,
                size_name(size),
                *(
                    f"{value:.0f}"
                    for value in (p.whole, p.outside, p.daemon, p.coded, p.one_item, p.folds)
                ),
                *(f"{value:.0f}" for value in (p.rest, p.longest, p.wall)),
            )
            for group, size, p in rows
        ],
    )


def _spread(rows: list[_Row]) -> str:
    def times(parts: Parts, taken: float) -> str:
        return f"{parts.whole / (parts.outside + parts.daemon + taken):.2f}"

    return _table(
        "conversations | size | 2 workers | 2, cut finely | 4 workers | 4, cut finely",
        [
            (
                group,
                size_name(size),
                *(times(p, taken) for taken in (p.by_calls_2, p.best_2, p.by_calls_4, p.best_4)),
            )
            for group, size, p in rows
        ],
    )


def _how_often(asked: dict[str, Asked]) -> str:
    def columns(sizes: list[int]) -> list[str]:
        kilobytes = (statistics.median(sizes), percentile([*map(float, sizes)], 0.99), max(sizes))
        over = sum(size > BATCH_BYTES for size in sizes)
        return [*(f"{size / 1e3:.1f}" for size in kilobytes), str(over)]

    return _table(
        "conversations | requests | undecided KB p50 | p99 | max | over one call"
        " | if nothing were cached p50 | p99 | max | over one call",
        [
            (group, str(len(one.usual)), *columns(one.usual), *columns(one.uncached))
            for group, one in asked.items()
        ],
    )
