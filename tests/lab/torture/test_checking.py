"""Each promise that an answer can break is noticed when it is broken, and only then."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from scripts.lab.torture.checking import ALLOW, Break, Checker, Excuse, Finding, Provider
from scripts.lab.torture.conversations import SHAPES, Conversation, Request, mark

FILE = "\n".join(f"{n:6}→value_{n} = compute({n}, scale={n * 7})" for n in range(1, 61))
ROWS = json.dumps([{"name": f"row {n}", "size": n} for n in range(30)], indent=2)
OWN = mark(1).encode()
Change = Callable[[list[Any]], None]


def tool(call: str, name: str, inputs: Any, text: str) -> list[Any]:
    use = {"type": "tool_use", "id": call, "name": name, "input": inputs}
    result = {"type": "tool_result", "tool_use_id": call, "content": text}
    return [
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]


MESSAGES = [
    {"role": "user", "content": "Look around."},
    *tool("t1", "Bash", {"command": "rows"}, ROWS),
    *tool("t2", "Read", {"file_path": "a.py"}, FILE),
    *tool("t3", "Read", {"file_path": "a.py"}, FILE),
    {"role": "assistant", "content": "done"},
    {"role": "user", "content": "Thanks."},
    {"role": "assistant", "content": "ok"},
]
# Where the outputs of the three calls stand, behind the opening and the model's greeting.
JSON_AT, FIRST_AT, AGAIN_AT = 4, 6, 8


def conversation() -> Conversation:
    talk = Conversation(MESSAGES, SHAPES[0], 1, "one@example.com")
    # The words' marks would be in the way of what is written below.
    talk.items = [json.loads(json.dumps(item).replace(OWN.decode(), "")) for item in talk.items]
    return talk


def output(items: list[Any], at: int) -> Any:
    return items[at]["content"][0]


def minified(items: list[Any]) -> None:
    output(items, JSON_AT)["content"] = json.dumps(json.loads(ROWS), separators=(",", ":"))


def folded(items: list[Any]) -> None:
    output(items, AGAIN_AT)["content"] = "[same output as Read a.py above]"


def both(items: list[Any]) -> None:
    minified(items)
    if len(items) > AGAIN_AT:
        folded(items)


def answer(request: Request, change: Change | None) -> bytes:
    """The hook's answer to a request: what it makes of the items, in the client's own bytes."""
    if change is None:
        return ALLOW
    body = json.loads(request.body)
    change(body[request.key])
    return (
        b'{"action":"modify","request_body":%s}'
        % json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    )


def requests() -> list[Request]:
    return list(conversation().requests())


def kinds(findings: list[Finding]) -> list[Break]:
    return [finding.kind for finding in findings]


LAST = 4  # the request in which all outputs stand


def first_sight(change: Change) -> list[Break]:
    """What is found in an answer to the last request, which the provider has never seen."""
    request = requests()[LAST]
    return kinds(Provider(Checker(), OWN).answered(request, answer(request, change)))


def test_right_forms_are_no_break() -> None:
    assert first_sight(both) == []
    assert first_sight(lambda items: None) == []


def set_text(at: int, text: str) -> Change:
    def change(items: list[Any]) -> None:
        output(items, at)["content"] = text

    return change


def speak_for_the_model(items: list[Any]) -> None:
    items[1]["content"] = "o"


def speak_for_the_user(items: list[Any]) -> None:
    items[2]["content"] = "Look"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (set_text(JSON_AT, ROWS.replace("row 7", "row")), Break.LOST),
        (set_text(FIRST_AT, FILE.rpartition("\n")[0]), Break.LOST),
        (set_text(AGAIN_AT, "[same output as Read b.py above]"), Break.DANGLING),
        (set_text(FIRST_AT, "[same output as Read a.py above]"), Break.DANGLING),
        (set_text(JSON_AT, ROWS + " "), Break.LONGER),
        (speak_for_the_model, Break.NOT_A_TOOLS),
        (speak_for_the_user, Break.NOT_A_TOOLS),
        (set_text(FIRST_AT, "Retrieve original: hash=0123456789ab"), Break.MARKER),
        (lambda items: items.pop(), Break.BODY),
        (lambda items: items[0].update(role="system"), Break.NOT_A_TOOLS),
    ],
)
def test_a_wrong_answer_is_noticed(change: Change, expected: Break) -> None:
    assert expected in first_sight(change)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"action":"deny"}',
        b'{"action":"modify"}',
        b'{"action":"modify","request_body":null}',
        b'{"action":"modify","request_body":{"messages":',
    ],
)
def test_what_is_no_answer_is_noticed(body: bytes) -> None:
    assert kinds(Provider(Checker(), OWN).answered(requests()[LAST], body)) in (
        [Break.ACTION],
        [Break.BODY],
    )


def test_words_of_another_caller_are_noticed() -> None:
    request = requests()[LAST]
    body = answer(request, set_text(FIRST_AT, mark(2)))
    assert Break.LEAKED in kinds(Provider(Checker(), OWN).answered(request, body))
    own = answer(request, set_text(FIRST_AT, mark(1)))
    assert Break.LEAKED not in kinds(Provider(Checker(), OWN).answered(request, own))


def test_other_bytes_of_the_body_are_noticed() -> None:
    request = requests()[LAST]
    body = answer(request, minified).replace(b'"max_tokens":32000', b'"max_tokens":32000.0')
    assert kinds(Provider(Checker(), OWN).answered(request, body)) == [Break.BODY]


def test_a_form_that_is_taken_back_is_noticed() -> None:
    first, second = requests()[2:4]
    provider = Provider(Checker(), OWN)
    assert provider.answered(first, answer(first, minified)) == []
    assert kinds(provider.answered(second, ALLOW)) == [Break.PREFIX]


def test_a_form_of_what_went_out_as_it_came_is_noticed() -> None:
    first, second = requests()[2:4]
    provider = Provider(Checker(), OWN)
    assert provider.answered(first, ALLOW) == []
    assert kinds(provider.answered(second, answer(second, minified))) == [Break.FORM_AFTER_GAP]


def test_after_a_missed_answer_the_originals_must_go_on() -> None:
    first, second, third = requests()[2:5]
    for goes_on, expected in ((None, []), (minified, [Break.FORM_AFTER_GAP])):
        provider = Provider(Checker(), OWN)
        provider.answered(first, answer(first, minified))
        provider.missed(second, Excuse.DOWN)
        assert kinds(provider.answered(third, answer(third, goes_on))) == expected
        assert provider.broken == 1  # by the originals of the second one
        assert provider.excuses == {Excuse.DOWN: 1}


def test_what_the_kernel_took_may_count_as_taken_once() -> None:
    first, second, third, fourth = requests()[2:6]
    provider = Provider(Checker(), OWN)
    provider.answered(first, answer(first, minified))
    provider.unsure(second, Excuse.NOT_TAKEN)
    assert provider.answered(third, answer(third, minified)) == []
    assert provider.excuses == {Excuse.NOT_TAKEN: 1, Excuse.UNHEARD: 1}
    assert kinds(provider.answered(fourth, ALLOW)) == [Break.PREFIX]


def test_a_lost_memory_excuses_originals_once_and_nothing_else() -> None:
    first, second, third = requests()[2:5]
    provider = Provider(Checker(), OWN)
    provider.answered(first, answer(first, minified))
    provider.forget()
    assert provider.answered(second, ALLOW) == []
    assert kinds(provider.answered(third, answer(third, minified))) == [Break.FORM_AFTER_GAP]


def test_rewrites_are_excused_only_where_they_are_allowed() -> None:
    first, second = requests()[3:5]
    for allowed in (False, True):
        provider = Provider(Checker(rewrites=allowed), OWN)
        provider.answered(first, ALLOW)
        later = answer(second, set_text(FIRST_AT, "[This earlier view of a.py is below.]"))
        assert (provider.answered(second, later) == []) is allowed
    assert provider.excuses == {Excuse.REWRITTEN: 1}


def test_lossy_may_leave_something_out_and_never_point_to_nothing() -> None:
    request = requests()[LAST]
    provider = Provider(Checker(lossy=True), OWN)
    assert provider.answered(request, answer(request, set_text(FIRST_AT, "[60 lines]"))) == []
    dangling = answer(request, set_text(AGAIN_AT, "[same output as Read b.py above]"))
    assert kinds(Provider(Checker(lossy=True), OWN).answered(request, dangling)) == [Break.DANGLING]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_shape_is_read_for_what_a_tool_said(shape: Any) -> None:
    """A tool's output may become shorter in each, and a line of it may not get lost."""
    talk = Conversation(MESSAGES, shape, 1, "one@example.com")
    request = talk.request(len(talk) - 1)
    numbers = {n for n, item in enumerate(request.items) if "scale=" in json.dumps(item)}
    assert len(numbers) == 2
    at = min(numbers)
    text = next(t for t in texts(request.items[at]) if "scale=" in t)
    changed: list[tuple[str, list[Break]]] = [
        (text.replace("     1→", "1→"), []),
        (text[: text.rindex("\n")], [Break.LOST]),
    ]
    for new, expected in changed:
        old_bytes, new_bytes = (json.dumps(t, ensure_ascii=False).encode() for t in (text, new))
        body = request.body.replace(old_bytes, new_bytes, 1)
        assert body != request.body
        modify = b'{"action":"modify","request_body":%s}' % body
        assert kinds(Provider(Checker(), talk.mark).answered(request, modify)) == expected


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in texts(one)]
