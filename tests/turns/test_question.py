from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.conversation import TRACES, Body, call, messages_of, turns
from tests.conversations.asking import begin, decide
from tsheadroom.aperture.call import HookCall, read
from tsheadroom.aperture.names import Digests
from tsheadroom.child import protocol
from tsheadroom.conversations import forms as decisions
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.conversations.prefixes import Request
from tsheadroom.conversations.turn import Turn
from tsheadroom.settings import Settings
from tsheadroom.turns.items import Items
from tsheadroom.turns.question import BATCH_BYTES, Question
from tsheadroom.workers.messages import EditMessage as Edit
from tsheadroom.workers.messages import FormMessage as Form
from tsheadroom.workers.messages import PointerMessage as Pointer
from tsheadroom.workers.messages import Reply

CONFIG: dict[str, Any] = msgspec.to_builtins(Settings())
OUTPUT = "\n".join(f"line {n} of an output that is long enough" for n in range(40))
USE = [
    {"type": "tool_use", "id": name, "name": "Bash", "input": {"command": name}} for name in "ab"
]


def body(*outputs: str) -> Body:
    results = [
        {"type": "tool_result", "tool_use_id": name, "content": text}
        for name, text in zip("ab", outputs, strict=False)
    ]
    return {
        "messages": [{"role": "assistant", "content": USE}, {"role": "user", "content": results}]
    }


class Desk:
    """A ledger and the question of each request that is put on it."""

    def __init__(self) -> None:
        self.ledger = Conversations(directory=None)
        self.ledger.open()

    def __call__(self, sent: Body, config: dict[str, Any] | None = None) -> tuple[Turn, Question]:
        data = read(call(sent))
        assert isinstance(data, HookCall)
        digests = Digests.of(data)
        cached = "cache" in str(sent)
        request = Request(b"", digests.names, data.by_model, has_prefix_cache=lambda: cached)
        turn = begin(self.ledger, request)
        return turn, Question(Items(data, digests), turn, config or CONFIG)


def asked(question: Question) -> dict[str, Any]:
    """The payload of the first call."""
    stop = question.stops()[0]
    payload: dict[str, Any] = json.loads(question.delta(stop) or question.whole(stop))
    return payload


def test_a_payload_has_context_and_items_at_first_sight() -> None:
    turn, question = Desk()(body(OUTPUT, "short"), {"folds": True})
    payload = asked(question)
    assert (payload["conversation"], payload["base"], payload["frozen"]) == (turn.name, 0, 1)
    assert payload["config"] == {"folds": True}
    use, result = payload["messages"]
    assert (use["context"], use["role"]) == (True, "assistant")
    assert use["parts"][0] == {
        "kind": "tool_use", "call": "a", "name": "Bash", "input": {"command": "a"},
    }  # fmt: skip
    assert (result["context"], result["role"]) == (False, "user")
    assert result["parts"][0] == {
        "kind": "tool_result", "slot": ["content", 0, "content"], "text": OUTPUT,
        "call": "a", "error": False,
    }  # fmt: skip


def test_nothing_is_asked_about_prose_or_crumbs() -> None:
    assert not Desk()(body("short", "short"))[1].candidates
    prose = {"messages": [{"role": "user", "content": OUTPUT}]}
    assert not Desk()(prose)[1].candidates
    assert Desk()(prose, {"lossy": True})[1].candidates


def test_the_next_turn_sends_only_what_the_worker_does_not_hold() -> None:
    desk = Desk()
    first = {"messages": body(OUTPUT)["messages"], "cache": True}
    turn, question = desk(first)
    payload = asked(question)
    form = Form(1, [Edit(["content", 0, "content"], "short")], tokens_saved=5)
    question.accept(Reply(forms=[form]))
    decide(turn, question.taken)
    more = [
        {"role": "assistant", "content": [{**USE[1], "id": "c"}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c", "content": OUTPUT}],
        },
    ]
    turn, question = desk({**first, "messages": [*first["messages"], *more]})
    later = asked(question)
    assert (later["base"], later["frozen"], len(later["messages"])) == (2, 0, 2)
    # The chain is what the worker computes from what it was sent and what it proposed.
    token = protocol.form_token([(["content", 0, "content"], "short")])
    prefix = protocol.chain(
        bytes.fromhex(payload["prefix"]), payload["messages"][1]["digest"], token
    )
    assert later["prefix"] == prefix.hex()
    whole = json.loads(question.whole(4))
    assert [item["context"] for item in whole["messages"]] == [True, True, True, False]
    assert whole["messages"][1]["parts"][0]["text"] == "short"  # as forwarded


def pointer(**changes: Any) -> Pointer:
    right = {
        "item": 1, "slot": ["content", 0, "content"], "call": "a", "first": 0, "count": 40,
        "of": 0, "name": 'Bash "a"',
    }  # fmt: skip
    return Pointer(**{**right, **changes})


def edit(text: str, slot: list[Any] | None = None, **more: Any) -> list[Edit]:
    return [Edit(slot or ["content", 1, "content"], text, **more)]


REFUSED: dict[str, Callable[[], Form]] = {
    "an item that is context": lambda: Form(0, edit("x")),
    "an item that is not there": lambda: Form(7, edit("x")),
    "a text that is not there": lambda: Form(1, edit("x", ["content", 9, "content"])),
    "something that is no text": lambda: Form(1, edit("x", ["content", 1])),
    "no edits": lambda: Form(1, []),
    "more bytes than before": lambda: Form(1, edit(OUTPUT + "x")),
    "as many bytes as before": lambda: Form(1, edit("x" * (len(OUTPUT) + OUTPUT.count("\n")))),
    "more bytes once it is escaped": lambda: Form(1, edit('"' * (len(OUTPUT) - 10))),
    "a marker of Headroom": lambda: Form(1, edit("[9 lines. Retrieve more: hash=0123456789ab]")),
    "another one": lambda: Form(1, edit("<<ccr:abc,base64,1KB>>")),
    "a pointer to other lines": lambda: Form(1, edit("x", pointers=[pointer(first=1, count=39)])),
    "a pointer to nothing": lambda: Form(1, edit("x", pointers=[pointer(item=0)])),
    "a pointer ahead": lambda: Form(1, edit("x", pointers=[pointer(item=5)])),
    "a pointer that is not in the text": lambda: Form(1, edit("x", pointers=[pointer()])),
}


@pytest.mark.parametrize("proposed", REFUSED.values(), ids=REFUSED)
def test_what_a_worker_may_not_do_is_refused(proposed: Callable[[], Form]) -> None:
    turn, question = Desk()(body(OUTPUT, OUTPUT))
    asked(question)
    question.accept(Reply(forms=[proposed()]))
    assert question.taken == {}
    assert question.refused == 1
    assert turn.held == 0  # the worker holds something else: next time it gets all of it


@pytest.mark.parametrize("compacted", [False, True])
def test_a_pointer_behind_a_compaction_is_refused(compacted: bool) -> None:
    first, second = body(OUTPUT)["messages"], body(OUTPUT)["messages"]
    use = {**USE[0], "id": "b"}
    second[0]["content"] = (
        [{"type": "compaction", "content": "so far"}, use] if compacted else [use]
    )
    second[1]["content"][0]["tool_use_id"] = "b"
    _, question = Desk()({"messages": [*first, *second]})
    asked(question)
    text = '[same output as Bash "a" above]'
    slot = ["content", 0, "content"]
    question.accept(Reply(forms=[Form(3, edit(text, slot, pointers=[pointer()]))]))
    assert question.refused == compacted


def test_a_text_that_talks_about_markers_may_be_shortened() -> None:
    said = "docs: Retrieve original: hash=0123456789\n" + OUTPUT
    _, question = Desk()(body(OUTPUT, said))
    asked(question)
    question.accept(Reply(forms=[Form(1, edit("docs: Retrieve original: hash=0123456789"))]))
    assert list(question.taken) == [1]


def test_a_target_that_changed_makes_its_pointers_fall() -> None:
    digests = [b"one", b"two"]
    shorter = decisions.Form(b"s" * 16, (), (), 0)
    target = decisions.Target(0, b"one", b"")
    form = decisions.Form(b"f" * 16, (), (target,), 0)
    assert decisions.stands(form, digests, {1: form})
    assert not decisions.stands(form, [b"edited", b"two"], {1: form})
    assert not decisions.stands(form, digests, {0: shorter, 1: form})
    assert not decisions.stands(form, [], {})


def test_a_conversation_that_comes_all_at_once_is_cut_into_calls() -> None:
    from tsheadroom.child import environment, held

    environment.apply()
    from tsheadroom.child.compress.compressor import Compressor

    longest = max(TRACES, key=lambda path: path.stat().st_size)
    messages = []
    for copy in range(4):  # the ids of one copy must not answer the calls of another
        text = json.dumps(messages_of(longest)).replace("toolu_", f"toolu_{copy}_")
        messages += json.loads(text)
    turn, question = Desk()({"messages": messages})
    stops = question.stops()
    assert len(stops) >= sum(map(len, map(str, messages))) // BATCH_BYTES // 2
    assert stops[-1] == len(messages)
    child = held.HeldConversations(Compressor({}))
    for number, stop in enumerate(stops):
        delta = question.delta(stop)
        assert (delta is None) == (number == 0)
        result = child.turn(json.loads(delta or question.whole(stop)))

        question.accept(msgspec.convert(result, Reply))
    assert not question.refused
    assert turn.held == len(messages)
    # Later copies repeat earlier ones, over the borders of the calls.
    quarter = len(messages) // 4
    assert sum(index >= 3 * quarter for index in question.taken) > 20


def test_every_recorded_form_is_proven_at_every_turn() -> None:
    """The proof that a splice asks for holds on all turns of a real conversation."""
    from tsheadroom.child import environment, held

    environment.apply()

    from tsheadroom.child.compress.compressor import Compressor

    child = held.HeldConversations(Compressor({}))
    desk = Desk()
    pointers = 0
    for sent in turns(max(TRACES, key=lambda path: path.stat().st_size)):
        turn, question = desk(sent)
        if question.candidates:
            result = child.turn(asked(question))
            question.accept(msgspec.convert(result, Reply))
        assert not question.refused
        decide(turn, question.taken)
        for form in turn.forms.values():
            assert decisions.stands(form, turn.request.digests, turn.forms)
            pointers += len(form.targets)
    assert pointers > 20
