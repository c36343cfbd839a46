"""Whatever shape a large body has, it is answered, and keeps nobody else waiting meanwhile.

Very many tiny items, one item of 49 MB, brackets and escapes without end, members of every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from scripts.lab.torture.attacks._common import ask, quiet_stall
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.verdict import Verdict

MOST = 50 << 20
SECONDS = 6.0  # the deadline, and what it takes to read and to write 50 MB on busy cores
STALL_MS = 250  # five times what must hold: both cores are busy with the attack itself.
# What the machine adds without an attack counts beside.

_TINY = (b'{"role":"user","content":"x"}', b'{"role":"assistant","content":"x"}')


def attack(bench: Bench) -> Verdict:
    """Send each alone, and look how long nobody else was served."""
    target = bench.daemon()
    figures: dict[str, str] = {}
    well = True
    machine = quiet_stall(target)
    figures["stall without an attack"] = f"{machine:.0f} ms"
    for name, make in _shapes(bench):
        body = make()
        with target.watched() as watch:
            reply = ask(target, body)
        well &= (
            reply.status == 200
            and reply.seconds < SECONDS
            and watch.stalled_ms < STALL_MS + machine
        )
        figures[name] = (
            f"{len(body) >> 10} KiB, {reply.status} in {reply.seconds:.2f} s, "
            f"stall {watch.stalled_ms:.0f} ms, {watch.rss:.0f} MiB"
        )
        del body
    return Verdict(well and target.running, figures)


def _shapes(bench: Bench) -> Iterator[tuple[str, Callable[[], bytes]]]:
    alternating = _call(b",".join(_TINY * 600_000))
    text = f"line of text {bench.salt()}\n" * 1_600_000
    output = bench.call(text[: MOST - 2_100_000])
    yield "100,000 tiny items", lambda: _call(b",".join(_TINY[:1] * 100_000))
    yield "1,200,000 tiny items", lambda: alternating
    yield "the same again", lambda: alternating
    yield "an output of 49 MB", lambda: output
    yield "that again", lambda: output
    yield "a message of 49 MB", lambda: _call(_said(b"x" * (49 << 20)))
    yield "49 MB of [", lambda: b'{"request_body":{"messages":' + b"[" * (49 << 20)
    yield "balanced brackets", lambda: _call(b"[" * (24 << 20) + b"]" * (24 << 20))
    yield "line breaks, then nothing", lambda: _call(b'"' + b"\\n" * (24 << 20))[:-3]
    yield "escapes and half a surrogate", lambda: _call(_said(b"\\n" * 8_000_000 + b"\\ud800"))
    yield "breakpoints as strings", lambda: _call(_input(b'"cache_control"', 300_000))
    yield "breakpoints as members", lambda: _call(_input(b'{"cache_control":{}}', 300_000))
    yield "blocks with breakpoints", lambda: _call(_blocks(b',"cache_control":{"type":"x"}'))
    yield "blocks", lambda: _call(_blocks(b""))
    yield "members of the body", lambda: _call(_TINY[0], _members(400_000))
    yield "members of the metadata", lambda: _call(_TINY[0], head=_members(400_000))
    yield "tools used, never answered", lambda: bench.messages([_uses(200_000)])
    yield "digits", lambda: _call(b'{"role":"user","content":' + b"9" * (40 << 20) + b"}")


def _call(messages: bytes, members: bytes = b'"a":1', head: bytes = b'"a":1') -> bytes:
    login = b'"login_name":"attacker@example.com"'
    return (
        b'{"metadata":{%s,%s},"request_body":{%s,"messages":[' % (login, head, members)
        + messages
        + b"]}}"
    )


def _said(text: bytes) -> bytes:
    return b'{"role":"user","content":"' + text + b'"}'


def _input(value: bytes, count: int) -> bytes:
    """A tool's use with very many values."""
    begin = b'{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"x","input":{"l":['
    return begin + b",".join([value] * count) + b"]}}]}"


def _blocks(member: bytes) -> bytes:
    block = b'{"type":"text","text":"x"%s}' % member
    return b'{"role":"user","content":[' + b",".join([block] * 200_000) + b"]}"


def _members(count: int) -> bytes:
    return b",".join(b'"k%d":1' % number for number in range(count))


def _uses(count: int) -> dict[str, object]:
    block = {"type": "tool_use", "id": "t", "name": "x", "input": {}}
    return {"role": "assistant", "content": [block] * count}
