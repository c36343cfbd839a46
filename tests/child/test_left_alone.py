"""An item that fails or takes too long goes out as it came, and is held so; the others go on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.child.conftest import NewTalk
from tests.child.talk import numbered, source
from tests.workers.support import item, job_config
from tsheadroom.child import main, system
from tsheadroom.child.compress import outputs
from tsheadroom.child.compress.compressor import Compressor
from tsheadroom.child.held import HeldConversations
from tsheadroom.child.protocol import EMPTY_CHAIN, OutOfTimeError, chain
from tsheadroom.child.watch import OverBudgetError, Stopwatch

FILE = numbered(source(60))
BAD = "this one is bad\n"


def use(call: str, **inputs: Any) -> dict[str, Any]:
    part = {"kind": "tool_use", "call": call, "name": "Read", "input": inputs}
    return {"role": "assistant", "context": True, "parts": [part]}


def output(*texts: tuple[str, str]) -> dict[str, Any]:
    parts = [
        {"kind": "tool_result", "slot": [at], "call": call, "text": text, "error": False}
        for at, (call, text) in enumerate(texts)
    ]
    return {"role": "user", "context": False, "parts": parts}


@pytest.fixture(params=[OverBudgetError(), MemoryError(), KeyError("x"), RecursionError()])
def failing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> BaseException:
    """Folding fails on an output that holds BAD, after all else of it has been done."""
    real = outputs.fold
    error: BaseException = request.param

    def fold(draft: outputs.Draft, *rest: Any) -> None:
        real(draft, *rest)
        if BAD in draft.original:
            raise error

    monkeypatch.setattr(outputs, "fold", fold)
    return error


def test_the_others_get_their_forms(talk: NewTalk, failing: BaseException) -> None:
    conversation = talk()
    conversation.add([use("a", file_path="/a"), use("b", file_path="/b"), use("c", file_path="/c")])
    result = conversation.add([output(("a", FILE)), output(("b", BAD + FILE)), output(("c", FILE))])
    assert [form["item"] for form in result.forms] == [0, 2]
    kinds = {OverBudgetError: "over_budget", MemoryError: "out_of_memory"}
    assert result.notes == {f"item_{kinds.get(type(failing), 'failed')}": 1}
    assert result.convicted == ([1] if type(failing) in kinds else [])


def test_pointers_lead_to_it_as_it_went_out(talk: NewTalk, failing: BaseException) -> None:
    """What was recorded of its first output, in a shorter form, is taken back; `talk` verifies."""
    conversation = talk()
    conversation.read("/a", FILE)
    more = numbered(source(60, name="other"))
    calls = [use(call, file_path=f"/{call}") for call in "bcde"]
    conversation.add([*calls, output(("b", more), ("c", FILE), ("d", BAD + FILE))])
    assert conversation.last.forms == []
    assert conversation.sent[-1]["parts"][0]["text"] == more
    conversation.add([output(("e", more))])
    (form,) = conversation.last.forms
    (pointer,) = form["edits"][0]["pointers"]
    assert (pointer["call"], pointer["slot"]) == ("b", [0])


def test_what_its_call_wrote_may_be_pointed_at(talk: NewTalk, failing: BaseException) -> None:
    text = "\n".join(source(60))
    conversation = talk()
    conversation.add([use("a", file_path="/a", content=text), output(("a", BAD + "x" * 2_000))])
    assert conversation.last.forms == []
    assert "your Read" in conversation.read("/b", numbered(source(60)))


def test_the_chain_is_that_of_the_daemon(compressor: Compressor, failing: BaseException) -> None:
    """After an item that was cut off the conversation goes on from what is held."""
    digests = ["01" * 16, "02" * 16]
    bad = [use("a", file_path="/a"), output(("a", BAD + FILE))]
    held = HeldConversations(compressor)
    payload = {"conversation": "c", "config": job_config()}
    messages = [one | {"digest": digest} for one, digest in zip(bad, digests, strict=True)]
    first = held.turn(payload | {"messages": messages})
    assert first["forms"] == []
    prefix = EMPTY_CHAIN
    for digest in digests:
        prefix = chain(prefix, digest)
    more = [use("b", file_path="/b"), output(("b", FILE))]
    messages = [one | {"digest": "03" * 16} for one in more]
    second = held.turn(payload | {"messages": messages, "base": 2, "prefix": prefix.hex()})
    assert [form["item"] for form in second["forms"]] == [3]


def test_a_part_that_cannot_be_read_is_passed_over_as_context(talk: NewTalk) -> None:
    conversation = talk()
    odd = {
        "role": "user",
        "context": True,
        "parts": [{"kind": "tool_result", "call": "x"}, {"kind": "text"}],
    }
    assert conversation.conversation.compress([odd], "", conversation.config).notes == {
        "item_failed": 1
    }
    assert conversation.conversation.length == 1


class Late(Stopwatch):
    """Time is up from the start."""

    @property
    def late(self) -> bool:
        return True


def test_without_time_items_are_left_alone(talk: NewTalk) -> None:
    conversation = talk()
    items = [use("a", file_path="/a"), output(("a", FILE))]
    result = conversation.conversation.compress(items, "", conversation.config, Late())
    assert (result.forms, result.notes) == ([], {"item_without_time": 1})
    assert conversation.conversation.length == 2


def test_without_time_for_what_was_forwarded_the_call_fails(compressor: Compressor) -> None:
    held = HeldConversations(compressor, watch=Late())
    payload = {"conversation": "c", "config": job_config(), "frozen": 1, "prefix": "ab" * 16}
    with pytest.raises(OutOfTimeError):
        held.turn(payload | {"messages": [item("old"), item("new")]})


def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


@pytest.mark.parametrize("given", [nested(985), nested(2_500), "9" * 5_000, "-" + "9" * 100_000])
def test_a_request_with_odd_inputs_can_be_read(compressor: Compressor, given: str) -> None:
    held = HeldConversations(compressor)

    def ask(number: int, config: dict[str, Any]) -> dict[str, Any]:
        messages = [
            use("a", file_path="/a", odd=0) | {"digest": "01" * 16},
            output(("a", FILE)) | {"digest": "02" * 16},
        ]
        payload = {"conversation": "c", "messages": messages, "config": config}
        line = json.dumps({"id": number, "payload": payload}, separators=(",", ":"))
        reply: dict[str, Any] = json.loads(
            main.answer(
                held,
                line.replace('"odd":0', f'"odd":{given}').encode(),
                cold=False,
                memory=system.OwnMemory(),
            )
        )
        return reply

    assert len(ask(1, job_config())["result"]["forms"]) == 1
    assert ask(2, {})["error_type"] == "bad_request"


def test_what_is_no_request_is_answered_by_its_number(compressor: Compressor) -> None:
    held = HeldConversations(compressor)
    for rest in (b"", b'"payload":' + b"[" * 100_000):
        reply = json.loads(
            main.answer(held, b'{"id":7,' + rest + b"\n", cold=False, memory=system.OwnMemory())
        )
        assert (reply["id"], reply["error_type"]) == (7, "bad_request")
