"""The Go daemon's documented cases, over a real socket against the real command.

docs/parity.md names these tests. Durations are the only numbers that are not compared.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import zlib
from typing import TYPE_CHECKING

import pytest
import zstandard

from tests.served import Served, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

ALLOW = b'{"action":"allow"}\n'
NO_WORK = "dur_ms=# read_ms=# write_ms=# worker_ms=# slot=-1 cold=false model_limit=0"
LISTING = "".join(f"{n}: a line of a file that is read more than once\n" for n in range(400))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("parity"), "-v").ready()
    yield served
    assert served.stop() == 0


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """As operators of the Go daemon switch the transfer codings off."""
    off = ["-gzip-response=false", "-accept-compressed=false"]
    served = Served(tmp_path_factory.mktemp("plain"), "-v", *off).ready()
    yield served
    assert served.stop() == 0


class Answer:
    """An answer as it was on the wire."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body


def send(served: Served, body: bytes, method: str = "POST", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = served.connect()
    connection.request(method, "/hook", body, named)
    got = connection.getresponse()
    answer = Answer(got.status, dict(got.getheaders()), got.read())
    connection.close()
    return answer


def settle(served: Served) -> None:
    """Let requests end: an answer arrives before it is counted and printed."""
    until(lambda: served.metric("headroom_inbound_requests_active") == 0)


def line_of(served: Served, act: Callable[[], object]) -> str:
    """The -v line that something prints, durations replaced."""
    settle(served)
    before = len(served.lines.read_text().splitlines())
    act()
    line = served.printed(before + 1)[before]
    return re.sub(r"(dur|read|write|worker)_ms=\d+\b", r"\1_ms=#", line)


def two_reads(start: str = "go") -> bytes:
    """A conversation whose newest output repeats an older one in full."""
    messages = [
        {"role": "user", "content": start},
        *(
            message
            for n in (1, 2)
            for message in (
                {
                    "role": "assistant",
                    "content": [
                        {
                            "type": "tool_use",
                            "id": f"t{n}",
                            "name": "Read",
                            "input": {"file_path": "/a"},
                        }
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": f"t{n}", "content": LISTING}
                    ],
                },
            )
        ),
    ]
    # No cache_control and no thinking: nothing at the provider depends on the older items.
    body = {"z": 1.0, "model": "claude-sonnet-4-5", "messages": messages, "a": "<&>"}
    return json.dumps({"metadata": {"provider": "anthropic"}, "request_body": body}).encode()


PASSTHROUGH = [
    b"this isn't JSON",
    b'{"metadata":{}}',
    b'{"request_body":1}',
    b'{"request_body":{"input":1}}',
    b'{"request_body":{"messages":1}}',
]


@pytest.mark.parametrize("body", PASSTHROUGH)
def test_passthrough(daemon: Served, body: bytes) -> None:
    expected = (
        f"request in_msgs=0 in_bytes=0 out_bytes=0 wire_bytes={len(body)} {NO_WORK}"
        " -> allow(passthrough)"
    )
    answers: list[Answer] = []
    assert line_of(daemon, lambda: answers.append(send(daemon, body))) == expected
    assert (answers[0].status, answers[0].body) == (200, ALLOW)
    assert answers[0].headers["content-type"] == "application/json"
    assert answers[0].headers["accept-encoding"] == "zstd, gzip"


@pytest.mark.parametrize(
    ("messages", "count"),
    [(b"[]", 0), (b'[{"role":"user","content":"hello"}]', 1), (b'[ {"role":"user"} , {} ]', 2)],
)
def test_noop_reports_the_conversations_own_bytes(
    daemon: Served, messages: bytes, count: int
) -> None:
    body = b'{"request_body":{"messages":' + messages + b"}}"
    expected = (
        f"request in_msgs={count} in_bytes={len(messages)} out_bytes={len(messages)}"
        f" wire_bytes={len(body)} {NO_WORK} -> allow(noop)"
    )
    assert line_of(daemon, lambda: send(daemon, body)) == expected


@pytest.mark.parametrize("coding", ["zstd", "gzip"])
def test_decode_error(daemon: Served, coding: str) -> None:
    expected = (
        f"request({coding}) in_msgs=0 in_bytes=0 out_bytes=0 wire_bytes=8 {NO_WORK}"
        " -> allow(decode-error)"
    )
    answers: list[Answer] = []
    line = line_of(
        daemon, lambda: answers.append(send(daemon, b"notcoded", Content_Encoding=coding))
    )
    assert line == expected
    assert (answers[0].status, answers[0].body) == (200, ALLOW)


@pytest.mark.parametrize("which", ["daemon", "plain"])
def test_reject_encoding(request: pytest.FixtureRequest, which: str) -> None:
    """A 415 says what is taken, even where that is not advertised."""
    served: Served = request.getfixturevalue(which)
    answers: list[Answer] = []
    line = line_of(
        served, lambda: answers.append(send(served, b"twelve bytes", Content_Encoding="br"))
    )
    assert line == "request(br) wire_bytes=12 read_ms=# -> reject(encoding)"
    assert answers[0].status == 415
    assert answers[0].body == b"unsupported content-encoding\n"
    assert answers[0].headers["accept-encoding"] == "zstd, gzip"


@pytest.mark.parametrize("coding", ["br", "gzip, zstd"])
def test_another_coding_can_be_allowed(tmp_path: Path, coding: str) -> None:
    """Counted and printed like a 415, and no error to a gateway that fails closed."""
    served = Served(tmp_path, "-v", "-unsupported-encoding=allow", "-accept-compressed=false")
    answers: list[Answer] = []
    line = line_of(served, lambda: answers.append(send(served, b"xx", Content_Encoding=coding)))
    assert line == f"request({coding}) wire_bytes=2 read_ms=# -> reject(encoding)"
    assert (answers[0].status, answers[0].body) == (200, ALLOW)
    assert answers[0].headers["accept-encoding"] == "zstd, gzip"
    settle(served)
    assert served.metric('tsheadroom_requests_by_outcome{outcome="reject_encoding"}') == 1
    assert served.stop() == 0


def test_read_error(daemon: Served) -> None:
    def hang_up() -> None:
        with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
            head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
            connection.sendall(head)
            assert b"".join(iter(lambda: connection.recv(65536), b"")).endswith(ALLOW)

    expected = (
        f"request in_msgs=0 in_bytes=0 out_bytes=0 wire_bytes=0 {NO_WORK} -> allow(read-error)"
    )
    assert line_of(daemon, hang_up) == expected


def test_modify_reports_the_worker(daemon: Served) -> None:
    body = two_reads()
    line = line_of(daemon, lambda: send(daemon, body))
    found = re.fullmatch(
        r"request in_msgs=5 in_bytes=(\d+) out_bytes=(\d+) wire_bytes=(\d+) dur_ms=# read_ms=#"
        r" write_ms=# worker_ms=# slot=0 cold=(true|false) model_limit=200000 -> modify",
        line,
    )
    assert found, line
    conversation = json.dumps(json.loads(body)["request_body"]["messages"])
    assert int(found[1]) == len(conversation)
    assert int(found[2]) < 0.7 * int(found[1])
    assert int(found[3]) == len(body)


def test_modify_carries_every_other_field_as_it_came(daemon: Served) -> None:
    answer = json.loads(send(daemon, two_reads()).body)
    assert list(answer) == ["action", "request_body"]
    assert answer["action"] == "modify"
    raw = send(daemon, two_reads()).body
    assert b'"request_body":{"z": 1.0, "model": "claude-sonnet-4-5", "messages": [' in raw
    assert raw.endswith(b'"a": "<&>"}}\n')


@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("identity", bytes),
    ],
)
def test_bodies_in_each_coding_that_is_offered(
    daemon: Served, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    body = two_reads()
    packed = pack(body)
    answers: list[Answer] = []
    line = line_of(daemon, lambda: answers.append(send(daemon, packed, Content_Encoding=coding)))
    label = "request" if coding == "identity" else f"request({coding.lower()})"
    assert line.startswith(f"{label} in_msgs=5 ")
    assert f" wire_bytes={len(packed)} " in line
    assert line.endswith("-> modify")
    assert json.loads(answers[0].body)["action"] == "modify"


@pytest.mark.parametrize("accept", ["gzip", "br;q=1.0, GZIP;q=0.8"])
def test_answers_are_gzipped_for_whom_asks(daemon: Served, accept: str) -> None:
    answer = send(daemon, two_reads(), Accept_Encoding=accept)
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert json.loads(zlib.decompress(answer.body, wbits=31))["action"] == "modify"


@pytest.mark.parametrize("accept", ["", "br", "gzip;q=0"])
def test_answers_are_plain_for_whom_does_not(daemon: Served, accept: str) -> None:
    answer = send(daemon, two_reads(), Accept_Encoding=accept)
    assert "content-encoding" not in answer.headers
    assert json.loads(answer.body)["action"] == "modify"


def test_a_small_answer_is_plain(daemon: Served) -> None:
    assert send(daemon, b"{}", Accept_Encoding="gzip").body == ALLOW


def test_transfer_codings_can_be_switched_off(plain: Served) -> None:
    answer = send(plain, two_reads(), Accept_Encoding="gzip")
    assert "content-encoding" not in answer.headers
    assert "accept-encoding" not in answer.headers
    # What comes coded all the same is decoded: the switch only stops the offer.
    packed = send(plain, gzip.compress(two_reads()), Content_Encoding="gzip")
    assert json.loads(packed.body)["action"] == "modify"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods(daemon: Served, plain: Served, method: str) -> None:
    answer = send(daemon, b"", method)
    assert (answer.status, answer.body) == (405, b"method not allowed\n")
    assert answer.headers["accept-encoding"] == "zstd, gzip"
    assert "accept-encoding" not in send(plain, b"", method).headers


def test_provider_and_model_are_metadatas_and_the_bodys_where_there_is_none(
    daemon: Served,
) -> None:
    messages = b'"messages":[{"role":"user","content":"x"}]'
    both = b'{"metadata":{"provider":"p-meta","model":"m-meta"},"request_body":{"model":"m-body",'
    send(daemon, both + messages + b"}}")
    send(daemon, b'{"metadata":{},"request_body":{"model":"m-body",' + messages + b"}}")
    settle(daemon)
    assert daemon.metric('headroom_requests_by_provider{provider="p-meta"}') == 1
    assert daemon.metric('headroom_requests_by_model{model="m-meta"}') == 1
    assert daemon.metric('headroom_requests_by_model{model="m-body"}') == 1
    assert daemon.metric('headroom_requests_by_provider{provider="unknown"}') >= 1


def test_tokens_are_counted(daemon: Served) -> None:
    names = ("headroom_tokens_input_total", "headroom_tokens_saved_total")
    settle(daemon)
    before = [daemon.metric(name) for name in names]
    after_before = daemon.metric("tsheadroom_tokens_after_total")
    send(daemon, two_reads("count this one"))
    settle(daemon)
    given, saved = (daemon.metric(name) - start for name, start in zip(names, before, strict=True))
    assert given > saved > 0
    assert daemon.metric("tsheadroom_tokens_after_total") - after_before == given - saved


def test_a_worker_slower_than_the_deadline_is_not_waited_for(tmp_path: Path) -> None:
    served = Served(tmp_path, "-v", "--deadline", "1us").ready()
    body = two_reads()
    expected = (
        f"request in_msgs=5 in_bytes=41031 out_bytes=41031 wire_bytes={len(body)} {NO_WORK}"
        " -> allow(error)"
    )
    assert line_of(served, lambda: send(served, body)) == expected
    # Decided: what went out as it came stays so.
    assert line_of(served, lambda: send(served, body)).endswith("-> allow(noop)")
    assert served.stop() == 0
