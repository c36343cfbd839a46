"""One call from bytes to bytes, with workers that are late, missing, broken or forgetful.

The workers here are a script: real ones cannot be made to fail at a wanted moment.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from unittest import mock

import pytest

from tests.answered import answered
from tests.aperture.test_call import ODD_ITEMS
from tests.conversation import Body, call, dumps
from tsheadroom.aperture import utf8
from tsheadroom.aperture.answer import ALLOW
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.conversations.store import Line
from tsheadroom.conversations.store.sqlite import SqliteStore
from tsheadroom.settings import Settings
from tsheadroom.telemetry.events import Event
from tsheadroom.telemetry.record import Figures, Outcome
from tsheadroom.turns import turns as turns_module
from tsheadroom.turns.turns import AT_ONCE, Turns
from tsheadroom.workers import EditMessage as Edit
from tsheadroom.workers import FormMessage as Form
from tsheadroom.workers import (
    Guilt,
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

    async def asked(self, jobs: int) -> None:
        """Wait until so many jobs have come in."""
        async with asyncio.timeout(60):
            while len(self.jobs) < jobs:  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0)

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
            asyncio.get_running_loop().call_later(0.01, _give, future, said)
        return future


def _give(future: asyncio.Future[Reply], reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)


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
    """Turns over scripted workers, and the last call's figures."""

    def __init__(self, *script: Script, deadline: float = 60.0) -> None:
        self.ledger = Conversations(directory=None)
        self.ledger.open()
        self.workers = Workers(*script)
        self.figures = Figures()
        self.within(deadline)

    def within(self, deadline: float) -> None:
        """From now on calls are answered within so many seconds."""
        self.turns = Turns(self.ledger, self.workers, deadline=deadline)

    async def __call__(self, results: int) -> list[str]:
        """Send a conversation; which of its results went out short."""
        with self.turns.open(conversation(results), Settings()) as turn:
            try:
                answer = await turn.answer()
                turn.arrived()
            finally:
                turn.when_ended(self._take)
        return texts(answer, results)

    def _take(self, figures: Figures) -> None:
        self.figures = figures


async def shortened(turns: Turns, results: int) -> list[str]:
    """Send a conversation; which of its results went out short."""
    return texts((await answered(turns, conversation(results)))[0], results)


def texts(answer: bytes, results: int) -> list[str]:
    got = json.loads(answer)
    if got["action"] == "allow":
        return ["as it was"] * results
    messages = got["request_body"]["messages"]
    return [
        "short" if m["content"][0]["content"] == "short" else "as it was" for m in messages[2::2]
    ]


async def test_forms_are_made_once_and_replayed() -> None:
    desk = Desk(shorten)
    assert await desk(1) == ["short"]
    assert (desk.figures.outcome, desk.figures.slot, desk.figures.tokens_saved) == (
        Outcome.MODIFY,
        0,
        9,
    )
    assert await desk(2) == ["short", "short"]
    assert await desk(2) == ["short", "short"]
    assert desk.figures.slot == -1
    assert len(desk.workers.jobs) == 2


@pytest.mark.parametrize(
    "error",
    [
        NoWorker("x"),
        PoolBusy("x"),
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
    assert desk.figures.outcome is Outcome.MODIFY
    assert await desk(2) == ["short", "as it was"]
    assert await desk(3) == ["short", "as it was", "short"]


def crash(item: int | None, guilt: Guilt) -> WorkerFailed:
    return WorkerFailed("x", slot=0, error_type="crash", killed=True, item=item, guilt=guilt)


async def test_when_a_worker_dies_another_is_asked_about_all_but_the_item_to_blame() -> None:
    desk = Desk(lambda _: crash(2, Guilt.CONVICTED), shorten)
    assert await desk(1) == ["as it was"]
    died, asked = (json.loads(job.payload) for job in desk.workers.jobs)
    assert [m["context"] for m in died["messages"]] == [True, True, False]
    assert [m["context"] for m in asked["messages"]] == [True, True, True]
    assert await desk(2) == ["as it was", "short"]


@pytest.mark.parametrize("item", [2, None])
async def test_an_item_that_is_not_to_blame_is_asked_about_again(item: int | None) -> None:
    desk = Desk(shorten, lambda _: crash(item, Guilt.SUSPECT), shorten)
    assert await desk(1) == ["short"]
    assert await desk(2) == ["short", "short"]
    _, died, again = (json.loads(job.payload) for job in desk.workers.jobs)
    assert (died["base"], again["base"], again["frozen"]) == (3, 0, 4)


async def test_a_turn_costs_three_workers_at_most() -> None:
    desk = Desk(lambda _: crash(None, Guilt.NONE), shorten)
    assert await desk(1) == ["short"]
    desk = Desk(*[lambda _: crash(None, Guilt.NONE)] * 3, shorten)
    assert await desk(1) == ["as it was"]
    assert len(desk.workers.jobs) == 3


async def test_a_failure_with_nothing_known_is_an_error() -> None:
    desk = Desk(lambda _: NoWorker("x"))
    assert await desk(1) == ["as it was"]
    assert desk.figures.outcome is Outcome.ERROR


async def test_a_late_worker_costs_the_deadline_once() -> None:
    desk = Desk(lambda _: None, shorten, deadline=0.05)
    assert await desk(1) == ["as it was"]
    desk.within(60.0)
    assert await desk(1) == ["as it was"]
    assert len(desk.workers.jobs) == 1
    assert await desk(2) == ["as it was", "short"]


async def test_a_forgetful_worker_gets_the_whole_conversation() -> None:
    lost = UnknownBase("x")
    lost.place = 7
    desk = Desk(shorten, lambda _: lost, shorten)
    await desk(1)
    assert await desk(2) == ["short", "short"]
    first, second, third = desk.workers.jobs
    assert [(job.whole, job.place) for job in (first, second, third)] == [
        (True, 0), (False, 0), (True, 7),
    ]  # fmt: skip
    delta, whole = json.loads(second.payload), json.loads(third.payload)
    assert (delta["base"], delta["frozen"]) == (3, 0)
    assert (whole["base"], whole["frozen"], len(whole["messages"])) == (0, 4, 5)


async def test_an_item_that_killed_a_worker_is_never_sent_for_processing_again() -> None:
    desk = Desk(lambda _: None, shorten, deadline=0.01)
    await desk(1)
    desk.within(60.0)
    (job,) = desk.workers.jobs
    assert job.blame
    job.blame([job.digests[2]])  # long after its caller was answered
    other = conversation(1, stop_sequences=[]).replace(b'"go"', b'"another conversation"')
    answer, _ = await answered(desk.turns, other)
    assert texts(answer, 1) == ["as it was"]
    assert len(desk.workers.jobs) == 1


async def test_a_caller_that_hangs_up_does_not_undo_a_decision() -> None:
    desk = Desk(shorten)
    asking = asyncio.create_task(desk(1))
    await desk.workers.asked(1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await desk(1) == ["short"]
    assert len(desk.workers.jobs) == 1


async def test_a_decision_that_nobody_heard_of_is_a_gap() -> None:
    desk = Desk(shorten)
    asking = asyncio.create_task(desk(1))
    await desk.workers.asked(1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await desk.turns.close()
    assert await desk(2) == ["as it was", "short"]


async def test_requests_at_once_ask_once() -> None:
    desk = Desk(shorten)
    assert await asyncio.gather(*(desk(1) for _ in range(5))) == [["short"]] * 5
    assert len(desk.workers.jobs) == 1


async def test_who_is_not_let_in_gets_known_forms_and_nothing_new() -> None:
    desk = Desk(shorten, shorten)
    assert await desk(1) == ["short"]
    desk.within(0.1)
    inside = [await desk.turns.gate.enter(1) for _ in range(AT_ONCE)]
    assert await desk(2) == ["short", "as it was"]
    assert desk.figures.events[Event.OVERLOADED] == 1
    for entry in inside:
        entry.leave()
    desk.within(60.0)
    assert await desk(2) == ["short", "as it was"]  # as it was forwarded
    assert await desk(3) == ["short", "as it was", "short"]


@pytest.mark.parametrize(
    "broken",
    [
        "tsheadroom.turns.preparing.Question",
        "tsheadroom.turns.question.Question.accept",
        "tsheadroom.turns.question.Question.stops",
        "tsheadroom.conversations.ledger.Conversations.keep",
        "tsheadroom.conversations.ledger.Conversations.is_quarantined",
    ],
)
async def test_a_defect_costs_no_known_form(broken: str, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(shorten, shorten, shorten)
    assert await desk(1) == ["short"]
    with mock.patch(broken, side_effect=RuntimeError("a text of the conversation")):
        assert await desk(2) == ["short", "as it was"]
    assert desk.figures.events[Event.DECISION_FAILED] == 1
    assert desk.figures.outcome is Outcome.MODIFY
    assert "RuntimeError at" in caplog.text
    assert "a text of the conversation" not in caplog.text


@pytest.mark.parametrize("odd", ODD_ITEMS)
async def test_an_item_that_cannot_be_read_costs_no_known_form(odd: bytes) -> None:
    desk = Desk(shorten, shorten, shorten)
    assert await desk(1) == ["short"]
    known = conversation(1)
    assert known.endswith(b"]}]}}")
    answer, _ = await answered(desk.turns, known.removesuffix(b"]}}") + b"," + odd + b"]}}")
    assert answer.count(b'"content":"short"') == 1
    answer.decode("utf-8")  # a strict reader takes it
    assert (utf8.mended(odd) or b"none") in answer


async def test_nothing_new_is_decided_in_a_call_that_is_not_utf_8() -> None:
    desk = Desk(shorten)
    spoilt = conversation(1).replace(b'"go"', b'"g\xf6"')
    answer, figures = await answered(desk.turns, spoilt)
    assert answer == ALLOW
    assert figures.events[Event.NOT_UTF8] == 1
    assert not desk.workers.jobs


async def test_a_call_that_is_hardly_utf_8_gets_no_long_answer() -> None:
    desk = Desk(shorten)
    assert await desk(1) == ["short"]
    more = b'{"role":"user","content":"%b"}' % (b"\xff" * (utf8.MAX_MENDED + 1))
    answer, _ = await answered(
        desk.turns, conversation(1).removesuffix(b"]}}") + b"," + more + b"]}}"
    )
    assert answer == ALLOW


async def test_a_waiting_worker_keeps_nobody_out() -> None:
    desk = Desk(*[lambda _: None] * (AT_ONCE + 1), shorten)
    stuck = []
    for n in range(AT_ONCE + 1):
        other = conversation(1).replace(b'"go"', b'"go %d"' % n)
        asking = answered(desk.turns, other)
        stuck.append(asyncio.create_task(asking))
    await desk.workers.asked(AT_ONCE + 1)
    assert await desk(1) == ["short"]
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)


async def test_hanging_up_while_a_decision_is_written_is_a_gap_and_harms_no_writing(
    tmp_path: Path,
) -> None:
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    turns = Turns(ledger, Workers(shorten), deadline=60.0)

    async def ask(results: int, extra: int = 0) -> bytes:
        said = [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "go on"}]
        sent = json.loads(conversation(results))
        sent["request_body"]["messages"] += said * extra
        return (await answered(turns, json.dumps(sent).encode()))[0]

    try:
        assert texts(await ask(1), 1) == ["short"]
        # Nothing new to ask about: the only wait is for the disk.
        hanging = asyncio.create_task(ask(1, extra=1))
        await asyncio.sleep(0)
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        later = json.loads(await ask(1, extra=2))
        assert later == {"action": "allow"}  # the originals went out, so they go on
        async with asyncio.timeout(10):
            await ask(3)  # and what comes after is still written
    finally:
        ledger.close()


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Conversations]:
    ledger = Conversations(directory=tmp_path)
    ledger.open()
    yield ledger
    ledger.close()


class SlowDisk:
    """Holds back the news that a write is done, until `let_go`; the write itself is real."""

    def __init__(self, ledger: Conversations, monkeypatch: pytest.MonkeyPatch) -> None:
        assert ledger._store
        self._write = ledger._store._writer.submit
        self._held: list[tuple[Future[None], Future[None]]] = []
        monkeypatch.setattr(ledger._store._writer, "submit", self._submit)

    def _submit(self, sql: str, values: tuple[object, ...]) -> Future[None]:
        late: Future[None] = Future()
        late.set_running_or_notify_cancel()
        self._held.append((self._write(sql, values), late))
        return late

    async def write_begun(self) -> None:
        async with asyncio.timeout(60):
            while not self._held:  # noqa: ASYNC110 (nothing tells)
                await asyncio.sleep(0)

    def let_go(self) -> None:
        for real, late in self._held:
            late.set_result(real.result(60))


async def test_what_comes_before_the_disk_is_done_sees_the_gap(
    on_disk: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(on_disk, Workers(shorten), deadline=60.0)

    async def ask(results: int) -> list[str]:
        return await shortened(turns, results)

    assert await ask(1) == ["short"]
    with monkeypatch.context() as patch:
        disk = SlowDisk(on_disk, patch)
        hanging = asyncio.create_task(ask(2))
        await disk.write_begun()
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
    # The provider has the originals, whether the disk knows or not.
    assert await ask(3) == ["as it was", "as it was", "short"]
    disk.let_go()
    await turns.close()


async def test_a_decision_that_is_not_durable_by_the_deadline_is_not_made(
    on_disk: Conversations, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    turns = Turns(on_disk, Workers(shorten), deadline=60.0)
    assert await shortened(turns, 1) == ["short"]
    turns = Turns(on_disk, Workers(shorten), deadline=0.2)
    with monkeypatch.context() as patch:
        disk = SlowDisk(on_disk, patch)
        answer, figures = await answered(turns, conversation(2))
        assert texts(answer, 2) == ["short", "as it was"]
        assert figures.events[Event.DECISION_NOT_DURABLE] == 1
        disk.let_go()
    turns = Turns(on_disk, Workers(shorten), deadline=60.0)
    assert await shortened(turns, 3) == ["short", "as it was", "short"]
    # Nor does a restart find the decision that was written late.
    on_disk.close()
    again = Conversations(directory=tmp_path)
    again.open()
    turns = Turns(again, Workers(shorten), deadline=60.0)
    assert (await shortened(turns, 4))[:2] == ["short", "as it was"]
    again.close()


async def test_a_disk_that_cannot_be_read_costs_new_forms_only(
    on_disk: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(on_disk, Workers(shorten), deadline=60.0)
    assert await shortened(turns, 1) == ["short"]

    def broken(self: SqliteStore, chains: Sequence[bytes]) -> list[Line]:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "may_hold", lambda store, chain: True)
        patch.setattr(SqliteStore, "_longest", broken)
        # Memory knows the first form; whether the disk knows one of the new item, nobody can say.
        answer, figures = await answered(turns, conversation(2))
        assert texts(answer, 2) == ["short", "as it was"]
        assert figures.events[Event.HISTORY_UNREADABLE] == 1
    assert await shortened(turns, 3) == ["short", "as it was", "short"]


async def test_a_disk_that_does_not_answer_costs_the_deadline_and_no_more(
    on_disk: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns(on_disk, Workers(shorten), deadline=60.0)
    assert await shortened(turns, 1) == ["short"]
    turns = Turns(on_disk, Workers(shorten), deadline=0.1)
    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "may_hold", lambda store, chain: True)
        patch.setattr(on_disk._store, "longest", lambda chains: Future())
        answer, _ = await answered(turns, conversation(2))
        assert texts(answer, 2) == ["short", "as it was"]


@pytest.mark.parametrize("why", ["item_without_time", "item_failed", "item_over_budget"])
async def test_what_was_left_alone_for_want_of_time_stays_so_after_a_restart(
    tmp_path: Path, why: str
) -> None:
    script: list[Script] = [lambda _: Reply(notes={why: 1}, slot=0), shorten]
    for answer in script:
        ledger = Conversations(directory=tmp_path)
        ledger.open()
        turns = Turns(ledger, Workers(answer), deadline=60.0)
        assert await shortened(turns, 1) == ["as it was"]
        await turns.close()
        ledger.close()


async def test_a_defect_after_the_decision_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(shorten)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a defect of ours")

    with monkeypatch.context() as patch:
        patch.setattr(turns_module, "spliced", broken)
        with pytest.raises(RuntimeError):
            await desk(1)  # the hook answers allow then: the original is forwarded
    assert await desk(2) == ["as it was", "short"]


def counted(results: int) -> bytes:
    """The same conversation as `conversation`, sent to have its tokens counted."""
    body = json.loads(conversation(results))
    body["metadata"]["url"] = "/v1/messages/count_tokens?beta=true"
    return dumps(body)


async def test_counting_tokens_is_no_turn(on_disk: Conversations) -> None:
    turns = Turns(on_disk, Workers(shorten), deadline=60.0)
    answer, figures = await answered(turns, counted(1))
    assert texts(answer, 1) == ["as it was"]
    assert figures.events == {Event.NOT_A_TURN: 1}
    assert not turns.account.billing.waiting
    assert (len(on_disk), on_disk.stats.stored) == (0, 0)
    # Nothing was decided, and the first turn is one.
    assert await shortened(turns, 1) == ["short"]


async def test_what_is_counted_is_what_would_be_forwarded() -> None:
    desk = Desk(shorten)
    assert await desk(1) == ["short"]
    assert texts((await answered(desk.turns, counted(1)))[0], 1) == ["short"]
    # What is new is not decided by a count.
    assert texts((await answered(desk.turns, counted(2)))[0], 2) == ["short", "as it was"]
    assert len(desk.workers.jobs) == 1
    assert await desk(2) == ["short", "short"]


@pytest.mark.parametrize("taken", [True, False])
async def test_a_count_says_nothing_of_an_answers_end(taken: bool) -> None:
    desk = Desk(shorten)

    async def end(body: bytes, *, arrived: bool) -> None:
        with desk.turns.open(body, Settings()) as turn:
            await turn.answer()
            if arrived:
                turn.arrived()

    await end(conversation(1), arrived=taken)
    await end(counted(1), arrived=not taken)
    assert await desk(2) == ["short" if taken else "as it was", "short"]


async def test_tools_that_are_added_in_mid_session_are_no_answer() -> None:
    """Codex sends its tools again when they have changed, after outputs that are new."""
    tools = {"type": "additional_tools", "role": "developer", "tools": []}
    asked = {"type": "custom_tool_call", "name": "exec", "input": "x"}
    told = {"type": "custom_tool_call_output", "output": OUTPUT}
    ledger = Conversations(directory=None)
    ledger.open()

    def script(job: Job) -> Reply:
        payload = json.loads(job.payload)
        new = [at for at, item in enumerate(payload["messages"]) if not item["context"]]
        outputs = [at for at in new if payload["messages"][at]["role"] == "tool"]
        edits = [Edit(["output"], "short")]
        return Reply(forms=[Form(payload["base"] + at, edits, 9) for at in outputs], slot=0)

    turns = Turns(ledger, Workers(script), deadline=60.0)
    items: list[Body] = [tools, {"role": "user", "content": "go"}]
    for n in range(4):
        answer, figures = await answered(turns, call({"input": items}))
        got = json.loads(answer).get("request_body", {"input": items})["input"]
        assert [i["output"] for i in got if "output" in i] == ["short"] * n
        assert figures.events[Event.TURN_CONTINUED if n else Event.TURN_NEW] == 1
        items += [{**asked, "call_id": f"c{n}"}, {**told, "call_id": f"c{n}"}, tools]


async def test_a_conversation_that_the_provider_keeps_is_left_alone_and_breaks_no_other() -> None:
    """A client may send what is new alone, and the whole again when the provider has lost it."""
    ledger = Conversations(directory=None)
    ledger.open()

    def script(job: Job) -> Reply:
        payload = json.loads(job.payload)
        index = payload["base"] + len(payload["messages"]) - 1
        return Reply(forms=[Form(index, [Edit(["output"], "short")], 9)], slot=0)

    turns = Turns(ledger, Workers(script), deadline=60.0)

    async def outputs(*items: Body, **more: object) -> tuple[list[str], str]:
        body = {"input": list(items), **more}
        sent = call(body, provider="openai", model="gpt-5.5")
        answer, figures = await answered(turns, sent)
        got = json.loads(answer).get("request_body", body)
        assert list(got) == list(body)
        status = next(event for event in figures.events if event.startswith("turn_"))
        return [item["output"] for item in got["input"] if "output" in item], status

    def step(n: int) -> list[Body]:
        of = {"call_id": f"c{n}"}
        return [
            {"type": "function_call", "name": "Bash", "arguments": "{}", **of},
            {"type": "function_call_output", "output": f"{n}{OUTPUT}", **of},
        ]

    go: Body = {"role": "user", "content": "go"}
    said = [f"{n}{OUTPUT}" for n in range(3)]
    assert await outputs(go) == ([], Event.TURN_NEW)
    for status in (Event.TURN_NEW, Event.TURN_REPEATED):
        alone = await outputs(step(0)[1], previous_response_id="resp_1")
        assert alone == ([said[0]], status)
    assert (await outputs(*step(1), conversation={"id": "conv_1"}))[0] == [said[1]]
    # What went out alone went out as it was, and so it stays when all is sent at once.
    whole = await outputs(go, *step(0), *step(1), *step(2))
    assert whole == ([*said[:2], "short"], Event.TURN_GAP)
    whole = await outputs(go, *step(0), *step(1), *step(2), *step(3))
    assert whole == ([*said[:2], "short", "short"], Event.TURN_CONTINUED)
