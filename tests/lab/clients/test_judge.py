"""Each law that a hook can break is noticed when it is broken, and only then."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from scripts.lab.clients.apis.parts import Body
from scripts.lab.clients.judge import Judge, Verdict
from scripts.lab.clients.model import shows_file
from scripts.lab.clients.prefixes import Prefixes, sign
from scripts.lab.clients.records import Record
from tests.lab.clients.looping import PATHS, api

VIEW, WORK = "toolu_view_000_0_0000abcd", "toolu_work_001_0_0000abcd"
FILE = "\n".join(f"{n}\tvalue_{n} = compute({n}, scale={n * 7})" for n in range(1, 61))
LOG = "\x1b[32mok\x1b[0m all is well, and nothing else is to be said about it\n" * 3

Change = Callable[[Body, int], None]
"""What a hook does to a copy of the body in turn number n."""


def use(call: str, name: str, inputs: Body) -> Body:
    seal = "sealed_" + "0" * 64
    thinking = {"type": "thinking", "thinking": "Well.", "signature": seal}
    blocks = [thinking, {"type": "tool_use", "id": call, "name": name, "input": inputs}]
    return {"role": "assistant", "content": blocks}


def result(call: str, text: str) -> Body:
    done = {"type": "tool_result", "tool_use_id": call, "content": text}
    return {"role": "user", "content": [{**done, "cache_control": {"type": "ephemeral"}}]}


def bodies() -> list[Body]:
    """Three turns: a question, a file, a command's output."""
    messages: list[Body] = [{"role": "user", "content": "Look around."}]
    turns = [copy.deepcopy(messages)]
    messages += [use(VIEW, "Read", {"file_path": "a.py"}), result(VIEW, FILE)]
    turns.append(copy.deepcopy(messages))
    del messages[-1]["content"][0]["cache_control"]
    messages += [use(WORK, "Bash", {"command": "make"}), result(WORK, LOG)]
    turns.append(copy.deepcopy(messages))
    return [{"model": "claude-opus-5-5", "system": "An agent.", "messages": m} for m in turns]


def sealed(turns: list[Body]) -> list[tuple[Body, str]]:
    """The turns with real signatures, each with the answer that the provider gave to it."""
    for number, body in enumerate(turns):
        for at, message in enumerate(body["messages"]):
            if message["role"] == "assistant":
                asked = turns[at // 2]
                assert at // 2 <= number
                seal = sign(Prefixes(api("anthropic"), asked).whole)
                message["content"][0]["signature"] = seal
    return [(body, sign(Prefixes(api("anthropic"), body).whole)) for body in turns]


def judged(change: Change | None = None, **said: Any) -> Verdict:
    judge = Judge(shows_file)
    for number, (body, answer) in enumerate(sealed(bodies()), 1):
        forwarded = copy.deepcopy(body)
        if change is not None:
            change(forwarded, number)
        judge.take(
            Record(
                url=PATHS["anthropic"],
                metadata={"model": body["model"]},
                original=json.dumps(body),
                forwarded=json.dumps(forwarded) if forwarded != body else None,
                response=answer,
                **said,
            )
        )
    return judge.verdict()


def output(body: Body, at: int) -> Body:
    block: Body = body["messages"][at]["content"][0]
    return block


def test_nothing_is_wrong_with_what_was_left_alone() -> None:
    verdict = judged()
    assert verdict.wrong == []
    assert (verdict.turns, verdict.outputs, verdict.price, verdict.tokens) == (3, 2, 100, 100)
    assert (verdict.broken_by_client, verdict.restored) == (0, {})


def test_an_output_that_comes_back_is_no_wrong() -> None:
    def screen(body: Body, turn: int) -> None:
        if turn == 3:
            output(body, 4)["content"] = LOG.replace("\x1b[32m", "").replace("\x1b[0m", "")

    verdict = judged(screen)
    assert verdict.wrong == []
    assert verdict.restored == {"as shown": 1}
    assert verdict.tokens < 100


def test_an_output_that_lost_a_word_is_lost() -> None:
    def cut(body: Body, turn: int) -> None:
        if turn == 3:
            output(body, 4)["content"] = LOG[:-30]

    verdict = judged(cut)
    assert verdict.restored == {"not restored": 1}
    assert len(verdict.wrong) == 1


def test_a_file_must_come_back_to_the_letter() -> None:
    def shorten(body: Body, turn: int) -> None:
        if turn >= 2:
            output(body, 2)["content"] = FILE.replace("compute", "c")

    verdict = judged(shorten)
    assert verdict.rewritten == 1
    assert verdict.changed == 0


def test_a_change_of_what_was_sent_is_seen_and_breaks_what_stands_behind() -> None:
    def late(body: Body, turn: int) -> None:
        if turn == 3:
            output(body, 2)["content"] = FILE[:-20]

    verdict = judged(late)
    assert verdict.changed == 1
    assert verdict.broken_by_hook == 1  # the second answer's thinking stands behind the file
    assert verdict.broken_by_client == 0


def test_taking_a_change_back_is_one() -> None:
    def once(body: Body, turn: int) -> None:
        if turn == 2:
            output(body, 2)["content"] = FILE[:-20]

    verdict = judged(once)
    assert verdict.changed == 1
    assert verdict.broken_by_hook == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda body, _: body.update(system="Another agent."),
        lambda body, _: body["messages"][0].update(content="Look."),
        lambda body, _: body["messages"].pop(),
        lambda body, turn: turn < 2 or output(body, 2).update(content=FILE + " longer"),
        lambda body, turn: turn < 2 or output(body, 2).update(content=[]),
    ],
    ids=["system", "user's text", "an item less", "a longer output", "no text"],
)
def test_what_is_no_shorter_output_is_structure(change: Change) -> None:
    assert judged(change).structure > 0


def test_a_pointer_to_nothing_dangles_in_each_turn() -> None:
    def point(body: Body, turn: int) -> None:
        if turn >= 2:
            output(body, 2)["content"] = "[same output as Read nowhere.py above]"

    verdict = judged(point)
    assert verdict.dangling == 2


def test_what_the_client_broke_itself_is_not_the_hooks() -> None:
    judge = Judge(shows_file)
    for body, answer in sealed(bodies()):
        if len(body["messages"]) == 5:
            body["messages"][2]["content"][0]["content"] = "[cleared by the client]"
        judge.take(Record(PATHS["anthropic"], {}, json.dumps(body), response=answer))
    verdict = judge.verdict()
    assert (verdict.broken_by_client, verdict.broken_by_hook) == (1, 0)
    assert verdict.wrong == []


def test_failures_and_latency_are_counted() -> None:
    verdict = judged(hook="failed: status 503", status=400, milliseconds=7.0)
    assert (verdict.failed, verdict.refused) == (3, 3)
    assert (verdict.median_ms, verdict.slowest_ms) == (7.0, 7.0)


def test_counting_tokens_is_no_turn() -> None:
    judge = Judge(shows_file)
    judge.take(Record("/v1/messages/count_tokens", {}, "{}"))
    assert judge.verdict().turns == 0
