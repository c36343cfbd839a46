"""One call from bytes to bytes, with workers that are late, missing, broken or forgetful.

The workers here are a script: real ones cannot be made to fail at a wanted moment.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conversation import Body, call
from tsheadroom.compression import AT_ONCE, Answer, Compression
from tsheadroom.conversations import Conversations
from tsheadroom.settings import Settings
from tsheadroom.summary import Outcome, Summary
from tsheadroom.workers import (
    Edit,
    Form,
    Job,
    NoWorker,
    PoolBusy,
    Reply,
    UnknownBase,
    WorkerError,
    WorkerFailed,
)

OUTPUT = "an output that is long enough to be worth a question\n" * 10
Script = Callable[[Job], Reply | Exception | None]


def shorten(job: Job) -> Reply:
    """The last item's text becomes one word."""
    payload = json.loads(job.payload)
    index = payload["base"] + len(payload["messages"]) - 1
    return Reply(forms=[Form(index, [Edit(["content", 0, "content"], "short")], 9)], slot=0)


class Workers:
    """Answers each job by the next line of the script, the last one for ever; None: never."""

    def __init__(self, *script: Script) -> None:
        self.script = list(script)
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> asyncio.Future[Reply]:
        self.jobs.append(job)
        line = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        said = line(job)
        if isinstance(said, (NoWorker, PoolBusy)):
            raise said
        if isinstance(said, Exception):
            future.set_exception(said)
        elif said is not None:
            asyncio.get_running_loop().call_later(
                0.01, lambda: future.done() or future.set_result(said)
            )
        return future


def conversation(results: int, **more: object) -> bytes:
    messages: list[Body] = [{"role": "user", "content": "go"}]
    for n in range(results):
        use = {"type": "tool_use", "id": f"t{n}", "name": "Bash", "input": {"command": f"c{n}"}}
        done = {"type": "tool_result", "tool_use_id": f"t{n}", "content": f"{n}{OUTPUT}"}
        messages.append({"role": "assistant", "content": [use]})
        messages.append({"role": "user", "content": [done]})
    return call(
        {"system": [{"cache_control": {"type": "ephemeral"}}], "messages": messages, **more}
    )


class Desk:
    """A compression over scripted workers, and the last call's summary."""

    def __init__(self, *script: Script, deadline: float = 5.0) -> None:
        ledger = Conversations(directory=None)
        ledger.open()
        self.workers = Workers(*script)
        self.compression = Compression(ledger, self.workers, deadline=deadline)
        self.summary = Summary()

    async def __call__(self, results: int) -> list[str]:
        """Send a conversation; which of its results went out short."""
        self.summary = Summary()
        answer = await self.compression.answer(conversation(results), Settings(), self.summary)
        return texts(answer, results)


def texts(answer: Answer, results: int) -> list[str]:
    got = json.loads(answer.body)
    if got["action"] == "allow":
        return ["as it was"] * results
    messages = got["request_body"]["messages"]
    return [
        "short" if m["content"][0]["content"] == "short" else "as it was" for m in messages[2::2]
    ]


async def test_forms_are_made_once_and_replayed() -> None:
    desk = Desk(shorten)
    assert await desk(1) == ["short"]
    assert (desk.summary.outcome, desk.summary.slot, desk.summary.tokens_saved) == (
        Outcome.MODIFY,
        0,
        9,
    )
    assert await desk(2) == ["short", "short"]
    assert await desk(2) == ["short", "short"]
    assert desk.summary.slot == -1
    assert len(desk.workers.jobs) == 2


@pytest.mark.parametrize(
    "error",
    [
        NoWorker("x"),
        PoolBusy("x"),
        WorkerFailed("x", slot=0, error_type="crash", killed=True),
        WorkerFailed("x", slot=0, error_type="ValueError", killed=False),
    ],
    ids=lambda error: f"{type(error).__name__} {getattr(error, 'error_type', '')}",
)
async def test_what_a_failing_worker_did_not_shorten_is_left_alone_for_good(
    error: WorkerError,
) -> None:
    desk = Desk(shorten, lambda _: error, shorten)
    assert await desk(1) == ["short"]
    assert await desk(2) == ["short", "as it was"]
    assert desk.summary.outcome is Outcome.MODIFY
    assert await desk(2) == ["short", "as it was"]
    assert await desk(3) == ["short", "as it was", "short"]


async def test_a_failure_with_nothing_known_is_an_error() -> None:
    desk = Desk(lambda _: NoWorker("x"))
    assert await desk(1) == ["as it was"]
    assert desk.summary.outcome is Outcome.ERROR


async def test_a_late_worker_costs_the_deadline_once() -> None:
    desk = Desk(lambda _: None, shorten, deadline=0.05)
    assert await desk(1) == ["as it was"]
    assert await desk(1) == ["as it was"]
    assert len(desk.workers.jobs) == 1
    assert await desk(2) == ["as it was", "short"]


async def test_a_forgetful_worker_gets_the_whole_conversation() -> None:
    desk = Desk(shorten, lambda _: UnknownBase("x"), shorten)
    await desk(1)
    assert await desk(2) == ["short", "short"]
    delta, whole = (json.loads(job.payload) for job in desk.workers.jobs[1:])
    assert (delta["base"], delta["frozen"]) == (3, 0)
    assert (whole["base"], whole["frozen"], len(whole["messages"])) == (0, 4, 5)


async def test_an_item_that_killed_a_worker_is_never_sent_for_processing_again() -> None:
    def kill(job: Job) -> None:
        """It dies long after its caller was answered."""
        assert job.on_failure
        asyncio.get_running_loop().call_later(0.1, job.on_failure)

    desk = Desk(kill, shorten, deadline=0.01)
    await desk(1)
    await asyncio.sleep(0.2)
    other = conversation(1, stop_sequences=[]).replace(b'"go"', b'"another conversation"')
    answer = await desk.compression.answer(other, Settings(), Summary())
    assert texts(answer, 1) == ["as it was"]
    assert len(desk.workers.jobs) == 1


async def test_a_caller_that_hangs_up_does_not_undo_a_decision() -> None:
    desk = Desk(shorten)
    asking = asyncio.create_task(desk(1))
    await asyncio.sleep(0.001)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await desk(1) == ["short"]
    assert len(desk.workers.jobs) == 1


async def test_a_decision_that_nobody_heard_of_is_a_gap() -> None:
    desk = Desk(shorten)
    asking = asyncio.create_task(desk(1))
    await asyncio.sleep(0.001)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await desk.compression.close()
    assert await desk(2) == ["as it was", "short"]


async def test_requests_at_once_ask_once() -> None:
    desk = Desk(shorten)
    assert await asyncio.gather(*(desk(1) for _ in range(5))) == [["short"]] * 5
    assert len(desk.workers.jobs) == 1


async def test_who_cannot_be_let_in_before_the_deadline_goes_on_as_it_came() -> None:
    desk = Desk(shorten, deadline=0.05)
    inside = [await desk.compression._gate.enter(1) for _ in range(AT_ONCE)]
    assert await desk(1) == ["as it was"]
    assert desk.summary.outcome is Outcome.ERROR
    assert desk.summary.notes["overloaded"] == 1
    for entry in inside:
        entry.leave()
    await asyncio.sleep(0)
    assert await desk(1) == ["short"]


async def test_a_waiting_worker_keeps_nobody_out() -> None:
    desk = Desk(*[lambda _: None] * (AT_ONCE + 1), shorten, deadline=5.0)
    stuck = []
    for n in range(AT_ONCE + 1):
        other = conversation(1).replace(b'"go"', b'"go %d"' % n)
        asking = desk.compression.answer(other, Settings(), Summary())
        stuck.append(asyncio.create_task(asking))
    await asyncio.sleep(0.05)
    assert await desk(1) == ["short"]
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


async def test_hanging_up_while_a_decision_is_written_is_a_gap_and_harms_no_writing(
    tmp_path: Path,
) -> None:
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    compression = Compression(ledger, Workers(shorten), deadline=5.0)

    async def ask(results: int, extra: int = 0) -> Answer:
        said = [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "go on"}]
        sent = json.loads(conversation(results))
        sent["request_body"]["messages"] += said * extra
        return await compression.answer(json.dumps(sent).encode(), Settings(), Summary())

    try:
        assert texts(await ask(1), 1) == ["short"]
        # Nothing new to ask about: the only wait is for the disk.
        hanging = asyncio.create_task(ask(1, extra=1))
        await asyncio.sleep(0)
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        later = json.loads((await ask(1, extra=2)).body)
        assert later == {"action": "allow"}  # the originals went out, so they go on
        async with asyncio.timeout(10):
            await ask(3)  # and what comes after is still written
    finally:
        ledger.close()
