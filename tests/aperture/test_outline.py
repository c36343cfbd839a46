"""A call of which a part is recognised is taken apart as if nothing were known."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.aperture.test_slices import is_clean, json_values, spell, spellings
from tsheadroom.aperture import digests
from tsheadroom.aperture import outline as module
from tsheadroom.aperture.call import MAX_ITEMS, CallError, Envelope, HookCall, read, read_rest
from tsheadroom.aperture.digests import Moves
from tsheadroom.aperture.names import Digests, outline_of
from tsheadroom.aperture.outline import LEAST_BYTES, MAX_ALIKE, Found, Outlines
from tsheadroom.aperture.post_response import PostResponse

Body = dict[str, Any]
TIGHT = {"separators": (",", ":")}
LONG = "a long text " * (LEAST_BYTES // 12 + 1)


def body_of(*texts: str, key: str = "messages", **more: object) -> Body:
    """A body whose odd items are the model's."""
    roles = ("user", "assistant" if key != "contents" else "model")
    name = "parts" if key == "contents" else "content"
    items = [
        {"role": roles[i % 2], name: [{"text": text}] if key == "contents" else text}
        for i, text in enumerate(texts)
    ]
    return {"model": "m", key: items, **more}


def sent(body: Body, how: dict[str, Any] | None = None, **metadata: str) -> bytes:
    return spell({"metadata": {"model": "m", **metadata}, "request_body": body}, how or TIGHT)


def marked(body: Body, *at: int) -> Body:
    """The body with a breakpoint at these messages, which are lists of a text block then."""
    body = copy.deepcopy(body)
    for index in at:
        message = body["messages"][index]
        if isinstance(message.get("content"), str):
            block = {"type": "text", "text": message["content"]}
            message["content"] = [{**block, "cache_control": {"type": "ephemeral"}}]
    return body


def recognising(data: bytes, found: Found | None) -> HookCall | Envelope | PostResponse:
    """Take a call apart as a turn does."""
    return (read_rest(data, found) if found else None) or read(data)


def learn(outlines: Outlines, data: bytes) -> Found | None:
    """Take a call apart as a turn does. Returns the part that was known."""
    found = outlines.find(data)
    call = recognising(data, found)
    assert isinstance(call, HookCall)
    outlines.keep(outline_of(call, Digests.of(call)), call.known)
    return call.known


def known_items(outlines: Outlines, data: bytes) -> int:
    found = learn(outlines, data)
    return found.items if found else 0


def read_as_new(data: bytes, found: Found | None) -> None:
    """Check that a call is the same whether a part of it is known or not."""
    try:
        whole = read(data)
    except CallError as error:
        with pytest.raises(CallError, match="^" + str(error)[:20]):
            recognising(data, found)
        return
    call = recognising(data, found)
    if not isinstance(whole, HookCall):
        assert call == whole
        return
    assert isinstance(call, HookCall)
    for name in ("metadata", "body", "members", "shape", "conversation", "by_model"):
        assert getattr(call, name) == getattr(whole, name), name
    assert list(call.items) == list(whole.items)
    assert (call.is_cut, call.is_utf8) == (whole.is_cut, whole.is_utf8)
    some, every = Digests.of(call), Digests.of(whole)
    assert some.names == every.names
    assert (some.renamed, some.spaced) == (every.renamed, every.spaced)
    for index in range(len(whole.items)):
        canonical = every.canonical(index)
        assert some.moves(index) == (canonical.moves if canonical else None)
        assert some.canonical(index) == canonical
    older = Digests.of(call, as_of_0_1=True)
    assert older.names == Digests.of(whole, as_of_0_1=True).names


texts = st.text(max_size=12).filter(is_clean) | st.sampled_from(
    ['"messages":[{', '"cache_control"', "]", "},{", "\\", LONG]
)
blocks = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts})
    | st.fixed_dictionaries(
        {"type": st.just("text"), "text": texts, "cache_control": json_values.filter(is_clean)}
    )
    | st.just({"cachePoint": {"type": "default"}})
    | st.just({"thoughtSignature": "abc", "text": "x"}),
    max_size=3,
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "model", "tool"]), "content": texts | blocks}
) | st.just({"type": "reasoning", "encrypted_content": "xyz", "summary": []})
more_members = st.dictionaries(
    st.sampled_from(["model", "tools", "system", "a", "z", "input", "contents"]),
    json_values.filter(is_clean),
    max_size=3,
)


@settings(max_examples=300)
@given(st.data())
def test_what_is_known_makes_no_difference(data: st.DataObject) -> None:
    draw = data.draw
    key = draw(st.sampled_from(["messages", "input", "contents"]))
    how: dict[str, Any] = draw(spellings)
    items = [{"role": "user", "content": LONG}, *draw(st.lists(messages, max_size=6))]
    outlines = Outlines()
    for _ in range(draw(st.integers(1, 4))):
        members = list(draw(more_members).items())
        at = draw(st.integers(0, len(members)))
        body = dict([*members[:at], (key, items), *members[at:]])
        call = sent(body, how)
        read_as_new(call, outlines.find(call))
        if isinstance(read(call), HookCall):
            learn(outlines, call)
        match draw(st.sampled_from(["on", "on", "edit", "cut", "respell", "swap", "reading"])):
            case "edit":
                items[draw(st.integers(0, len(items) - 1))] = draw(messages)
            case "cut":
                del items[draw(st.integers(1, len(items))) :]
            case "respell":
                how = draw(spellings)
            case "swap":
                items.reverse()
            case _:
                pass
        items = [*items, *draw(st.lists(messages, max_size=3))]


SPACES = st.sampled_from(["", "", "", " ", "\n\t "])
ODD_ITEMS = st.sampled_from(
    [
        '{"role":"user","content":"x"}',
        '{"role": "assistant", "content": "x"}',
        '{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"e"}}]}',
        '{"role": "user", "content": [{"type": "text", "text": "x"}]}',
        '{"messages":[{"role":"user","content":"x"}]}',
        '{"role":"user","role":"assistant"}',
        '{"type":"compaction","encrypted_content":"x"}',
        *("1", "12", "-0", '"messages"', '"cachePoint"', "null", "[]", "[{}]", '"\\ud800"', "01"),
    ]
)
ODD_MEMBERS = st.sampled_from(
    ['"model":"m"', '"input":[{"role":"user"}]', '"messages":[{}]', '"tools":{"messages":[{}]}']
)
METADATA = st.sampled_from(
    [
        '"metadata":{}',
        '"response_body":{"a":1}',
        '"metadata":{"estimated_cost":{"dollars":1,"usage":{"output_tokens":5}}}',
    ]
)


@settings(max_examples=300)
@given(st.data())
def test_odd_bytes_make_no_difference_wherever_they_are_cut(data: st.DataObject) -> None:
    """Items that are no objects, keys that come again, events, spaces wherever they may be."""

    def joined(parts: list[str]) -> str:
        return ",".join(draw(SPACES) + part + draw(SPACES) for part in parts)

    draw, outlines = data.draw, Outlines()
    items = ['{"role":"user","content":"x"}', *draw(st.lists(ODD_ITEMS, max_size=4))]
    with mock.patch.object(module, "LEAST_BYTES", 8), mock.patch.object(digests, "LOOK_BYTES", 64):
        for _ in range(draw(st.integers(2, 4))):
            members = draw(st.lists(ODD_MEMBERS, max_size=2))
            members.insert(draw(st.integers(0, len(members))), f'"messages":[{joined(items)}]')
            outer = [f'"request_body":{{{joined(members)}}}']
            outer.insert(draw(st.integers(0, 1)), draw(METADATA))
            call = f"{{{joined(outer)}}}".encode()
            read_as_new(call, outlines.find(call))
            with contextlib.suppress(CallError):
                if isinstance(read(call), HookCall):
                    learn(outlines, call)
            if draw(st.booleans()):
                items = items[: draw(st.integers(1, len(items)))]
            items = [*items, *draw(st.lists(ODD_ITEMS, max_size=2))]


@settings(max_examples=300)
@given(st.binary(max_size=6), st.floats(0, 1), st.integers(0, 6))
def test_bytes_that_were_changed_are_read_as_new(new: bytes, where: float, less: int) -> None:
    outlines = Outlines()
    call = sent(body_of(LONG, "b", "c", "d"))
    learn(outlines, call)
    later = sent(body_of(LONG, "b", "c", "d", "e"))
    at = int(where * len(later))
    changed = later[:at] + new + later[at + less :]
    read_as_new(changed, outlines.find(changed))


def test_a_conversation_that_goes_on_is_known_up_to_its_end() -> None:
    outlines = Outlines()
    assert known_items(outlines, sent(body_of(LONG, "b", "c"))) == 0
    assert known_items(outlines, sent(body_of(LONG, "b", "c", "d", "e"))) == 3
    assert known_items(outlines, sent(body_of(LONG, "b", "c", "d", "e", "f"))) == 5
    assert known_items(outlines, sent(body_of(LONG, "b", "c", "d", "e", "f"))) == 6
    assert len(outlines) == 1


@pytest.mark.parametrize("key", ["messages", "input", "contents"])
def test_every_shape_is_known_wherever_its_conversation_stands(key: str) -> None:
    outlines = Outlines()
    first, then = body_of(LONG, "b", key=key), body_of(LONG, "b", "c", key=key)
    learn(outlines, sent({"system": "s", **first, "tools": [{"name": "x" * 20_000}]}))
    assert known_items(outlines, sent({**then, "system": "another one"})) == 2
    assert known_items(outlines, sent(dict(reversed(then.items())), login_name="b")) == 3


def test_breakpoints_that_move_are_behind_what_is_known() -> None:
    outlines = Outlines()
    texts = [LONG, "b", "c", "d", "e", "f", "g"]
    learn(outlines, sent(marked(body_of(*texts[:3]), 0, 2)))
    assert known_items(outlines, sent(marked(body_of(*texts[:5]), 2, 4))) == 0
    assert known_items(outlines, sent(marked(body_of(*texts), 4, 6))) == 2
    assert known_items(outlines, sent(marked(body_of(*texts, "h", "i"), 6, 8))) == 4


def test_breakpoints_that_stay_are_known_too() -> None:
    outlines = Outlines()
    texts = [LONG, "b", "c", "d", "e", "f", "g"]
    learn(outlines, sent(marked(body_of(*texts[:3]), 0)))
    assert known_items(outlines, sent(marked(body_of(*texts[:5]), 0))) == 3
    outlines = Outlines()
    learn(outlines, sent(marked(body_of(*texts[:5]), 0, 2, 4)))
    assert known_items(outlines, sent(marked(body_of(*texts), 0, 4, 6))) == 2


def test_a_client_that_changes_what_it_sent_last_is_known_up_to_there() -> None:
    outlines = Outlines()
    learn(outlines, sent(body_of(LONG, "b", "c")))
    learn(outlines, sent(body_of(LONG, "b", "c", "d", "once")))
    assert known_items(outlines, sent(body_of(LONG, "b", "c", "d", "twice"))) == 3


def test_conversations_that_begin_alike_do_not_push_each_other_out() -> None:
    outlines = Outlines()
    for turn in range(4):
        for agent in ("a", "b", "c"):
            texts = [LONG, "go", *(f"{agent}{at}" for at in range(2 * turn + 2))]
            known = known_items(outlines, sent(body_of(*texts)))
            assert known == (2 * turn + 2 if turn else 0)
    assert len(outlines) == 3


def test_agents_that_leave_a_conversation_in_its_middle_do_not_stop_it() -> None:
    outlines = Outlines()
    texts = [LONG, *"bcdefghi"]
    learn(outlines, sent(body_of(*texts[:3])))
    learn(outlines, sent(body_of(*texts[:5])))
    assert known_items(outlines, sent(body_of(*texts[:3], "x", "y"))) == 3
    assert known_items(outlines, sent(body_of(*texts[:7]))) == 5
    assert known_items(outlines, sent(body_of(*texts[:3], "x", "y", "z"))) == 5


def test_only_the_latest_of_those_that_are_alike_are_looked_at() -> None:
    outlines = Outlines()
    calls = [sent(body_of(LONG, f"agent {i}")) for i in range(MAX_ALIKE + 1)]
    for call in calls:
        learn(outlines, call)
    assert outlines.find(calls[0]) is None
    assert outlines.find(calls[1]) is not None


def test_where_texts_stand_in_items_that_are_spelled_otherwise_is_worked_out_once() -> None:
    def listed(*texts: str) -> bytes:
        body = body_of(*texts)
        for message in body["messages"]:
            message["content"] = [{"type": "text", "text": message["content"]}]
        return sent(body)

    outlines = Outlines()
    texts = [LONG, "b", "c", "d", "e", "f", "g", "h"]
    asked_for: dict[int, Moves] = {}
    for turn in range(3):
        data = listed(*texts[: 3 + 2 * turn])
        call = recognising(data, outlines.find(data))
        assert isinstance(call, HookCall)
        digests = Digests.of(call)
        outlines.keep(outline_of(call, digests), call.known)
        assert digests.known_moves == asked_for
        for index in (0, len(call.items) - 1):  # as the splice asks, after the outline was drawn
            moves = digests.moves(index)
            assert moves is not None
            asked_for[index] = moves
    other = listed(*texts[:5], "another", "x")
    found = outlines.find(other)
    assert found is not None
    assert found.moves == {i: moves for i, moves in asked_for.items() if i < found.items}


def test_what_was_not_used_for_longest_goes_first() -> None:
    outlines = Outlines()
    calls = [sent(body_of(f"{i} {LONG}", "b")) for i in range(3)]
    learn(outlines, calls[0])
    outlines = Outlines(int(2.5 * outlines.bytes))
    for call in (calls[0], calls[1], calls[0], calls[2]):
        learn(outlines, call)
    assert [outlines.find(call) is not None for call in calls] == [True, False, True]
    assert len(outlines) == 2


def test_memory_is_counted_back_when_outlines_go() -> None:
    outlines = Outlines(1)
    for i in range(3):
        learn(outlines, sent(body_of(f"{i} {LONG}", "b")))
        learn(outlines, sent(body_of(f"{i} {LONG}", "b", "c", "d")))
    assert len(outlines) == 1
    (left,) = outlines._used
    assert outlines.bytes == left.size
    assert {pair[1] for alike in outlines._by_half.values() for pair in alike} == {left}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "x"}]},  # too short
        {"messages": []},
        {"prompt": LONG},
        {"messages": ["x", {"role": "user", "content": LONG}]},  # it does not begin with a message
    ],
)
def test_what_is_not_worth_it_is_not_recognised(body: Body) -> None:
    outlines = Outlines()
    data = sent(body)
    call = read(data)
    if isinstance(call, HookCall):
        outlines.keep(outline_of(call, Digests.of(call)), None)
    assert outlines.find(data) is None


def test_no_outline_is_kept_of_bytes_that_are_no_utf8() -> None:
    call = read(sent(body_of(LONG, "b")).replace(b'"b"', b'"\xff"'))
    assert isinstance(call, HookCall)
    assert outline_of(call, Digests.of(call)) is None


def test_a_call_with_too_many_items_is_cut_whatever_is_known() -> None:
    outlines = Outlines()
    few = [LONG, *["x"] * (MAX_ITEMS - 2)]
    assert known_items(outlines, sent(body_of(*few))) == 0
    many = sent(body_of(*few, "y", "z"))
    read_as_new(many, outlines.find(many))
    call = recognising(many, outlines.find(many))
    assert isinstance(call, HookCall)
    assert call.is_cut
    assert outline_of(call, Digests.of(call)) is None


def test_another_array_of_the_same_name_may_stand_before_the_conversation() -> None:
    outlines = Outlines()
    tools = [{"name": "t", "examples": {"input": [{"a": 1}]}}]
    learn(outlines, sent({"tools": tools, **body_of(LONG, "b")}))
    assert known_items(outlines, sent({"tools": tools, **body_of(LONG, "b", "c")})) == 2


def test_a_known_beginning_elsewhere_in_the_call_is_no_conversation() -> None:
    outlines = Outlines()
    body = body_of(LONG, "b")
    learn(outlines, sent(body))
    later = sent({"tools": {"messages": body["messages"]}, **body_of("another", "b", "c")})
    assert outlines.find(later) is not None
    read_as_new(later, outlines.find(later))
    call = recognising(later, outlines.find(later))
    assert isinstance(call, HookCall)
    assert call.known is None


def test_a_number_that_goes_on_is_another_item() -> None:
    outlines = Outlines()
    first = {"role": "user", "content": LONG}
    learn(outlines, sent({"messages": [first, 1]}))
    assert outlines.find(sent({"messages": [first, 1]})) is not None
    later = sent({"messages": [first, 12]})
    assert outlines.find(later) is None
    read_as_new(later, None)


@pytest.mark.parametrize("end", [b"}", b",]}", b"]]}", b',{"role":"user"}}', b"]},", b""])
def test_malformed_json_behind_what_is_known_is_refused(end: bytes) -> None:
    outlines = Outlines()
    call = sent(body_of(LONG, "b"))
    learn(outlines, call)
    broken = call[: call.rindex(b"]")] + end
    with pytest.raises(CallError):
        recognising(broken, outlines.find(broken))


def test_no_bytes_of_a_conversation_are_kept() -> None:
    outlines = Outlines()
    learn(outlines, sent(body_of(LONG, "secret")))
    kept = json.dumps([repr(outline) for outline in outlines._used])
    assert "secret" not in kept
    assert "a long text" not in kept
    assert sum(outline.size for outline in outlines._used) < module.LEAST_BYTES
