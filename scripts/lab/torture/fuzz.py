"""Sends hostile bodies of all shapes as fast as it can, and checks each answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from scripts.lab.torture import bodies, wire
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.checking import ALLOW, Break, Checker, Finding, Provider, by_model
from scripts.lab.torture.conversations import (
    SHAPES,
    Conversation,
    Item,
    Request,
    mark,
    parsed,
    recorded,
)
from scripts.lab.torture.mutations import Mutator, Span, spans
from scripts.lab.torture.tally import Tally
from scripts.lab.torture.target import Target
from scripts.lab.torture.verdict import Verdict
from scripts.lab.torture.wire import Connect, Line, Reply

CONNECTIONS = 4
LATE_SECONDS = 5.0  # Aperture waits so long by default
SETTINGS: Sequence[tuple[Mapping[str, Any], float]] = (({}, 0.75), ({"lossy": True}, 0.25))
_GROWING = 0.05  # the share of rounds that play a conversation of several turns
_CODED = 0.08
_SPOILT = 0.2
_LONGEST = (80, 80, 300, 1_000, 4_000)  # characters of a text in an honest body
_ITEMS = 8
_OWN = b"zq0000000000qz"  # stands for the mark in a body that is made once


class Fuzzer:
    """One connection's share of the bodies."""

    def __init__(
        self,
        connect: Connect,
        messages: Sequence[Sequence[Item]],
        tally: Tally,
        checker: Checker,
        seed: int,
        number: int,
        numbers: count[int],
    ) -> None:
        """`messages` are those of recorded conversations, `numbers` the marks' of all bodies."""
        self._line = Line(connect)
        self._tally = tally
        self._random = Random(f"{seed} fuzz {number}")
        self._mutator = Mutator(self._random)
        self._numbers = numbers
        self._step = f"seed {seed}, connection {number}"
        self._messages = messages
        self._checker = checker
        self._bodies = [self._body() for _ in range(60)]

    def _some(self) -> list[Item]:
        """A few messages of a recorded conversation, with texts that are not long."""
        messages = self._random.choice(self._messages)
        first = self._random.randrange(max(1, len(messages) - _ITEMS))
        longest = self._random.choice(_LONGEST)
        cut: list[Item] = _cut(messages[first : first + self._random.randrange(2, _ITEMS)], longest)
        return cut

    def _conversation(self) -> Conversation:
        shape = self._random.choice(SHAPES)
        return Conversation(self._some(), shape, next(self._numbers), "any@example.com")

    def _body(self) -> tuple[bytes, list[Span]]:
        """A hook call that mutations begin with, its mark left open, and its spans."""
        conversation = self._conversation()
        call = conversation.request(len(conversation) - 1).call
        call = call.replace(conversation.mark, _OWN)
        return call, spans(call)

    def round(self) -> None:
        """Send the next body, or the next few of one conversation."""
        if self._random.random() < _GROWING:
            self._grow()
        else:
            self._one()

    def _one(self) -> None:
        raw, known = self._random.choice(self._bodies)
        data = self._mutator.mutated(raw, known)
        if self._random.random() < _SPOILT:
            data = self._mutator.spoilt(data)
        own = mark(next(self._numbers)).encode()
        data = data.replace(_OWN, own)
        headers = {}
        sent, unknown = data, False
        if self._random.random() < _CODED:
            sent, headers["Content-Encoding"], unknown = self._mutator.coded(data)
        reply = self._exchange(wire.request(sent, headers=headers), data)
        if reply is None or reply.body == ALLOW or unknown:
            return
        self._tally.found(self._wrong(data, reply.body, own), self._step, data, reply.body)

    def _exchange(self, raw: bytes, data: bytes) -> Reply | None:
        """The answer, if there is one with a status that says so."""
        try:
            reply = self._line.exchange(raw)
        except OSError as error:
            self._tally.sent()
            self._tally.found([Finding(Break.NO_ANSWER, repr(error))], self._step, data)
            return None
        self._tally.sent(reply.seconds)
        if reply.seconds > LATE_SECONDS:
            late = Finding(Break.LATE, f"{reply.seconds:.1f} s")
            self._tally.found([late], self._step, data, reply.body)
        if reply.status != 200:
            wrong = Finding(Break.STATUS, str(reply.status))
            self._tally.found([wrong], self._step, data, reply.body)
            return None
        return reply

    def _wrong(self, data: bytes, body: bytes, own: bytes) -> list[Finding]:
        """What is wrong with an answer that is not a plain `allow`."""
        raw = bodies.member(data, b"request_body") or b""
        try:
            sent = parsed(raw)
        except RecursionError:
            return []  # too deep for this check
        except ValueError as error:
            return [Finding(Break.BODY, f"modify, for what is no JSON: {error}")]
        key = next((k for k in ("messages", "input", "contents") if k in sent), "")
        request = Request(data, raw, key, sent.get(key))
        return self._checker.forwarded(request, body, own).findings

    def _grow(self) -> None:
        """Play a conversation with odd items, of which nothing may change that was forwarded."""
        conversation = self._conversation()
        self._mutator.odd_items(conversation.items, by_model)
        provider = Provider(self._checker, conversation.mark)
        for request in conversation.requests():
            reply = self._exchange(wire.request(request.call), request.call)
            if reply is None:
                return
            findings = provider.answered(request, reply.body)
            self._tally.found(findings, self._step, request.call, reply.body)
        self._tally.ended(provider)

    def close(self) -> None:
        """Close the connection."""
        self._line.close()


def run(bench: Bench, traces: Sequence[Path], wanted: int) -> Verdict:
    """Send so many bodies, a part of them to a daemon that may leave something out."""
    tally = Tally(bench.folder / "kept")
    shown: dict[str, Any] = {}
    seconds, alive = 0.0, True
    for settings, share in SETTINGS:
        with Target("--deadline", "2s", settings=settings) as target:
            before, started = target.footprint(), time.monotonic()
            with target.watched() as watch:
                _play(
                    bench, target, traces, tally, tally.requests + round(share * wanted), settings
                )
            seconds += time.monotonic() - started
            after = target.footprint()
            alive = alive and target.running
        name = "lossy" if settings else "lossless"
        shown[f"{name}, memory"] = f"{before.rss:.0f} -> {after.rss:.0f} MiB"
        shown[f"{name}, descriptors"] = f"{before.descriptors} -> {after.descriptors}"
        shown[f"{name}, threads"] = f"{before.threads} -> {after.threads}"
        shown |= {f"{name}, {key}": value for key, value in watch.figures().items()}
    rate = {"bodies a second": round(tally.requests / seconds)}
    return Verdict(
        alive and not tally.breaks, {**tally.figures(), **rate, **shown, "broken at": tally.kept}
    )


def _play(
    bench: Bench,
    target: Target,
    traces: Sequence[Path],
    tally: Tally,
    end: int,
    settings: Mapping[str, Any],
) -> None:
    """Send bodies on some connections until so many were sent in all."""
    numbers = count(bench.random.getrandbits(32))
    checker = Checker(lossy=bool(settings))
    messages = [recorded(path) for path in traces]
    fuzzers = [
        Fuzzer(target.connect, messages, tally, checker, bench.seed, number, numbers)
        for number in range(CONNECTIONS)
    ]
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for done in [threads.submit(_drive, fuzzer, tally, end) for fuzzer in fuzzers]:
            done.result()


def _drive(fuzzer: Fuzzer, tally: Tally, wanted: int) -> None:
    while tally.requests < wanted:
        fuzzer.round()
    fuzzer.close()


def _cut(value: Any, longest: int) -> Any:
    """The value with its texts cut to so many characters."""
    if isinstance(value, str):
        return value[:longest]
    if isinstance(value, list):
        return [_cut(inner, longest) for inner in value]
    if isinstance(value, dict):
        return {key: _cut(inner, longest) for key, inner in value.items()}
    return value
