"""The study with a scripted provider: what is sent, what is compared, and how long it waits."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from scripts.lab import agreement
from scripts.lab.agreement_provider import ATTEMPTS, Action, Provider, ProviderRefused, action_of
from scripts.lab.agreement_turns import RecordedTurn, sample
from tests.simulate import made
from tsheadroom.child import environment

os.environ.update(environment.OFFLINE)
os.environ["TIKTOKEN_CACHE_DIR"] = str(environment.find_tokenizers())

FOLDS_ONLY = ["--set", "gutter=false,lossless=false"]
POINTER = "[same output as Read a.py above]"
READ = {"type": "tool_use", "id": "x", "name": "Read", "input": {"file_path": "/w/b.py"}}
Reply = Callable[[dict[str, Any]], web.Response]


class Scripted:
    """A provider that answers what it is told to, and keeps what it was sent."""

    def __init__(self, url: str, heard: list[tuple[Any, dict[str, Any]]]) -> None:
        self.heard = heard  # headers and body of each request
        self.url = url
        self.slept: list[float] = []
        self.reply: Reply = lambda body: answer(READ)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def answer(*blocks: dict[str, Any]) -> web.Response:
    return web.json_response({"role": "assistant", "content": list(blocks)})


@pytest.fixture
async def provider() -> AsyncIterator[Scripted]:
    heard: list[tuple[Any, dict[str, Any]]] = []

    async def post(request: web.Request) -> web.Response:
        body = await request.json()
        heard.append((request.headers, body))
        return scripted.reply(body)

    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/v1/messages", post)
    async with TestServer(app) as server:
        scripted = Scripted(str(server.make_url("/")), heard)
        yield scripted


@pytest.fixture
async def turns(tmp_path: Path) -> list[RecordedTurn]:
    made.write(tmp_path / "set" / "one.jsonl", made.two_reads())
    made.write(tmp_path / "set" / "other.jsonl", [made.user("a"), made.model("b")])
    words = [str(tmp_path / "set"), "--endpoint", "-", "--model", "some-model", *FOLDS_ONLY]
    # Not on this test's event loop: the daemon's parts run one of their own.
    return await asyncio.to_thread(agreement.turns_of, agreement.parse(words))


async def study(scripted: Scripted, turns: list[RecordedTurn]) -> tuple[list[str], list[Any]]:
    out = io.StringIO()
    async with aiohttp.ClientSession() as session:
        one = Provider(session, scripted.url, scripted.sleep)
        answered = await agreement.ask(one, turns, out)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    return list(agreement.report(answered)), rows


async def test_only_turns_that_are_changed_are_asked_about(turns: list[RecordedTurn]) -> None:
    assert [(turn.conversation, turn.number) for turn in turns] == [("set/one", 3), ("set/one", 4)]


async def test_each_turn_is_sent_three_times(
    provider: Scripted, turns: list[RecordedTurn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-key")
    lines, rows = await study(provider, turns)
    sent = [json.dumps(body["messages"]) for _, body in provider.heard]
    assert len(sent) == 6
    assert sent[0] == sent[1] != sent[2]
    assert POINTER in sent[2]
    assert POINTER not in sent[0]
    headers, body = provider.heard[0]
    assert headers["x-api-key"] == "a-key"
    assert (body["model"], body["max_tokens"]) == ("some-model", 4096)
    names = [tool["name"] for tool in body["tools"]]
    assert names == ["Bash", "Edit", "Read"]
    assert body["tools"][1]["input_schema"]["properties"]["old_string"] == {"type": "string"}
    assert [(row["conversation"], row["turn"]) for row in rows] == [("set/one", 3), ("set/one", 4)]
    assert lines[0] == "2 turns of 1 conversations"
    assert lines[1].startswith("same tool, original and again: 2 of 2, 100.0% [34.2, 100.0]")


async def test_what_differs_is_counted(provider: Scripted, turns: list[RecordedTurn]) -> None:
    def edit(old: str) -> dict[str, Any]:
        inputs = {"file_path": "/w/a.py", "old_string": old, "new_string": "x"}
        return {"type": "tool_use", "id": "x", "name": "Edit", "input": inputs}

    def reply(body: dict[str, Any]) -> web.Response:
        folded = POINTER in json.dumps(body["messages"])
        if len(body["messages"]) > 8:
            return answer({"type": "text", "text": "Next."}, READ)
        return answer(edit("no such text" if folded else made.FILE[7]))

    provider.reply = reply
    lines, rows = await study(provider, turns)
    assert [row["original"]["found"] for row in rows] == [1, 0]
    assert [row["forwarded"]["found"] for row in rows] == [0, 0]
    assert "same action, original and forwarded: 2 of 2" in "\n".join(lines)
    assert "old texts of edits found, original: 1 of 1" in "\n".join(lines)
    assert "old texts of edits found, forwarded: 0 of 1" in "\n".join(lines)


async def test_another_file_is_another_action(
    provider: Scripted, turns: list[RecordedTurn]
) -> None:
    def reply(body: dict[str, Any]) -> web.Response:
        path = "/w/a.py" if POINTER in json.dumps(body["messages"]) else "/w/b.py"
        return answer({**READ, "input": {"file_path": path}})

    provider.reply = reply
    lines, _ = await study(provider, turns)
    text = "\n".join(lines)
    assert "same tool, original and forwarded: 2 of 2" in text
    assert "same action, original and again: 2 of 2" in text
    assert "same action, original and forwarded: 0 of 2" in text
    assert "same action: forwarded less again -100.0 points [-100.0, -100.0]" in text


async def test_a_busy_provider_is_waited_for(provider: Scripted, turns: list[RecordedTurn]) -> None:
    busy = [{"retry-after": "7"}, {"retry-after": "soon"}, {}, {"retry-after": "99999"}]

    def reply(body: dict[str, Any]) -> web.Response:
        return web.Response(status=429, headers=busy.pop(0)) if busy else answer(READ)

    provider.reply = reply
    _, rows = await study(provider, turns)
    assert provider.slept == [7, 4, 8, 120]
    assert len(rows) == 2


async def test_what_was_answered_is_reported_when_it_ends_early(
    provider: Scripted, turns: list[RecordedTurn], capsys: pytest.CaptureFixture[str]
) -> None:
    def reply(body: dict[str, Any]) -> web.Response:
        if len(provider.heard) > 3:
            return web.Response(status=401, text="no such key")
        return answer(READ)

    provider.reply = reply
    lines, rows = await study(provider, turns)
    assert lines[0] == "1 turns of 1 conversations"
    assert len(rows) == 1
    assert (
        "stopped at turn 2 of 2: the provider answered 401: no such key; the key is taken from"
        in (capsys.readouterr().err)
    )


async def test_a_provider_that_never_answers_is_given_up(
    provider: Scripted, turns: list[RecordedTurn]
) -> None:
    provider.reply = lambda body: web.Response(status=529)
    lines, rows = await study(provider, turns)
    assert len(provider.slept) == ATTEMPTS - 1
    assert rows == []
    assert lines[0] == "0 turns of 0 conversations"


def test_a_dry_run_sends_nothing_and_says_what_it_would_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "apply", lambda: None)
    monkeypatch.setattr("logging.disable", lambda level: None)
    path = made.write(tmp_path / "one.jsonl", made.two_reads())
    words = [str(path), "--endpoint", "http://127.0.0.1:9", "--model", "m", "--dry-run"]
    words += FOLDS_ONLY
    agreement.run(agreement.parse(words))
    printed = capsys.readouterr().out
    assert printed.startswith("2 turns of 1 conversations, 6 requests: ")
    assert printed.endswith(f"at most {6 * 4096:,} of output\n")


def test_the_seed_says_which_turns() -> None:
    turns: list[Any] = list(range(100))
    assert sample(turns, 10, seed=1) == sample(turns, 10, seed=1) != sample(turns, 10, seed=2)
    drawn: list[Any] = list(sample(turns, 10, seed=1))
    assert drawn == sorted(drawn)
    assert sample(turns, 1000, seed=1) == turns


def test_what_only_the_client_may_send_is_left_out(tmp_path: Path) -> None:
    items: list[made.Item] = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "reasoning", "encrypted_content": "x", "at": 0},
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "1",
            "name": "exec_command",
            "arguments": '{"cmd": "npm ls", "timeout": 3}',
        },
        {"type": "custom_tool_call", "call_id": "2", "name": "apply_patch", "input": "x"},
        {
            "type": "function_call_output",
            "call_id": "1",
            "output": json.dumps({f"key{at}": at for at in range(100)}, indent=8),
            "status": "completed",
        },
        {"type": "message", "role": "assistant", "content": [], "at": 1},
    ]
    path = made.write(tmp_path / "one.jsonl", items, shape="responses")
    extra = tmp_path / "body.json"
    extra.write_text('{"tools": [], "temperature": 0}')
    words = [str(path), "--endpoint", "-", "--model", "m"]
    (turn,) = agreement.turns_of(agreement.parse(words))
    body = turn.body(forwarded=False)
    assert [item["type"] for item in body["input"]] == [
        "message",
        "function_call",
        "custom_tool_call",
        "function_call_output",
    ]
    assert body["input"][1].keys() == {"type", "call_id", "name", "arguments"}
    assert body["input"][3].keys() == {"type", "call_id", "output"}
    assert body["store"] is False
    assert body["max_output_tokens"] == 4096
    custom, function = body["tools"]
    assert custom == {"type": "custom", "name": "apply_patch"}
    assert function["parameters"]["properties"] == {
        "cmd": {"type": "string"},
        "timeout": {"type": "integer"},
    }
    (turn,) = agreement.turns_of(agreement.parse([*words, "--body", str(extra)]))
    assert turn.body(forwarded=True)["tools"] == []
    assert turn.body(forwarded=True)["temperature"] == 0


def test_thinking_is_left_out_of_messages(tmp_path: Path) -> None:
    thinking = {"type": "thinking", "thinking": "", "signature": "x"}
    items = made.two_reads()
    items[1]["content"].insert(0, thinking)
    items.insert(5, made.model(thinking))
    path = made.write(tmp_path / "one.jsonl", items)
    (first, *_) = agreement.turns_of(
        agreement.parse([str(path), "--endpoint", "-", "--model", "m"])
    )
    sent = first.body(forwarded=True)["messages"]
    assert "thinking" not in json.dumps(sent)
    assert all(message["content"] for message in sent)


@pytest.mark.parametrize(
    ("shape", "reply", "expected"),
    [
        ("messages", {"content": [READ, {**READ, "name": "Bash"}]}, ("Read", "/w/b.py")),
        ("messages", {"content": [{"type": "text", "text": "done"}]}, ("", "")),
        (
            "responses",
            {
                "output": [
                    {"type": "reasoning"},
                    {
                        "type": "function_call",
                        "call_id": "1",
                        "name": "exec_command",
                        "arguments": '{"cmd": "ls   -l\\n"}',
                    },
                ]
            },
            ("exec_command", "ls -l"),
        ),
        (
            "chat",
            {
                "choices": [
                    {
                        "message": {
                            "role": "assistant",
                            "tool_calls": [
                                {"id": "1", "function": {"name": "f", "arguments": '{"q": "x"}'}}
                            ],
                        }
                    }
                ]
            },
            ("f", "x"),
        ),
    ],
)
def test_actions_are_read_from_each_api(
    shape: str, reply: dict[str, Any], expected: tuple[str, str]
) -> None:
    action = action_of(shape, json.dumps(reply))
    assert (action.tool, action.argument) == expected


def test_the_old_texts_of_an_edit_are_kept() -> None:
    inputs = {"file_path": "/w/a.py", "edits": [{"old_string": "a"}, {"old_string": "b"}]}
    reply = {"content": [{"type": "tool_use", "id": "1", "name": "MultiEdit", "input": inputs}]}
    assert action_of("messages", json.dumps(reply)) == Action("MultiEdit", "/w/a.py", ("a", "b"))


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"content": 3}', '{"choices": []}'])
@pytest.mark.parametrize("shape", ["messages", "responses", "chat"])
def test_what_is_no_answer_is_refused(shape: str, text: str) -> None:
    if (shape, text) == ("messages", '{"content": 3}'):
        return  # odd, and still an answer without a call
    with pytest.raises(ProviderRefused):
        action_of(shape, text)
