"""Whatever one new item of a running conversation is, what went out before goes out again.

Items of every wrong type and spelling, nested, with bytes that are no UTF-8; and well-formed ones
that are rare.
"""

from __future__ import annotations

from collections.abc import Iterator

from scripts.lab.torture.attacks._common import Talk, nested
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict
from scripts.lab.torture.wire import Line

# Aperture itself, which is written in Go, takes 10,000 levels in all.
DEPTHS = (100, 300, 500, 700, 900, 960, 985, 990, 1_000, 1_024, 1_100, 5_000, 9_900)
VALUES = (
    b"null", b"true", b"5", b"-1.5e300", b"1e999", b'""', b'"x"', b"[]", b"{}", b"[null]", b"[[]]",
    b'[""]', b'["text"]', b'{"a":null}', b'"\\ud83d"', b'"\\u0000"', b'"\xed\xa0\x80"', b'"\xe9"',
    b'"\xff\xfe"', b"9" * 5_000, b"1" + b"0" * 400, b'"' + b"y" * 200_000 + b'"',
)  # fmt: skip
PLACES = (
    b"%s",
    b'{"role":%s,"content":"x"}',
    b'{"role":"user","content":%s}',
    b'{"role":"user","content":[%s]}',
    b'{"role":"user","content":[{"type":%s,"text":"x"}]}',
    b'{"role":"user","content":[{"type":"text","text":%s}]}',
    b'{"role":"user","content":[{"type":"text","text":"x","n":%s}]}',
    b'{"role":"user","content":[{"type":"text","text":"x","cache_control":%s}]}',
    b'{"role":"user","content":[{"type":"tool_result","tool_use_id":%s,"content":"x"}]}',
    b'{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":%s}]}',
    b'{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[%s]}]}',
    b'{"role":"assistant","content":[{"type":"tool_use","id":%s,"name":"x","input":{}}]}',
    b'{"role":"assistant","content":[{"type":"tool_use","id":"u","name":%s,"input":{}}]}',
    b'{"role":"assistant","content":[{"type":"tool_use","id":"u","name":"x","input":%s}]}',
    b'{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":%s}]}',
    b'{"type":%s,"call_id":"t1","output":"x"}',
    b'{"type":"function_call_output","call_id":"t1","output":%s}',
)
TWICE = (
    b'{"role":"user","content":"a","content":"b"}',
    b'{"role":"user","role":"assistant","content":"b"}',
    b'{"content":"b"}',
    b'{"role":"us\xe9r","content":"x"}',
    b'{"r\\u006fle":"user","content":"x"}',
    b'{ "role" : "user" , "content" : [ ] }',
)


def attack(bench: Bench) -> Verdict:
    """In conversation after conversation: a form, the odd item, and one turn more."""
    target = bench.daemon()
    line = target.line()
    broken: list[str] = []
    count, formed = 0, 0
    for odd in _odd(bench):
        count += 1
        talk = Talk(bench)
        talk.rows()
        if not talk.turn(line):
            broken.append("an honest turn was left alone")
        talk.items += [talk.said("well", "assistant"), odd]
        talk.turn(line)
        talk.items.append(talk.said("ok", "assistant"))
        talk.rows()
        formed += talk.turn(line)
        if talk.broken:
            broken.append(f"{len(odd)} bytes: " + odd[:100].decode("latin-1"))
    broken += _rare(bench, line)
    figures = {
        "odd items": count,
        "conversations that went on with forms": formed,
        "broken": len(broken),
        "broken by": broken[:10],
        "tracebacks": target.log.count("Traceback"),
    }
    return Verdict(not broken, figures)


def _odd(bench: Bench) -> Iterator[bytes]:
    for place in PLACES:
        for value in VALUES:
            yield place % value
        yield place % nested(bench.random.choice(DEPTHS[:6]))
    for depth in DEPTHS:
        yield b'{"role":"user","content":[{"type":"x","v":%s}]}' % nested(depth)
        yield b'{"role":"user","content":' + b"[" * depth + b"]" * depth + b"}"
    yield from TWICE


def _rare(bench: Bench, line: Line) -> list[str]:
    """Well-formed, but rare: the client begins the model's answer behind a large output."""
    talk = Talk(bench)
    talk.rows()
    talk.turn(line)
    talk.used(bench.rows(7_000))
    talk.items.append(talk.said("Here is", "assistant"))
    talk.turn(line)
    return ["a begun answer"] if talk.broken else []
