"""What a client may change without losing more than what stood there.

The provider here is Google's or OpenAI's, whose signatures bind nothing, or Anthropic's, whose do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.answered import answered
from tests.conversations.asking import begin, decide
from tests.turns.inprocess import InProcess
from tests.turns.test_breakpoints import Items, shorten_all
from tests.turns.test_turns import OUTPUT, Workers
from tsheadroom.aperture.call import HookCall, read
from tsheadroom.aperture.digests import digest
from tsheadroom.aperture.names import Digests
from tsheadroom.conversations.forms import Form, ProposedEdit, Target, build
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.settings import Settings
from tsheadroom.telemetry.events import Event
from tsheadroom.turns.rules import Rules
from tsheadroom.turns.turns import Turns

MASKED = "<tool_output_masked>"


def gemini(turns: int, signature: str = "s") -> tuple[str, Items]:
    items: Items = [{"role": "user", "parts": [{"text": "go"}]}]
    for n in range(turns):
        asked = {
            "functionCall": {"name": f"f{n}", "args": {}},
            "thoughtSignature": f"{signature}{n}",
        }
        told = {"functionResponse": {"name": f"f{n}", "response": {"output": f"{n}{OUTPUT}"}}}
        items += [{"role": "model", "parts": [asked]}, {"role": "user", "parts": [told]}]
    return "contents", items


def responses(turns: int, signature: str = "s") -> tuple[str, Items]:
    """The call and its reasoning are two items of one answer."""
    items: Items = [{"role": "user", "content": "go"}]
    for n in range(turns):
        items += [
            {"type": "reasoning", "summary": [], "encrypted_content": f"{signature}{n}"},
            {"type": "function_call", "call_id": f"t{n}", "name": f"f{n}", "arguments": "{}"},
            {"type": "function_call_output", "call_id": f"t{n}", "output": f"{n}{OUTPUT}"},
        ]
    return "input", items


def referred(turns: int) -> tuple[str, Items]:
    """The provider has kept the reasoning, so the client only names it."""
    key, items = responses(turns)
    kept = {"type": "item_reference"}
    named = [{**kept, "id": i["encrypted_content"]} if "summary" in i else i for i in items]
    return key, named


def searched(turns: int) -> tuple[str, Items]:
    """Each answer has a search for tools that ran at the provider."""
    key, items = responses(turns)
    ran = {"execution": "server", "tools": []}
    search = [{"type": f"tool_search_{part}", **ran} for part in ("call", "output")]
    return key, [
        one for item in items for one in ([item, *search] if "summary" in item else [item])
    ]


def claude(turns: int, signature: str = "s") -> tuple[str, Items]:
    items: Items = [{"role": "user", "content": "go"}]
    for n in range(turns):
        thinking = {"type": "thinking", "thinking": "", "signature": f"{signature}{n}"}
        use = {"type": "tool_use", "id": f"t{n}", "name": "f", "input": {}}
        done = {"type": "tool_result", "tool_use_id": f"t{n}", "content": f"{n}{OUTPUT}"}
        items += [
            {"role": "assistant", "content": [thinking, use]},
            {"role": "user", "content": [done]},
        ]
    return "messages", items


def pointed(turns: int) -> tuple[str, Items]:
    """A conversation over Converse whose one breakpoint stays where it is."""
    items: Items = [{"role": "user", "content": [{"text": "go"}]}]
    for n in range(turns):
        use = {"toolUse": {"toolUseId": f"t{n}", "name": "f", "input": {}}}
        done: Items = [
            {"toolResult": {"toolUseId": f"t{n}", "content": [{"text": f"{n}{OUTPUT}"}]}}
        ]
        mark = [] if n else [{"cachePoint": {"type": "default"}}]
        items += [
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": done + mark},
        ]
    return "messages", items


def call(shape: tuple[str, Items], request_id: str = "") -> bytes:
    key, items = shape
    said = {"provider": "corp", "model": "some-model", "login_name": "a@b"}
    said["request_id"] = request_id
    return json.dumps({"metadata": said, "request_body": {key: items}}).encode()


def masked(shape: tuple[str, Items], n: int) -> tuple[str, Items]:
    """The client itself has taken out the output of turn `n`."""
    key, items = shape
    text = json.dumps(items).replace(json.dumps(f"{n}{OUTPUT}"), json.dumps(MASKED))
    return key, json.loads(text)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if not isinstance(value, str):
            yield from texts(inner)


class Session:
    """One client's conversation."""

    def __init__(self, workers: Workers | InProcess) -> None:
        self.ledger = Conversations(directory=None)
        self.ledger.open()
        self.turns = Turns(self.ledger, workers, deadline=60.0)

    async def send(self, shape: tuple[str, Items]) -> tuple[Items, str]:
        """What the provider gets of the conversation, and how it was recognised."""
        answer, figures = await answered(self.turns, call(shape))
        got = json.loads(answer)
        items: Items = got["request_body"][shape[0]] if got["action"] == "modify" else shape[1]
        return items, next(event for event in figures.events if event.startswith("turn_"))

    async def outputs(self, shape: tuple[str, Items]) -> tuple[str, str]:
        """The same, but of each output a letter: s(hortened), m(asked) or o(riginal)."""
        items, status = await self.send(shape)
        letters = {"short": "s", MASKED: "m"}
        found = (letters.get(text, "o" if OUTPUT in text else "") for text in texts(items))
        return "".join(found), status


Shape = Callable[..., tuple[str, Items]]


@pytest.mark.parametrize("shape", [gemini, responses, referred, searched, claude])
async def test_an_old_output_that_the_client_masks_costs_itself_and_nothing_else(
    shape: Shape,
) -> None:
    session = Session(Workers(shorten_all))
    for n in range(5):
        await session.outputs(shape(n))
    assert await session.outputs(masked(shape(5), 1)) == ("smsss", Event.TURN_EDITED)
    assert await session.outputs(masked(shape(6), 1)) == ("smssss", Event.TURN_CONTINUED)
    twice = masked(masked(shape(7), 1), 3)
    assert await session.outputs(twice) == ("smsmsss", Event.TURN_EDITED)


def reading(turns: int, *, mask: bool) -> tuple[str, Items]:
    """A Gemini agent that reads one of two files in each turn; the client may mask the first."""
    items: Items = [{"role": "user", "parts": [{"text": "go"}]}]
    for n in range(turns):
        lines = [f"line {line} of file {n % 2}, which does not change" for line in range(60)]
        text = MASKED if mask and n == 0 else "\n".join(lines)
        name = {"id": f"c{n}", "name": "read_file"}
        asked = {**name, "args": {"absolute_path": f"/src/{n % 2}.py"}}
        told = {**name, "response": {"output": text}}
        items += [
            {"role": "model", "parts": [{"functionCall": asked, "thoughtSignature": f"s{n}"}]},
            {"role": "user", "parts": [{"functionResponse": told}]},
        ]
    return "contents", items


async def test_what_pointed_at_a_masked_output_is_decided_anew_at_once() -> None:
    session = Session(InProcess())

    async def pointers(turns: int, *, mask: bool) -> list[bool]:
        """For each output whether it went out as a pointer."""
        items, _ = await session.send(reading(turns, mask=mask))
        return ["same output as" in json.dumps(item) for item in items[2::2]]

    for n in range(7):
        before = await pointers(n, mask=False)
    # A file that is read once more after that comes in full: the pointer may have been of no use.
    assert before == [False, False, True, True, False, False]
    # Now the first file's second reading comes in full, and the third one points at that.
    after = [False, False, False, True, True, False, False]
    assert await pointers(7, mask=True) == after
    assert await pointers(8, mask=True) == [*after, True]


@pytest.mark.parametrize("shape", [gemini, responses])
async def test_a_session_that_is_taken_up_with_other_signatures_goes_on(shape: Shape) -> None:
    session = Session(Workers(shorten_all))
    for n in range(4):
        await session.outputs(shape(n))
    resumed = await session.outputs(shape(4, signature="other"))
    assert resumed == ("ssss", Event.TURN_CONTINUED)


@pytest.mark.parametrize("shape", [gemini, responses])
async def test_an_answer_with_other_words_is_another_answer(shape: Shape) -> None:
    session = Session(Workers(shorten_all))
    for n in range(4):
        await session.outputs(shape(n))
    key, items = shape(4)
    changed = json.loads(json.dumps(items).replace('"f2"', '"g2"'))
    assert (await session.outputs((key, changed)))[1] == Event.TURN_GAP


async def test_a_thinking_block_is_part_of_the_answer() -> None:
    session = Session(Workers(shorten_all))
    for n in range(4):
        await session.outputs(claude(n))
    status = (await session.outputs(claude(4, signature="other")))[1]
    assert status == Event.TURN_GAP


def stored_by_0_1(session: Session, shape: Shape, turns: int) -> None:
    """What a daemon of version 0.1 keeps of so many turns, each with an output shortened."""
    for n in range(turns):
        called = read(call(shape(n)))
        assert isinstance(called, HookCall)
        names = Digests.of(called, as_of_0_1=True)
        model = session.turns.account.model_of(called)
        turn = begin(session.ledger, Rules.of(called, names, Settings(), model).request)
        decide(turn, {index: _old_form(called.item(index)) for index in turn.undecided if index})


@pytest.mark.parametrize("shape", [gemini, responses, pointed])
async def test_a_conversation_of_version_0_1_goes_on_under_its_old_names(shape: Shape) -> None:
    """That version named items with what is left out now, and its decisions are still in force."""
    session = Session(Workers(shorten_all))
    stored_by_0_1(session, shape, 4)
    assert await session.outputs(shape(4)) == ("ssss", Event.TURN_CONTINUED)
    assert await session.outputs(shape(4)) == ("ssss", Event.TURN_REPEATED)
    assert await session.outputs(shape(5)) == ("sssss", Event.TURN_CONTINUED)


@pytest.mark.parametrize("shape", [gemini, responses, pointed])
async def test_an_edit_of_a_conversation_of_version_0_1_costs_itself_and_nothing_else(
    shape: Shape,
) -> None:
    session = Session(Workers(shorten_all))
    stored_by_0_1(session, shape, 5)
    assert await session.outputs(masked(shape(5), 2)) == ("ssmss", Event.TURN_EDITED)
    assert await session.outputs(masked(shape(6), 2)) == ("ssmsss", Event.TURN_CONTINUED)
    twice = masked(masked(shape(7), 2), 4)
    assert await session.outputs(twice) == ("ssmsmss", Event.TURN_EDITED)


async def test_a_second_call_under_the_same_id_gets_what_the_first_one_got() -> None:
    session = Session(Workers(shorten_all))
    stored_by_0_1(session, gemini, 4)
    first, second = [(await answered(session.turns, call(gemini(4), "r")))[0] for _ in range(2)]
    assert first.count(b'"short"') == 4
    assert second == first


async def test_names_that_did_not_change_do_not_tell_that_the_old_ones_are_in_use() -> None:
    """An answer that was made behind the daemon's back is no edit of a conversation as long."""

    def other(turns: int) -> tuple[str, Items]:
        key, items = pointed(turns)
        return key, items[:5] + json.loads(json.dumps(items[5:]).replace('"f"', '"g"'))

    session = Session(Workers(shorten_all))
    for n in range(5):
        await session.outputs(pointed(n))
    assert await session.outputs(other(3)) == ("sss", Event.TURN_CONTINUED)
    assert await session.outputs(other(5)) == ("oooos", Event.TURN_GAP)


async def test_an_edit_under_todays_names_is_not_looked_up_under_the_old_ones() -> None:
    """The newest answer was made under the names of today."""
    session = Session(Workers(shorten_all))
    stored_by_0_1(session, gemini, 3)
    for n in range(5):
        await session.outputs(gemini(n, signature="other"))
    edited = masked(gemini(5, signature="other"), 1)
    assert await session.outputs(edited) == ("smsss", Event.TURN_EDITED)


def _old_form(item: bytes) -> Form:
    """The item's output as one word."""
    slot: Any = ("output",)
    if b"functionResponse" in item:
        slot = ("parts", 0, "functionResponse", "response", "output")
    elif b"toolResult" in item:
        slot = ("content", 0, "toolResult", "content", 0, "text")
    edit = ProposedEdit(slot, "short", OUTPUT)
    return build(item, digest(item), [edit], lambda item: Target(item, b"", b""), 9)
