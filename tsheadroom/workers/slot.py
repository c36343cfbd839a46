"""One slot of the pool: it owns one worker at a time, and replaces it when it ends."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable

from tsheadroom.child.protocol import BAD_REQUEST, OUT_OF_TIME, UNKNOWN_BASE

from .errors import SpawnFailed, UnknownBase, WorkerFailed
from .launch import Launcher, backoff
from .messages import Reply, ReplyEnvelope
from .queues import Job
from .worker import Outcome, Worker

log = logging.getLogger(__name__)

REPLACE_PATIENCE = 1.0
"""Seconds that a slot without a worker still counts as alive: a fork takes a tenth of it. After
that, callers are told that there is no worker instead of waiting for one."""

SLOW_CALL = 2.0
"""Seconds. Half of the caller's usual patience: such a call is worth a line in the log."""

RSS_LIMIT = 512 * 1024 * 1024
"""Bytes. A worker that has grown to this is replaced between calls: four times a warm one's."""

RECOVERABLE = frozenset({UNKNOWN_BASE, BAD_REQUEST, OUT_OF_TIME})
"""Errors that say nothing against the child."""

_KIND = re.compile(r"\w{1,64}")
_PLACES = re.compile(r"(?:[\w.-]{1,64}:\d{1,7}(?: |$)){1,8}")
"""What a child says of an exception: its type, and where it was raised. Anything else may be text
of a conversation, and what callers are told is logged."""


class Slot:
    """Starts a worker, replaces it when it dies, and hands it one call at a time.

    `cap` is how many seconds a call may take before its worker is killed, `rss_limit` how many
    bytes a worker may have grown to. `on_up` is called when a worker has become ready, `on_down`,
    with the reason, when there is none and will be none soon.
    """

    def __init__(
        self,
        index: int,
        launcher: Launcher,
        *,
        cap: float,
        rss_limit: int,
        on_up: Callable[[Slot], None],
        on_down: Callable[[Slot, str], None],
    ) -> None:
        self.index = index
        self.worker: Worker | None = None  # one that was ready, until it has ended
        self._starting: Worker | None = None  # one that is not ready yet
        self.headroom_version = ""
        self.lacks = ""
        self.starts = 0
        self._called_at = 0.0
        self._replacing = False  # a new worker is expected within REPLACE_PATIENCE
        self._patience: asyncio.TimerHandle | None = None
        self._launcher = launcher
        self._cap = cap
        self._rss_limit = rss_limit
        self._on_up = on_up
        self._on_down = on_down

    @property
    def warm(self) -> bool:
        """True if there is a worker that takes calls."""
        return self.worker is not None and self.worker.usable

    @property
    def busy(self) -> bool:
        """True if its worker has a call."""
        return self.worker is not None and self.worker.calling

    @property
    def busy_for(self) -> float:
        """For how many seconds its worker has had its call; 0 if it has none."""
        return time.monotonic() - self._called_at if self.busy else 0.0

    @property
    def free(self) -> bool:
        """True if it would take a call now."""
        return self.warm and not self.busy

    @property
    def alive(self) -> bool:
        """True if it is worth waiting for: it has a worker, or will soon have one again."""
        return self._replacing or self.worker is not None

    def call(self, job: Job, within: float, on_done: Callable[[Reply | Exception], None]) -> None:
        """Run one call on the worker of a free slot; its caller waits for `within` seconds.

        `on_done` is called exactly once, with the reply, WorkerFailed or UnknownBase.
        """
        worker = self.worker
        assert worker is not None
        started = self._called_at = time.monotonic()

        def done(outcome: Outcome) -> None:
            self._log_slow(started, outcome)
            on_done(self._answer(worker, outcome))

        worker.call(job, within, done)

    async def keep(self) -> None:
        """Start a worker, wait for its end, start the next one; until cancelled.

        A worker that was of no use is followed by a pause that grows (`backoff`): whatever is wrong
        would be wrong with the next one, too.
        """
        failures = 0
        while True:
            try:
                worker = await self._start()
                useless, reason = await self._wait_for_end(worker)
            except (SpawnFailed, OSError) as error:
                useless, reason = True, str(error)
            except Exception as error:
                # A supervisor that ends would leave its slot dead until the next restart.
                log.exception("unexpected failure slot=%d", self.index)
                useless, reason = True, type(error).__name__
            if useless:
                failures += 1
                self._report_down(reason)
                await asyncio.sleep(backoff(failures))
            else:
                failures = 0
                self._expect_replacement()

    async def stop(self, grace: float) -> None:
        """End the worker; by force after `grace` seconds. `keep` must have been cancelled."""
        self._end_replacing()
        worker = self.worker or self._starting
        if worker is not None:
            await worker.stop(grace)

    async def _start(self) -> Worker:
        """A new worker, ready."""
        spawned = await self._launcher.launch()
        self.starts += 1
        worker = self._starting = Worker(spawned, self.index, self._cap)
        ready = await worker.wait_ready()
        self.worker, self._starting = worker, None
        self.headroom_version, self.lacks = ready.headroom_version, ready.lacks
        self._end_replacing()
        log.info(
            "worker ready slot=%d pid=%d headroom=%s confined=%s",
            self.index,
            worker.pid,
            ready.headroom_version,
            ",".join(ready.confined) or "no",
        )
        self._on_up(self)
        return worker

    async def _wait_for_end(self, worker: Worker) -> tuple[bool, str]:
        """Returns True if the worker was of no use at all, and why it ended."""
        reason = await asyncio.shield(worker.gone)
        self.worker = None
        # One that dies idle before its first answer is as bad as one that does not start.
        useless = not worker.answered and not worker.failed_call
        if not useless:
            log.warning(
                "worker died; replaced slot=%d pid=%d reason=%s", self.index, worker.pid, reason
            )
        return useless, reason

    def _expect_replacement(self) -> None:
        self._end_replacing()
        self._replacing = True
        text = f"no new worker within {REPLACE_PATIENCE:g} s"
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(REPLACE_PATIENCE, self._report_down, text)

    def _end_replacing(self) -> None:
        self._replacing = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _report_down(self, reason: str) -> None:
        self._end_replacing()
        self._on_down(self, reason)

    def _answer(self, worker: Worker, outcome: Outcome) -> Reply | Exception:
        """What the caller is told; kills the worker if it must not take another call."""
        if isinstance(outcome, WorkerFailed):
            return outcome
        if outcome.ok and outcome.result is not None:
            if outcome.result.worn:
                # An interruption may have left Headroom's caches in any state.
                worker.kill("an item was cut off in it")
            elif outcome.result.rss > self._rss_limit:
                worker.kill(f"it has grown to {outcome.result.rss >> 20} MiB")
            outcome.result.slot = self.index
            return outcome.result
        return self._error(worker, outcome)

    def _error(self, worker: Worker, envelope: ReplyEnvelope) -> Exception:
        kind = envelope.error_type if _KIND.fullmatch(envelope.error_type) else "unknown"
        places = envelope.error if _PLACES.fullmatch(envelope.error) else ""
        said = f"{kind} at {places}" if places else kind
        if kind == UNKNOWN_BASE:
            return UnknownBase(f"the worker of slot {self.index} does not hold the prefix")
        if kind not in RECOVERABLE:
            # Whatever the library was in the middle of, nobody knows how it left its caches.
            worker.kill(f"it answered {said}")
        return WorkerFailed(
            f"the worker of slot {self.index} answered {said}",
            slot=self.index,
            error_type=kind,
            killed=kind == MemoryError.__name__,
        )

    def _log_slow(self, started: float, outcome: Outcome) -> None:
        seconds = time.monotonic() - started
        if seconds >= SLOW_CALL:
            result = outcome.result if isinstance(outcome, ReplyEnvelope) else None
            cold = "unknown" if result is None else str(result.cold_first_call).lower()
            log.info("slow call slot=%d seconds=%.1f cold=%s", self.index, seconds, cold)
