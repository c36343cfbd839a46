from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.aperture.test_slices import is_clean, json_values, spell, spellings
from tsheadroom.aperture import answer
from tsheadroom.aperture.call import CallError, Digests, Envelope, HookCall, read
from tsheadroom.aperture.digests import digest


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
    assert call.by_model == [False, True]


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
        b'{"request_body":{"messages":[1]}}',
        b'{"metadata":7,"request_body":{"messages":[]}}',
        b'{"metadata":{"model":7},"request_body":{"messages":[]}}',
        b'{"request_body":{"messages":[{"role":"user"}],"messages":[]}}',
        b'{"request_body":{"messages":[NaN]}}',
        b'{"request_body":{"messages":[{"role":7}]}}',
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


def test_an_item_with_a_lone_surrogate_is_odd_and_the_rest_is_not() -> None:
    odd, plain = rb'{"role":"user","content":"a\ud800"}', b'{"role":"user","content":"b"}'
    data = b'{"request_body":{"messages":[' + odd + b"," + plain + b"]}}"
    call = call_of(data)
    assert call.odd == {0}
    assert call.item(0) == odd


def test_fingerprints_do_not_see_breakpoints() -> None:
    def prints(content: object) -> Digests:
        body = {"messages": [{"role": "user", "content": content}]}
        return Digests.of(call_of(json.dumps({"request_body": body}).encode()))

    plain = prints("x")
    marked = prints([{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}])
    assert plain.names == marked.names
    assert plain.canonical == {}
    assert 0 in marked.canonical


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
    def names(kind: str, encrypted: str, summary: str = "") -> list[bytes]:
        item = {"type": kind, "summary": summary, "encrypted_content": encrypted}
        return digests_of("input", item).names

    assert names("reasoning", "a") == names("reasoning", "b")
    assert names("reasoning", "a") != names("reasoning", "a", "said")
    assert names("compaction", "a") != names("compaction", "b")


def test_what_was_stored_under_signed_names_can_still_be_looked_up() -> None:
    answer = gemini_answer("a", "thoughtSignature")
    signed = digests_of("contents", {"role": "user"}, answer, as_of_0_1=True)
    assert signed.names == [
        digest(json.dumps(item).encode()) for item in ({"role": "user"}, answer)
    ]
    assert signed.names[0] == digests_of("contents", {"role": "user"}).names[0]


@pytest.mark.parametrize(
    ("known", "bad", "refused"),
    [
        (0, 0, True),
        (1, 0, False),  # the same bytes as when they were checked
        (1, 1, True),
        (2, 1, False),
        (2, "metadata", True),
        (2, "end", True),
    ],
)
def test_text_is_checked_where_it_is_new(known: int, bad: int | str, refused: bool) -> None:
    items = [b'{"role":"user","content":"x"}', b'{"role":"user","content":"y"}']
    if isinstance(bad, int):
        items[bad] = b'{"role":"user","content":"\xff"}'
    outer = b"\xff" if bad == "metadata" else b""
    end = b"\xff" if bad == "end" else b""
    call = call_of(
        b'{"m":"%b","request_body":{"messages":[%b],"z":"%b"}}' % (outer, b",".join(items), end)
    )
    if refused:
        with pytest.raises(CallError):
            call.check_text(known, ())
    else:
        call.check_text(known, ())
        if bad == 0:
            with pytest.raises(CallError):
                call.check_text(known, [0])
