"""Nothing that callers send is in logs or on stdout, however it goes wrong; no line is long.

Broken chunks, members that stand twice, addresses that are none, names with line breaks. The name
of a coding, which is no text, may be there.
"""

from __future__ import annotations

import contextlib
import json

from scripts.lab.torture.attacks._common import Talk, ask, nested
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict

SECRET = b"TOPSECRET"
LONGEST = 4096  # bytes of a line

_OK = b'{"role":"user","content":"x"}'
_WRONG_HTTP = (
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZ%s" + b"y" * 200_000,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n%s\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX: %s\0\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nHost %s\r\n\r\n",
    b"%s / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /%s\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST http://[%s HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/%s\r\nHost: x\r\n\r\n",
    b"%s" * 20_000,
)
_METADATA = (
    b'{"url":"http://[%s]/?tsheadroom=off"}',
    b'{"login_name":"%s\\ud800","provider":5}',
    b'{"request_id":"%s","estimated_cost":{"dollars":"%s","usage":"%s"}}',
    b'{"session_id":{"%s":1}}',
    b'{"%s":1,"%s":2',
)
_BODIES = (
    b'{"messages":[{"role":"%s","content":null}]}',
    b'{"messages":[{"role":"user","content":[{"type":"%s","%s":1e999}]}]}',
    b'{"messages":"%s"}',
    b'{"messages":[%s]}',
    b'{"messages":["%s\xe9\xff"]}',
    b'{"contents":[{"role":"user","parts":[{"%s":{}}]}]}',
    b'{"input":[{"type":"function_call_output","call_id":"%s","output":{"%s":[]}}]}',
)
_FORGED = b"a\\nlevel=ERROR msg=forged\\u2028level=ERROR msg=forged\\u001b[31m\\rlevel=ERROR"


def attack(bench: Bench) -> Verdict:
    """Send everything, then read what was written."""
    file = bench.folder / "stdout"
    with file.open("wb") as stdout:
        target = bench.daemon("-v", stdout=stdout.fileno())
        for wrong in _WRONG_HTTP:
            _raw(target, _filled(wrong))
        for head in _METADATA:
            ask(target, b'{"metadata":%s,"request_body":{"messages":[%s]}}' % (_filled(head), _OK))
        for body in _BODIES:
            ask(target, b'{"metadata":{},"request_body":%s}' % _filled(body))
        ask(target, SECRET + nested(3_000))
        for coding in ("gzip", "zstd", "another" * 1_000):
            ask(target, SECRET * 100, headers={"Content-Encoding": coding})
        ask(target, SECRET * 100, "/config?" + SECRET.decode())
        ask(target, b'{"%s":1}' % SECRET, "/config")
        ask(target, SECRET * 100, "/bills")
        ask(target, _repeated_member(bench))
        ask(target, _forged())
        talk = Talk(bench)
        talk.rows()
        answered = talk.turn(target.line())
        target.stop()
    lines = target.log.splitlines() + file.read_text("utf-8", "replace").splitlines()
    quoting = [line[:200] for line in lines if SECRET.decode() in line.upper()]
    odd = [line[:200] for line in lines if not line.startswith(("time=", "request ", "request("))]
    longest = max(len(line.encode()) for line in lines)
    traces = sum("Traceback" in line for line in lines)
    figures = {
        "lines": len(lines),
        "lines with what was sent": len(quoting),
        "such as": quoting[:3],
        "lines that are none of ours": odd[:3],
        "longest line, bytes": longest,
        "tracebacks": traces,
    }
    return Verdict(answered and not (quoting or odd or traces) and longest <= LONGEST, figures)


def _filled(template: bytes) -> bytes:
    return template.replace(b"%s", SECRET)


def _raw(target: Target, data: bytes) -> None:
    line = target.connect()
    line.settimeout(0.3)
    with line, contextlib.suppress(OSError):
        line.sendall(data)
        line.recv(1 << 16)


def _repeated_member(bench: Bench) -> bytes:
    """A call in Gemini's shape whose answer cannot be written into it: a member stands twice."""
    response = b'{"%s":%s,"a":1,"a":2}' % (SECRET, json.dumps(bench.rows(40)).encode())
    result = b'{"functionResponse":{"name":"api","response":%s}}' % response
    contents = (
        b'{"role":"user","parts":[{"text":"go"}]},'
        b'{"role":"model","parts":[{"functionCall":{"name":"api","args":{}}}]},'
        b'{"role":"user","parts":[%s]}' % result
    )
    head = b'{"provider":"google","model":"gemini-2.5","login_name":"x"}'
    return b'{"metadata":%s,"request_body":{"contents":[%s]}}' % (head, contents)


def _forged() -> bytes:
    names = (b"provider", b"model", b"login_name", b"session_id", b"request_id", b"url")
    head = b",".join(b'"%s":"%s"' % (name, _FORGED) for name in names)
    return b'{"metadata":{%s},"request_body":{"messages":[%s]}}' % (head, _OK)
