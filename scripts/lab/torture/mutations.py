"""Makes hostile bodies of honest ones: fast, by their bytes, with a seed.

A body is cut and filled where its values stand, so that most of what comes out is JSON of the right
outline with something odd in it, and some of it is no JSON at all.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import zstandard

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|[^\s"\[\]{},:]+', re.DOTALL)
_DEPTHS = (3, 50, 400, 990, 2_000, 20_000)

# Texts that have fooled some reader once.
POISON: Sequence[str] = (
    "",
    "\0",
    "\ufeffx",
    "\ud800",
    "a\udfffb" * 30,
    "[lines 1-20 unchanged: see lines 1-20 of Read a.py above]",
    "[lines " + "1" * 5_000 + "-2 unchanged: see Read a.py above]",
    '[same output as Bash "x" above]',
    "[same output as " * 200,
    '[5 lines again, from "aaaaaaaaaaaa"]',
    "<<ccr:abcdef012345>>",
    "Retrieve original: hash=0123456789abcdef",
    "x" * 400,
    "\n" * 300,
    "line\n" * 60,
    "     1→a\n     2→b\n     3→c\n" * 20,
    json.dumps([{"a": row, "b": None} for row in range(40)], indent=2),
    json.dumps({"k": [1.0, 1e5, -0.0, 10**30]}, indent=4),
    "\x1b[31mred\x1b[0m\rprogress 1\rprogress 2\n" * 30,
    "\u2028\u2029\u0085\x0b\x0c" * 40,
    "🙂é" * 100,
    "warning: x y z\n  at f\n  at g\n" * 30,
    "٣" * 120 + "\n",
)
ODD: Sequence[Any] = (
    None,
    True,
    0,
    -1,
    10**400,
    1e308,
    1.5,
    [],
    {},
    [[]],
    {"": ""},
    [None],
    {"type": "text"},
    {"type": "text", "text": 5},
    {"type": "tool_result", "tool_use_id": None, "content": None},
    {"role": 5, "content": "x"},
    {"role": "user", "content": None},
    "x",
)
_BYTES: Sequence[bytes] = (
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\"),
    *(b"\\ud800", b"\\u0000", b"1e999", b"-", b"00", b"NaN", b"\xef\xbb\xbf", b" ", b"//"),
    *(b'"messages":[],', b'"request_body":{},', b'"metadata":{"login_name":"other"},'),
    *(b'"role":"user",', b'"content":"x",', b'"text":"y",', b'"cache_control":null,'),
)


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value stands in a body. `key` is the member's name as it is spelled, if it is one."""

    start: int
    end: int
    key: bytes = b""


def spans(raw: bytes) -> list[Span]:
    """Where all values stand, containers included. What is no JSON is passed over."""
    found: list[Span] = []
    opened: list[tuple[int, bytes]] = []
    key, last = b"", b""
    for token in _TOKEN.finditer(raw):
        what = token[0]
        if what in (b"{", b"["):
            opened.append((token.start(), key))
            key = b""
        elif what in (b"}", b"]"):
            if opened:
                start, named = opened.pop()
                found.append(Span(start, token.end(), named))
        elif what == b":":
            if found and found[-1].end <= token.start() and last[:1] == b'"':
                found.pop()  # it was not a value but a name
            key = last
        elif what == b",":
            key = b""
        else:
            found.append(Span(token.start(), token.end(), key))
            key = b""
        last = what
    return found


def spelled(value: Any) -> bytes:
    """A value as JSON. Lone surrogates become the bytes that they would have."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


_FILL = (*map(spelled, [*POISON, *ODD]), b'"\\ud800"', b"1e999", b"-0")


class Mutator:
    """Mutates bodies. The same seed gives the same ones."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._ways: Sequence[Callable[[bytes, Span, bytes], bytes]] = (
            self._fill,
            self._fill,
            self._delete,
            self._twice,
            self._copy,
            self._deepen,
            self._lengthen,
            self._mark,
            self._named_twice,
        )

    def mutated(self, raw: bytes, known: Sequence[Span]) -> bytes:
        """The body with some of its values changed. `known` are its spans."""
        chosen = self._random.sample(
            known, min(len(known), self._random.choice((1, 1, 1, 2, 3, 6)))
        )
        # From behind, so that the places of those before stay right; one in another is left out.
        first = len(raw)
        for span in sorted(chosen, key=lambda span: -span.start):
            if span.end <= first:
                raw = self._random.choice(self._ways)(raw, span, raw[span.start : span.end])
                first = span.start
        return raw

    def spoilt(self, raw: bytes) -> bytes:
        """The bytes with some of them changed, whatever they mean."""
        random = self._random
        data = bytearray(raw)
        for _ in range(random.choice((1, 1, 2, 4))):
            at = random.randrange(len(data) + 1)
            way = random.randrange(5)
            if way == 0:
                data[at:at] = random.choice(_BYTES)
            elif way == 1:
                del data[at : at + random.randrange(1, 30)]
            elif way == 2 and at < len(data):
                data[at] = random.randrange(256)
            elif way == 3:
                del data[at:]
            else:
                data[at:at] = data[at : at + random.randrange(1, 200)]
        return bytes(data)

    def coded(self, raw: bytes) -> tuple[bytes, str, bool]:
        """The bytes compressed, the name of the coding, and whether they were spoilt after it.

        Spoilt ones may become other bytes without an error: zstd has no checksum here.
        """
        coding = self._random.choice(("gzip", "zstd"))
        packed = gzip.compress(raw, 1) if coding == "gzip" else zstandard.compress(raw, 1)
        spoil = self._random.random() < 0.5
        return (self.spoilt(packed) if spoil else packed), coding, spoil

    def odd_items(self, items: list[Any], by_model: Callable[[Any], bool]) -> None:
        """Change some of a conversation's items that are not the model's, in place."""
        random = self._random
        theirs = [at for at, item in enumerate(items) if at > 1 and not by_model(item)]
        for at in random.sample(theirs, min(len(theirs), random.randrange(1, 4))):
            if random.random() < 0.3:
                items[at] = random.choice(ODD)
                continue
            raw = spelled(items[at])
            texts = [span for span in spans(raw) if raw[span.start] == ord('"')]
            texts = [span for span in texts if span.key in (b'"content"', b'"text"', b'"output"')]
            if not texts:
                continue
            span = random.choice(texts)
            text = json.loads(raw[span.start : span.end].decode("utf-8", "surrogatepass"))
            cut = random.randrange(len(text) + 1)
            poison = random.choice(POISON)
            new = random.choice((poison, text[:cut] + poison + text[cut:], text * 2))
            raw = raw[: span.start] + spelled(new) + raw[span.end :]
            items[at] = json.loads(raw.decode("utf-8", "surrogatepass"))

    def _fill(self, raw: bytes, span: Span, value: bytes) -> bytes:
        return raw[: span.start] + self._random.choice(_FILL) + raw[span.end :]

    def _delete(self, raw: bytes, span: Span, value: bytes) -> bytes:
        end = span.end + 1 if raw[span.end : span.end + 1] == b"," else span.end
        return raw[: span.start - len(span.key) - bool(span.key)] + raw[end:]

    def _twice(self, raw: bytes, span: Span, value: bytes) -> bytes:
        more = b"," + (span.key + b":" if span.key else b"") + value
        return raw[: span.end] + more + raw[span.end :]

    def _named_twice(self, raw: bytes, span: Span, value: bytes) -> bytes:
        if not span.key:
            return self._twice(raw, span, value)
        other = self._random.choice((b"null", b'"dup"', b"[]", b"{}"))
        return raw[: span.end] + b"," + span.key + b":" + other + raw[span.end :]

    def _copy(self, raw: bytes, span: Span, value: bytes) -> bytes:
        start = self._random.randrange(len(raw))
        found = _TOKEN.match(raw, start)
        return raw[: span.start] + (found[0] if found else b"null") + raw[span.end :]

    def _deepen(self, raw: bytes, span: Span, value: bytes) -> bytes:
        depth = self._random.choice(_DEPTHS)
        left, right = self._random.choice(((b"[", b"]"), (b'{"a":', b"}")))
        return raw[: span.start] + left * depth + value + right * depth + raw[span.end :]

    def _lengthen(self, raw: bytes, span: Span, value: bytes) -> bytes:
        if value[:1] != b'"':
            return self._twice(raw, span, value)
        inner = value[1:-1] * self._random.randrange(2, 5)
        return raw[: span.start] + b'"' + inner + b'"' + raw[span.end :]

    def _mark(self, raw: bytes, span: Span, value: bytes) -> bytes:
        if value[:1] != b"{" or len(value) == 2:
            return self._fill(raw, span, value)
        marks = (b'{"type":"ephemeral"}', b"null", b'{"a":{"b":1}}', b'"x"', b"1")
        mark = b'{"cache_control":' + self._random.choice(marks) + b","
        return raw[: span.start] + mark + raw[span.start + 1 :]
