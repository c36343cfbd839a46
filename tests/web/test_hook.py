"""The hook over a socket, with real workers: whatever comes in, the caller's request goes on."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conversation import call, dumps
from tests.served import Served, until

POINTER = re.compile(r'"(\[[^"\\]*(?:\\"[^"\\]*)* above\])"')
LISTING = "".join(f"{n}: a line of a file that is read more than once\n" for n in range(60))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("hook"), "-v").ready()
    yield served
    assert served.stop() == 0


def last_line(daemon: Served, before: int) -> str:
    return daemon.printed(before + 1)[before]


BAD = [
    (b"", "passthrough"),
    (b"not json", "passthrough"),
    (b"\xff\xfe", "passthrough"),
    (b"[]", "passthrough"),
    (b"{}", "passthrough"),
    (b'{"metadata":[],"request_body":{"messages":[]}}', "passthrough"),
    (b'{"request_body":"x"}', "passthrough"),
    (b'{"request_body":{"messages":{}}}', "passthrough"),
    (b'{"request_body":{"messages":[NaN]}}', "passthrough"),
    (b'{"request_body":{"messages":["\xff"]}}', "noop"),
    (b'{"request_body":{"messages":[{"role":"\xff"}]}}', "noop"),
    (b'{"metadata":{"provider":"\xff"},"request_body":{"messages":[]}}', "passthrough"),
    (b'{"request_body":{"messages":[],"messages":[]}}', "passthrough"),
    (b'{"request_body":{"messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}}", "passthrough"),
    (b'{"request_body":{"messages":[]}}', "noop"),
    (b'{"request_body":{"messages":[{}]}}', "noop"),
    (b'{"request_body":{"messages":[{"role":"user","content":[7,null]}]}}', "noop"),
    (b'{"request_body":{"messages":[{"role":"user","content":[{"type":"new"}]}]}}', "noop"),
]


@pytest.mark.parametrize(("body", "reason"), BAD, ids=range(len(BAD)))
def test_bad_input_is_allowed_and_the_daemon_goes_on(
    daemon: Served, body: bytes, reason: str
) -> None:
    before = len(daemon.lines.read_text().splitlines())
    assert daemon.hook(body) == {"action": "allow"}
    line = last_line(daemon, before)
    assert line.endswith(f"-> allow({reason})"), line
    assert f" wire_bytes={len(body)} " in line
    if reason == "passthrough":
        assert "passed through" in daemon.log


def test_only_post_is_a_hook_call(daemon: Served) -> None:
    assert daemon.ask("GET", "/some/path") == (405, "method not allowed\n")


def test_a_body_over_the_limit_is_allowed_and_the_memory_stays_small(daemon: Served) -> None:
    before = len(daemon.lines.read_text().splitlines())
    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        try:
            for _ in range(60):
                connection.sendall(chunk)
        except ConnectionError:
            pass  # the daemon may hang up once it has answered
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'{"action":"allow"}\n')
    assert last_line(daemon, before).endswith("-> allow(read-error)")
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{daemon.process.pid}/status").read_text())
    assert peak
    assert int(peak[1]) < 400_000


def test_a_caller_that_hangs_up_leaves_nothing(daemon: Served) -> None:
    hung_up = 'tsheadroom_events_total{event="caller_hung_up"}'
    before = daemon.metric(hung_up)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    until(lambda: daemon.metric("headroom_inbound_requests_active") == 0)
    until(lambda: daemon.metric(hung_up) >= before + 20)


def anthropic() -> dict[str, Any]:
    use = [
        {"type": "tool_use", "id": f"t{n}", "name": "Bash", "input": {"command": f"x{n}"}}
        for n in (1, 2)
    ]
    result = [{"type": "tool_result", "tool_use_id": f"t{n}", "content": LISTING} for n in (1, 2)]
    return {
        "max_tokens": 1.0,
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": use},
            {"role": "user", "content": result},
        ],
        "tools": [{"name": "Bash"}],
    }


def converse() -> dict[str, Any]:
    use = [
        {"toolUse": {"toolUseId": f"t{n}", "name": "Bash", "input": {"command": f"x{n}"}}}
        for n in (1, 2)
    ]
    result = [
        {"toolResult": {"toolUseId": f"t{n}", "content": [{"text": LISTING}]}} for n in (1, 2)
    ]
    return {
        "messages": [
            {"role": "user", "content": [{"text": "go"}]},
            {"role": "assistant", "content": use},
            {"role": "user", "content": result},
        ]
    }


def chat() -> dict[str, Any]:
    calls = [
        {
            "id": f"t{n}",
            "type": "function",
            "function": {"name": "Bash", "arguments": dumps({"command": f"x{n}"}).decode()},
        }
        for n in (1, 2)
    ]
    return {
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "t1", "content": LISTING},
            {"role": "tool", "tool_call_id": "t2", "content": LISTING},
        ],
        "user": "u",
    }


def responses() -> dict[str, Any]:
    calls = [
        {
            "type": "function_call",
            "call_id": f"t{n}",
            "name": "shell",
            "arguments": dumps({"command": f"x{n}"}).decode(),
        }
        for n in (1, 2)
    ]
    outputs = [
        {"type": "function_call_output", "call_id": f"t{n}", "output": LISTING} for n in (1, 2)
    ]
    return {"instructions": "x", "input": [{"role": "user", "content": "go"}, *calls, *outputs]}


def gemini() -> dict[str, Any]:
    calls = [
        {"functionCall": {"id": f"t{n}", "name": "shell", "args": {"command": f"x{n}"}}}
        for n in (1, 2)
    ]
    results = [
        {"functionResponse": {"id": f"t{n}", "name": "shell", "response": {"output": LISTING}}}
        for n in (1, 2)
    ]
    return {
        "systemInstruction": {"parts": [{"text": "x"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "go"}]},
            {"role": "model", "parts": calls},
            {"role": "user", "parts": results},
        ],
    }


@pytest.mark.parametrize("body", [anthropic, converse, chat, responses, gemini])
def test_every_shape_gives_up_a_repeated_output(daemon: Served, body: Any) -> None:
    sent = body()
    answer = daemon.hook(call(sent, login_name=body.__name__))
    assert answer["action"] == "modify"
    got = answer["request_body"]
    key = next(k for k in ("messages", "input", "contents") if k in sent)
    assert {k: v for k, v in got.items() if k != key} == {k: v for k, v in sent.items() if k != key}
    text = dumps(got).decode()
    assert text.count("59: a line of a file") == 1
    # Byte for byte, a restored output gives the client's own body back.
    pointers = POINTER.findall(text)
    assert len(pointers) == 1
    restored = text.replace(f'"{pointers[0]}"', dumps(LISTING).decode())
    assert restored == dumps(sent).decode()


def test_an_item_with_a_lone_surrogate_is_left_alone_and_the_rest_proceeds(daemon: Served) -> None:
    body = anthropic()
    body["messages"][0]["content"] = "cut in the middle: SURROGATE"
    raw = call(body, login_name="surrogate").replace(b"SURROGATE", rb"\ud83d")
    status, text = daemon.ask("POST", "/", raw)
    assert status == 200
    assert rb"\ud83d".decode() in text
    assert POINTER.search(text)


def test_numbers_escapes_and_order_stay_the_clients(daemon: Served) -> None:
    rest = rb'"b" : 1.50e+3, "a":"\u00e9\/", "big":123456789012345678901234567890 ,"z":[ ]'
    messages = dumps(anthropic()["messages"])
    raw = b'{"request_body":{ ' + rest + b', "messages":' + messages + b"}}"
    _, text = daemon.ask("POST", "/", raw)
    assert rest.decode() in text
    assert POINTER.search(text)


@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd", "br"])
def test_codings_on_the_wire(daemon: Served, coding: str) -> None:
    import zstandard

    body = call(anthropic(), login_name=coding)
    sent = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}.get(coding, bytes)(
        body
    )
    connection = daemon.connect()
    connection.request("POST", "/", sent, {"Content-Encoding": coding, "Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    assert answer.headers["Accept-Encoding"] == "zstd, gzip"
    data = answer.read()
    if coding == "br":
        assert (answer.status, data) == (415, b"unsupported content-encoding\n")
        return
    assert (answer.status, answer.headers["Content-Encoding"]) == (200, "gzip")
    assert json.loads(gzip.decompress(data))["action"] == "modify"
    connection.request("POST", "/", b"rubbish", {"Content-Encoding": "gzip"})
    again = connection.getresponse()
    assert (again.status, json.loads(again.read())) == (200, {"action": "allow"})
    connection.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", {}),
        ("embeddings", {"request_body": {"inputs": ["x"]}}),
        ("no-object", {"request_body": "x"}),
        ("no-array", {"request_body": {"messages": {}}}),
        ("empty", {"request_body": {"messages": []}}),
        ("bypassed", {"request_body": anthropic(), "url": "/v1/messages?tsheadroom=off"}),
    ],
)
def test_what_passes_through_is_counted_by_provider_and_model(
    daemon: Served, name: str, message: dict[str, Any]
) -> None:
    message = dict(message)
    said = {"provider": f"p-{name}", "model": f"m-{name}", "url": message.pop("url", "/v1")}
    assert daemon.hook(dumps({"metadata": said, **message})) == {"action": "allow"}
    until(lambda: daemon.metric("headroom_inbound_requests_active") == 0)
    assert daemon.metric(f'headroom_requests_by_provider{{provider="p-{name}"}}') == 1
    assert daemon.metric(f'headroom_requests_by_model{{model="m-{name}"}}') == 1


def settings(daemon: Served, **changes: object) -> None:
    status, text = daemon.ask("PUT", "/config", dumps(changes))
    assert status == 200, text


USUAL: dict[str, Any] = {
    "mode": "on",
    "holdout": 0,
    "folds": True,
    "exclude_models": [],
    "exclude_callers": [],
    "exclude_tools": [],
}


@pytest.mark.parametrize(
    ("changes", "metadata"),
    [
        ({"mode": "off"}, {}),
        ({"mode": "observe"}, {}),
        ({"mode": "freeze"}, {}),
        ({"mode": "drain"}, {}),
        ({"holdout": 100}, {}),
        ({"exclude_models": ["claude-sonnet-4-5"]}, {}),
        ({"exclude_callers": ["someone"]}, {"login_name": "someone"}),
        ({"exclude_tools": ["Bash"]}, {}),
        ({"folds": False}, {}),
        ({}, {"url": "/v1/messages?tsheadroom=off"}),
    ],
    ids=str,
)
def test_what_switches_forms_off(
    daemon: Served, changes: dict[str, Any], metadata: dict[str, str]
) -> None:
    body = call(anthropic(), **{"login_name": str((changes, metadata)), **metadata})
    settings(daemon, **changes)
    try:
        assert daemon.hook(body) == {"action": "allow"}
    finally:
        settings(daemon, **USUAL)


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "freeze"},
        {"mode": "drain"},
        {"folds": False},
        {"holdout": 100},
        {"exclude_models": ["claude-sonnet-4-5"]},
        {"exclude_callers": ["kept"]},
        {"exclude_tools": ["Bash"]},
    ],
    ids=str,
)
def test_a_form_outlives_a_change_of_settings(daemon: Served, changes: dict[str, Any]) -> None:
    body = anthropic()
    body["max_tokens"] = len(str(changes))
    body["messages"][0]["content"] = str(changes)
    first = daemon.hook(call(body, login_name="kept"))
    assert first["action"] == "modify"
    settings(daemon, **changes)
    try:
        assert daemon.hook(call(body, login_name="kept")) == first
        more = [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "go on"}]
        body["messages"] += more
        later = daemon.hook(call(body, login_name="kept"))["request_body"]["messages"]
        assert later == first["request_body"]["messages"] + more
    finally:
        settings(daemon, **USUAL)


def test_nothing_points_at_what_the_server_may_delete(daemon: Served) -> None:
    edits = [{"type": "clear_tool_uses_20250919"}]
    body = {**anthropic(), "context_management": {"edits": edits}}
    assert daemon.hook(call(body, login_name="managed")) == {"action": "allow"}


def test_thinking_that_is_cleared_takes_no_target_away(daemon: Served) -> None:
    edits = [{"type": "clear_thinking_20251015", "keep": "all"}]
    body = {**anthropic(), "context_management": {"edits": edits}}
    assert daemon.hook(call(body, login_name="thinking"))["action"] == "modify"
