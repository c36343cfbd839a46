"""Nothing that callers send is in the logs or on stdout, at any level, whatever goes wrong."""

from __future__ import annotations

import gzip
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from tests.conversation import call, dumps
from tests.served import PATIENCE, Served, until

SECRET = "SECRET"
LONG = SECRET * 20
LONGEST_LINE = 4096

# The daemon at debug level, with workers that quote, and with defects of its own that do.
PROGRAM = """
import asyncio, functools, logging, sys, threading
from tsheadroom import daemon
from tsheadroom.cli.main import main
from tsheadroom.telemetry import logs
from tsheadroom.turns.rules import Rules

def fail(text): raise KeyError(text)
async def fail_later(text): raise KeyError(text)

class Quoting:
    def __init__(self, of): self.of = of
    def __call__(self, call, *rest):
        data = call.data
        if b"defect" in data:
            text = data.decode()
            loop = asyncio.get_running_loop()
            loop.call_soon(fail, text)
            loop.create_task(fail_later(text))
            threading.Thread(target=fail, args=(text,)).start()
            logging.getLogger("aiohttp.internal").debug("odd %s", text)
            logging.getLogger("asyncio").error("odd: " + text)
            logging.getLogger("tsheadroom.x").error("odd %s", KeyError(text))
            raise UnicodeDecodeError("utf-8", data, 0, 1, text)
        return self.of(call, *rest)

Rules.of = Quoting(Rules.of)
daemon.Pool = functools.partial(daemon.Pool, pipelines=sys.argv.pop(1))
logs.configure = functools.partial(logs.configure, level=logging.DEBUG)
main(prog_name="tsheadroom")
"""
QUOTING = str(Path(__file__).with_name("quoting.py"))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("text")
    served = Served(directory, "-v", program=("-c", PROGRAM, QUOTING)).ready()
    yield served
    assert served.stop() == 0


@pytest.fixture(autouse=True)
def nothing_quoted(daemon: Served) -> Iterator[None]:
    yield
    daemon.ready()
    said = daemon.log + daemon.lines.read_text()
    assert [line for line in said.splitlines() if SECRET in line] == []
    assert "Traceback" not in said
    assert max(map(len, said.encode().splitlines())) < LONGEST_LINE
    assert all(line.startswith(("time=", "request")) for line in said.splitlines())


def raw(daemon: Served, data: bytes) -> bytes:
    """What comes back for these bytes, until the daemon closes or has answered."""
    with socket.create_connection(("127.0.0.1", daemon.port), PATIENCE) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(65536)


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
S = LONG.encode()


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nZ" + S * 2000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello" + S + b"\r\n",
        HEAD + b"Transfer-Encoding: " + S + b"\r\n\r\n",
        HEAD + b"Content-Length: " + S + b"\r\n\r\n",
        HEAD + b"Content-Length: 5\r\n" + S + b"\r\n\r\n",
        HEAD + b"X: " + S * 200 + b"\r\n\r\n",
        HEAD + b"X: \0" + S + b"\r\n\r\n",
        HEAD + b"Cookie: " + S + b"=;" + S + b"\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"Content-Type: multipart/form-data; " + S + b"\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"Expect: " + S + b"\r\nContent-Length: 0\r\n\r\n",
        S + b" / HTTP/1.1\r\n\r\n",
        b"POST / " + S + b"\r\n\r\n",
        b"POST http://[" + S + b"/ HTTP/1.1\r\n\r\n",
        S,
        b"\x16\x03\x01" + S,
        b"PUT /config HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZ" + S,
        b"POST /bills HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZ" + S,
    ],
    ids=range(17),
)
def test_bytes_that_are_no_http(daemon: Served, data: bytes) -> None:
    raw(daemon, data)


def with_metadata(**said: object) -> bytes:
    return dumps({"metadata": said, "request_body": {"messages": [{"role": "user"}]}})


@pytest.mark.parametrize("path", ["/", "/bills"])
@pytest.mark.parametrize(
    "body",
    [
        S,
        b'{"' + S + b'":',
        b'{"' + S + b'":1,"' + S + b'":2}',
        b'{"request_body":{"messages":[],"' + S + b'":1,"' + S + b'":2}}',
        b'{"request_body":{"messages":["' + S + b'\xff"]}}',
        b'{"request_body":{"messages":[{"role":"' + S + b'\xff"}]}}',
        b'{"request_body":{"messages":[{"role":7,"content":"' + S + b'"}]}}',
        b'{"request_body":{"messages":[{"role":"' + S + b'"},null]}}',
        b'{"request_body":{"messages":["' + S + b'\\ud800"]}}',
        b'{"request_body":{"' + S + b'":[]}}',
        b'{"request_body":' + b'{"' + S + b'":' * 2000,
        with_metadata(url=f"http://[{LONG}]/?tsheadroom=off"),
        with_metadata(url={LONG: 1}),
        with_metadata(provider={LONG: LONG}),
        with_metadata(model=[LONG], login_name=7),
        with_metadata(estimated_cost={"usage": {LONG: LONG}, "dollars": LONG}),
        with_metadata(estimated_cost={"usage": {"output_tokens": LONG}, "cost_basis": [LONG]}),
        with_metadata(request_id=LONG + "\ud800".encode("utf-8", "replace").decode()),
    ],
    ids=range(18),
)
def test_bodies_that_are_no_calls(daemon: Served, path: str, body: bytes) -> None:
    assert daemon.ask("POST", path, body)[0] == 200


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", S),
        ("gzip", gzip.compress(S)[:-9]),
        ("gzip", gzip.compress(S) + S),
        ("zstd", S),
        ("zstd", zstandard.compress(S)[:-9]),
        ("zstd", zstandard.compress(S) + S),
    ],
    ids=range(6),
)
def test_bodies_that_cannot_be_decoded(daemon: Served, coding: str, body: bytes) -> None:
    assert daemon.ask("POST", "/", body, Content_Encoding=coding)[0] == 200


@pytest.mark.parametrize(
    "body", [S, b"{" + S, dumps({LONG: 1}), dumps({"mode": LONG}), b"[" * 9999]
)
def test_settings_that_are_refused(daemon: Served, body: bytes) -> None:
    assert daemon.ask("PUT", "/config", body)[0] == 400


def result(how: str) -> bytes:
    return call(
        {
            "messages": [
                {"role": "user", "content": f"{how} {LONG}"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "tool_use", "id": "t", "name": SECRET, "input": {LONG: 1}}
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": f"{how} {LONG}\n"}
                    ],
                },
            ]
        },
        request_id=how + SECRET,
        session_id=SECRET,
        login_name=how + SECRET,
    )


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("print", 'stderr: KeyError"'),
        ("raise", r"answered KeyError at [\w.: ]*quoting\.py:\d+"),
        ("name", r"answered unknown at [\w.: ]*quoting\.py:\d+"),
        ("exit", "failed: exit code 1"),
        ("abort", "stderr: Fatal Python error: Aborted"),
        ("slot", 'msg="form refused" item=2 reason="there is no text at its slot, 4 steps deep"'),
    ],
)
def test_workers_that_quote(daemon: Served, how: str, said: str) -> None:
    before = len(daemon.log)
    assert daemon.hook(result(how)) == {"action": "allow"}
    until(lambda: re.search(said, daemon.log[before:]) is not None)


def test_defects_of_the_daemons_own(daemon: Served) -> None:
    assert daemon.hook(result("defect")) == {"action": "allow"}
    for said in (
        'msg="request failed inside; allowing" trace="UnicodeDecodeError at ',
        'msg="Exception in callback fail" logger=asyncio trace="KeyError at ',
        'msg="Task exception was never retrieved" logger=asyncio trace="KeyError at ',
        'msg="a thread ended" trace="KeyError at ',
        "msg=odd logger=asyncio",
        'msg="odd KeyError"',
    ):
        until(lambda said=said: said in daemon.log)  # type: ignore[misc]


def test_a_caller_that_hangs_up(daemon: Served) -> None:
    body = result("print again")
    raw(daemon, HEAD + b"Content-Length: %d\r\n\r\n" % (len(body) + 9) + body)
