"""One worker process, from its ready line to its end: one request in, one reply out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from tsheadroom.child.watch import ITEM_SECONDS

from .errors import SHUTDOWN, Guilt, SpawnFailed, WorkerFailed
from .messages import (
    SLICE_BYTES,
    Progress,
    Ready,
    ReplyEnvelope,
    decode_envelope,
    decode_in_slices,
    decode_progress,
    decode_ready,
)
from .pipes import PipeReader, PipeWriter
from .queues import Job
from .reaper import Reaper, describe
from .stderr import StderrLog

READY_SECONDS = 60.0
"""The Go daemon's limit. A cold start on a busy machine takes a few, one with the text model from a
slow disk some tens."""

MAX_REPLY = 64 * 1024 * 1024
"""Bytes of a line. Forms are smaller than what they replace, and a body is 50 MiB at most."""

MAX_READY = 64 * 1024
"""A ready line has a hundred bytes; what is longer is somebody else talking."""

PROGRESS = b'{"at":'
"""What a line about an item begins with, and nothing else that a child writes."""

FROM_OUTSIDE = frozenset(
    (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)
)
"""Signals that a process does not bring upon itself by what it does to an item."""

STUCK_SECONDS = 10.0
"""How long a child may go on when nobody waits for its answer any more. It is stopped, or in code
that does not look at the clock; a loaded machine is no reason to kill it."""

_CPU_CLOCK = 2
"""Of a process: the time for which its threads were scheduled."""

Outcome = ReplyEnvelope | WorkerFailed


@dataclass(frozen=True, slots=True)
class Spawned:
    """A new process: its pid and the daemon's ends of its pipes."""

    pid: int
    stdin: int
    stdout: int
    stderr: int


async def first_of(*futures: asyncio.Future[Any], timeout: float) -> None:
    """Wait until one of them is done, or the time is over."""
    await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


class Worker:
    """A child and the one call it may have in flight. Never restarted: a new child, a new Worker.

    `cap` is how many seconds a call may take. `ready` has the child's first line, `gone` the reason
    of its end, once everything of it is closed. `answered` counts its replies; `failed_call` is
    true if its last call failed.
    """

    def __init__(self, spawned: Spawned, slot: int, cap: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.pid = spawned.pid
        self.ready: asyncio.Future[Ready] = self._loop.create_future()
        self.gone: asyncio.Future[str] = self._loop.create_future()
        self.answered = 0
        self.failed_call = False
        self._slot = slot
        self._cap = cap
        self._reason = ""
        self._chunks: list[bytes] = []
        self._length = 0
        self._number = 0
        self._on_done: Callable[[Outcome], None] | None = None
        self._cap_timer: asyncio.TimerHandle | None = None
        self._at: Progress | None = None  # the item of this call that it is at
        self._decoding: asyncio.Task[None] | None = None
        self.stderr = StderrLog(f"worker slot={slot} pid={spawned.pid}")
        self._requests = PipeWriter(spawned.stdin)
        self._replies = PipeReader(spawned.stdout, self._on_data, self._on_end)
        self._errors = PipeReader(spawned.stderr, self.stderr.feed, self.stderr.end)
        self._reaper = Reaper(spawned.pid, self._ended)

    @property
    def calling(self) -> bool:
        """True if it has a call."""
        return self._on_done is not None

    @property
    def usable(self) -> bool:
        """True if it is ready, has not ended, and is not about to be killed."""
        return self.ready.done() and not self._reason and not self.gone.done()

    def call(self, job: Job, within: float, on_done: Callable[[Outcome], None]) -> None:
        """Send a job's request; `on_done` is called exactly once.

        `within` is how many seconds its caller still waits.
        """
        self._number += 1
        self._on_done = on_done
        self._at = Progress(job.first, self.cpu())
        # The child ends a call before its caller has gone. One that does not is stuck.
        cap = min(self._cap, within + STUCK_SECONDS)
        self._cap_timer = self._loop.call_later(cap, self._over_cap, cap)
        # Three buffers, one writev: a large payload is not copied into a line.
        start = b'{"id":%d,"within":%.3f,"payload":' % (self._number, within)
        self._requests.write(start, job.payload, b"}\n")

    def kill(self, reason: str, error_type: str = "crash", guilt: Guilt = Guilt.NONE) -> None:
        """End this child: a call in flight fails now, with `error_type`; `gone` follows."""
        if not self._reason:
            self._reason = reason
        self._finish(self._failure(error_type, guilt))
        self._reaper.kill()

    async def stop(self, grace: float) -> None:
        """Let it end by itself, by closing its stdin; kill it after `grace` seconds."""
        if not self._reason:
            self._reason = SHUTDOWN
        self._requests.close()
        _, running = await asyncio.wait([self.gone], timeout=grace)
        if running:
            self.kill(SHUTDOWN)
            await asyncio.wait([self.gone], timeout=READY_SECONDS)

    async def wait_ready(self) -> Ready:
        """Its ready line. Raises SpawnFailed with the reason if none came within READY_SECONDS."""
        await first_of(self.ready, self.gone, timeout=READY_SECONDS)
        if self.ready.done():
            return self.ready.result()
        if not self.gone.done():
            self.kill(f"not ready within {READY_SECONDS:g} s")
            await self.gone
        raise SpawnFailed(self.gone.result())

    def cpu(self) -> float:
        """CPU time in seconds that it has used in its life; 0 where the system does not say."""
        with contextlib.suppress(OSError):
            # The clock of another process, as Linux numbers it: /proc may hide the worker.
            # https://man7.org/linux/man-pages/man3/clock_getcpuclockid.3.html
            return time.clock_gettime(~self.pid << 3 | _CPU_CLOCK)
        return 0.0

    def _on_data(self, data: bytes) -> None:
        """Gather what arrives on stdout until a line is whole."""
        *ended, rest = data.split(b"\n")
        for number, line in enumerate(ended, 1):
            if self._reason:
                return
            whole = b"".join([*self._chunks, line])
            self._chunks.clear()
            self._length = 0
            self._take_line(whole, more=number < len(ended) or bool(rest))
        self._chunks.append(rest)
        self._length += len(rest)
        if self._length > (MAX_REPLY if self.ready.done() else MAX_READY) and not self._reason:
            self.kill("too long a line", "protocol")

    def _take_line(self, line: bytes, *, more: bool) -> None:
        if not self.ready.done():
            self._take_ready(line)
        elif self._on_done is None or self._decoding is not None:
            self.kill("a line that nobody asked for", "protocol")
        elif line.startswith(PROGRESS):
            self._take_progress(line)
        elif more:
            self.kill("more than one line", "protocol")
        else:
            self._take_reply(line)

    def _take_progress(self, line: bytes) -> None:
        try:
            self._at = decode_progress(line)
        except msgspec.DecodeError as error:
            self.kill(f"a broken line: {error}", "protocol")

    def _take_ready(self, line: bytes) -> None:
        try:
            ready = decode_ready(line)
        except msgspec.DecodeError:
            ready = None
        if ready is None or not ready.ready:
            self.kill(f"not a ready line: {line[:80]!r}", "protocol")
        else:
            self.stderr.level, self.stderr.private = logging.INFO, True
            self.ready.set_result(ready)

    def _take_reply(self, line: bytes) -> None:
        if len(line) > SLICE_BYTES:
            self._decoding = self._loop.create_task(self._decode_long_reply(line))
            return
        try:
            self._take_envelope(decode_envelope(line))
        except msgspec.DecodeError as error:
            self.kill(f"a broken line: {error}", "protocol")

    async def _decode_long_reply(self, line: bytes) -> None:
        try:
            envelope = await decode_in_slices(line)
        except msgspec.DecodeError as error:
            self.kill(f"a broken line: {error}", "protocol")
            return
        self._decoding = None
        self._take_envelope(envelope)

    def _take_envelope(self, envelope: ReplyEnvelope) -> None:
        if envelope.id != self._number:
            self.kill(f"an answer to request {envelope.id} of {self._number}", "protocol")
            return
        self.answered += 1
        self._finish(envelope)

    def _on_end(self) -> None:
        """A child without stdout is of no use, if it lives at all; how it ended says why."""
        self._requests.close()
        self._reaper.kill()

    def _over_cap(self, cap: float) -> None:
        # A stopped, swapped or loaded machine is no fault of the item's.
        spent = self._at is not None and self.cpu() - self._at.cpu >= ITEM_SECONDS
        guilt = Guilt.CONVICTED if spent else Guilt.NONE
        self.kill(f"no answer within {cap:g} s", "cap", guilt)

    def _ended(self, code: int) -> None:
        self._replies.drain()
        self._errors.drain()
        self.stderr.end()
        if not self._reason:
            # What a signal leaves on stderr is the end of a stack, not a reason.
            said = f": {self.stderr.last}" if code > 0 and self.stderr.last else ""
            self._reason = f"{describe(code)}{said}"
        for pipe in (self._requests, self._replies, self._errors):
            pipe.close()
        self._finish(self._failure("crash", _guilt(code)))
        if not self.gone.done():
            self.gone.set_result(self._reason)

    def _failure(self, error_type: str, guilt: Guilt) -> WorkerFailed:
        stopped = self._reason == SHUTDOWN
        return WorkerFailed(
            f"the worker of slot {self._slot} failed: {self._reason}",
            slot=self._slot,
            error_type=SHUTDOWN if stopped else error_type,
            killed=not stopped,
            item=self._at.at if self._at is not None else None,
            guilt=Guilt.NONE if stopped else guilt,
        )

    def _finish(self, outcome: Outcome) -> None:
        if self._on_done is None:
            return
        on_done, self._on_done = self._on_done, None
        self.failed_call = isinstance(outcome, WorkerFailed)
        if self._cap_timer is not None:
            self._cap_timer.cancel()
        on_done(outcome)


def _guilt(code: int) -> Guilt:
    """What an exit code says against the item that a worker was at."""
    if code < 0:
        return Guilt.SUSPECT if -code in FROM_OUTSIDE else Guilt.CONVICTED
    return Guilt.CONVICTED if code else Guilt.SUSPECT
