from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.aperture.test_slices import is_clean, json_values, spell, spellings
from tsheadroom.aperture import answer
from tsheadroom.aperture.call import (
    MAX_ITEMS,
    CallError,
    Envelope,
    HookCall,
    _parts_at_once,
    _parts_by_walk,
    read,
)
from tsheadroom.aperture.digests import Names, digest
from tsheadroom.aperture.names import Digests
from tsheadroom.aperture.walk import SplitError, Walk


def call_of(data: bytes) -> HookCall:
    call = read(data)
    assert isinstance(call, HookCall)
    return call


@given(
    st.dictionaries(
        st.text().filter(lambda k: k not in ("messages", "input", "contents")),
        json_values,
        max_size=4,
    ),
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant"]), "content": st.text()}
        ),
        min_size=1,
        max_size=5,
    ),
    spellings,
)
def test_a_splice_changes_nothing_but_what_it_replaces(
    rest: dict[str, object], messages: list[dict[str, str]], how: dict[str, object]
) -> None:
    body = {**rest, "messages": messages}
    if not is_clean(body):
        return
    data = spell({"metadata": {"model": "m"}, "request_body": body}, how)
    call = call_of(data)
    start, end = call.items[-1]
    new = b'{"role":"user","content":"new"}'
    got = answer.modify(call, [(start, end, new)])
    a, b = call.body
    assert got == b'{"action":"modify","request_body":' + data[a:start] + new + data[end:b] + b"}\n"
    assert json.loads(got)["request_body"] == {
        **body,
        "messages": [*messages[:-1], json.loads(new)],
    }


def test_reads_who_calls_and_what_the_model_made() -> None:
    call = call_of(
        json.dumps(
            {
                "metadata": {
                    "provider": "anthropic",
                    "model": "claude",
                    "session_id": None,
                    "new": [1],
                },
                "request_body": {
                    "messages": [
                        {"role": "user", "content": "x"},
                        {"role": "assistant", "content": "y"},
                    ]
                },
            }
        ).encode()
    )
    assert (call.metadata.provider, call.model) == ("anthropic", "claude")
    assert call.by_model == b"\0\1"


def test_the_model_falls_back_to_the_bodys_own() -> None:
    assert call_of(b'{"request_body":{"model":"m","messages":[]}}').model == "m"
    assert call_of(b'{"request_body":{"model":7,"messages":[]}}').model == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"[]",
        b"null",
        b'{"request_body":[]}',
        b'{"metadata":7,"request_body":{"messages":[]}}',
        b'{"metadata":{"model":7},"request_body":{"messages":[]}}',
        b'{"request_body":{"messages":[{"role":"user"}],"messages":[]}}',
        b'{"request_body":{"messages":[NaN]}}',
        b'{"request_body":{"messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
    ],
)
def test_what_is_no_call_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(CallError):
        read(data)


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"request_body":null}',
        b'{"request_body":{"prompt":"x"}}',
        b'{"request_body":{"messages":"x"}}',
        b'{"request_body":{"input":"x"}}',
    ],
)
def test_what_holds_no_conversation_is_an_envelope(data: bytes) -> None:
    assert isinstance(read(data), Envelope)


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


ODD_ITEMS = [
    b"null",
    b"1",
    b'"x"',
    b"[]",
    b'{"role":null}',
    b'{"role":7,"content":"x"}',
    b'{"role":"user","content":"caf\xe9"}',
    b'{"role":"us\xe9r","content":"x"}',
    b'{"role":"user","content":"\xed\xa0\x80"}',
    rb'{"role":"user","content":"a\ud800"}',
    b'{"role":"user","role":"user"}',
    b'{"role":"user","n":1e999}',
    b'{"role":"user","n":' + b"9" * 5000 + b"}",
    b'{"role":"user","v":' + deep(985) + b"}",
    b'{"role":"user","v":' + deep(5000) + b"}",
]


@pytest.mark.parametrize("odd", ODD_ITEMS)
@pytest.mark.parametrize("key", ["messages", "input", "contents"])
def test_an_item_that_cannot_be_read_is_an_item(odd: bytes, key: str) -> None:
    plain = b'{"role":"user","content":"b"}'
    data = b'{"request_body":{"%b":[%b,%b]}}' % (key.encode(), odd, plain)
    call = call_of(data)
    assert [call.item(0), call.item(1)] == [odd, plain]
    assert call.by_model == b"\0\0"
    assert len(set(Digests.of(call).names)) == 2


@pytest.mark.parametrize("content", [b'"caf\xe9"', rb'"\ud800"', deep(2000)])
def test_the_model_made_its_items_whatever_is_in_them(content: bytes) -> None:
    item = b'{"content":%b,"role":"assistant"}' % content
    assert call_of(b'{"request_body":{"messages":[%b]}}' % item).by_model == b"\1"


def test_items_are_counted_up_to_a_bound() -> None:
    body = b'{"request_body":{"messages":[' + b"1," * MAX_ITEMS + b"1]}}"
    call = call_of(body)
    assert call.is_cut
    assert len(call.items) == MAX_ITEMS == len(call.by_model)
    assert not call_of(body.replace(b"1,", b"", 1)).is_cut


@given(st.dictionaries(st.text(), json_values, max_size=4), st.lists(json_values, max_size=4))
def test_a_walk_takes_a_call_apart_in_the_same_way(
    more: dict[str, object], items: list[object]
) -> None:
    body = {**more, "messages": items}
    data = json.dumps({"metadata": {"model": "m"}, "request_body": body}).encode()
    walked = _parts_by_walk(Walk(data))
    try:
        at_once = _parts_at_once(data)
    except SplitError:  # a lone surrogate
        return
    assert (walked.outer, walked.inner) == (at_once.outer, at_once.inner)
    assert at_once.items["messages"] == walked.items["messages"]


def test_fingerprints_do_not_see_breakpoints() -> None:
    def prints(content: object) -> Digests:
        body = {"messages": [{"role": "user", "content": content}]}
        return Digests.of(call_of(json.dumps({"request_body": body}).encode()))

    plain = prints("x")
    marked = prints([{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}])
    assert plain.names == marked.names
    assert plain.canonical(0) is None
    assert marked.canonical(0) is not None


def digests_of(key: str, *items: object, as_of_0_1: bool = False) -> Digests:
    body = json.dumps({"request_body": {key: items}}).encode()
    return Digests.of(call_of(body), as_of_0_1=as_of_0_1)


def gemini_answer(signature: str | None, name: str, **more: object) -> dict[str, object]:
    said = {} if signature is None else {name: signature}
    call = {"functionCall": {"name": "f", "args": {"x": 1, **more}}}
    return {"role": "model", "parts": [{"text": "Let me look.", **said}, {**said, **call}]}


@pytest.mark.parametrize("name", ["thoughtSignature", "thought_signature"])
def test_an_answer_is_the_same_whatever_signature_it_carries(name: str) -> None:
    first, second, none = (
        digests_of("contents", gemini_answer(signature, name)) for signature in ("a", "b", None)
    )
    assert first.names == second.names == none.names
    assert (first.renamed, none.renamed) == (True, False)
    assert first.names != digests_of("contents", gemini_answer("a", name, y=2)).names
    assert first.names != digests_of("messages", gemini_answer("a", name)).names


def test_what_a_reasoning_item_encrypts_is_its_signature_and_a_compaction_is_content() -> None:
    def names(kind: str, encrypted: str, summary: str = "") -> Names:
        item = {"type": kind, "summary": summary, "encrypted_content": encrypted}
        return digests_of("input", item).names

    assert names("reasoning", "a") == names("reasoning", "b")
    assert names("reasoning", "a") != names("reasoning", "a", "said")
    assert names("compaction", "a") != names("compaction", "b")


def test_what_was_stored_under_signed_names_can_still_be_looked_up() -> None:
    answer = gemini_answer("a", "thoughtSignature")
    signed = digests_of("contents", {"role": "user"}, answer, as_of_0_1=True)
    assert list(signed.names) == [
        digest(json.dumps(item).encode()) for item in ({"role": "user"}, answer)
    ]
    assert signed.names[0] == digests_of("contents", {"role": "user"}).names[0]
