"""Works out what a conversation costs at the prices of a provider's prompt cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.lab import agent_turns, traffic
from scripts.lab.traffic import Body

LOOKBACK = 20  # content blocks; Anthropic's rule, see docs/prompt-cache.md
CHARACTERS_PER_TOKEN = 4

# name -> (price of a read, price of a write, True if any prefix is cached). Prices are multiples of
# an uncached token's.
TABLES = {
    "anthropic": (0.1, 1.25, False),
    "read 0.05": (0.05, 1.25, False),
    "read 0.025": (0.025, 1.25, False),
    "openai": (0.1, 1.0, True),
}

Policy = Callable[[float, Body], Body]
"""Takes the time of a request in seconds, and its body. Returns the body that is forwarded."""


@dataclass
class Bill:
    """What one conversation costs under one policy."""

    cost: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TABLES, 0.0))
    curve: list[float] = field(default_factory=list)  # Anthropic's cost up to each turn
    tokens: float = 0.0
    broken: int = 0  # requests whose prefix changed though the client's had not
    dangling: int = 0  # requests with a marker for content that nobody can retrieve
    last: Body | None = None  # the last request, as forwarded


@dataclass
class Prompt:
    """A request's content blocks in the order of the cache. Each list has an entry for a block."""

    texts: list[str] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)  # tokens
    chain: list[bytes] = field(default_factory=list)  # hash of the blocks up to this one
    marks: list[int] = field(default_factory=list)  # but this one has the indexes of breakpoints

    @classmethod
    def of(cls, body: Body) -> Prompt:
        """Take a request's body apart."""
        prompt, link = cls(), b""
        for index, (text, is_mark) in enumerate(blocks(body)):
            prompt.texts.append(text)
            prompt.sizes.append(len(text) / CHARACTERS_PER_TOKEN)
            link = hashlib.blake2b(link + text.encode("utf-8", "surrogatepass")).digest()
            prompt.chain.append(link)
            prompt.marks += [index] if is_mark else []
        return prompt


class Cache:
    """A provider's prompt cache, as far as one conversation fills it."""

    def __init__(self, read: float, write: float, any_prefix: bool) -> None:
        self._read, self._write, self._any_prefix = read, write, any_prefix
        self._entries: set[bytes] = set()
        self._used = 0.0

    def bill(self, prompt: Prompt, now: float, ttl: float) -> float:
        """The price of one request, in uncached tokens. With `ttl` 0, entries never expire."""
        # All requests begin alike, so all entries are used again, or expire, together.
        if ttl and now - self._used > ttl:
            self._entries.clear()
        self._used = now
        hit, written = self._automatic(prompt) if self._any_prefix else self._explicit(prompt)
        written = max(written, hit)
        return (
            self._read * sum(prompt.sizes[:hit])
            + self._write * sum(prompt.sizes[hit:written])
            + sum(prompt.sizes[written:])
        )

    def _automatic(self, prompt: Prompt) -> tuple[int, int]:
        """How many blocks are read from the cache, and how many are in it afterwards."""
        chain = prompt.chain
        hit = next((i for i, c in enumerate(chain) if c not in self._entries), len(chain))
        self._entries.update(chain)
        return hit, len(chain)

    def _explicit(self, prompt: Prompt) -> tuple[int, int]:
        """The same for a cache that is written at breakpoints and looks a little before them."""
        chain, marks = prompt.chain, prompt.marks
        hit = 0
        for mark in reversed(marks):
            near = range(mark, max(-1, mark - LOOKBACK - 1), -1)
            hit = next((i + 1 for i in near if chain[i] in self._entries), 0)
            if hit:
                break
        self._entries.update(chain[mark] for mark in marks)
        return hit, marks[-1] + 1 if marks else 0


def bill(path: Path, policy: Policy, *, as_modern: bool, ttl: float) -> Bill:
    """Work out what one conversation costs under one policy."""
    total, caches = Bill(), {name: Cache(*table) for name, table in TABLES.items()}
    previous: list[str] = []
    before: list[str] = []
    for now, body in agent_turns.turns(path, as_modern=as_modern):
        forwarded = policy(now, body)
        prompt = Prompt.of(forwarded)
        for name, cache in caches.items():
            total.cost[name] += cache.bill(prompt, now, ttl)
        total.curve.append(total.cost["anthropic"])
        total.tokens += sum(prompt.sizes)
        original = [text for text, _ in blocks(body)]
        client_kept = original[: len(before)] == before
        total.broken += client_kept and prompt.texts[: len(previous)] != previous
        total.dangling += _promises("".join(prompt.texts))
        previous, before = prompt.texts, original
        total.last = forwarded
    return total


def blocks(body: Body) -> Iterator[tuple[str, bool]]:
    """Yield each content block's text, in the order of the cache, and True for a breakpoint."""
    for block in body["system"]:
        yield _text(block), "cache_control" in block
    for message in body["messages"]:
        content = message["content"]
        for block in content if isinstance(content, list) else [{"type": "text", "text": content}]:
            yield message["role"] + _text(block), "cache_control" in block


def _text(block: Any) -> str:
    return traffic.dumps(_unmarked(block)).decode("utf-8", "surrogatepass")


def _unmarked(value: Any) -> Any:
    """The value without breakpoints."""
    if isinstance(value, dict):
        return {k: _unmarked(v) for k, v in value.items() if k != "cache_control"}
    return [_unmarked(v) for v in value] if isinstance(value, list) else value


def _promises(text: str) -> bool:
    """True if the text tells the model to retrieve something."""
    return any(marker in text for marker in ("Retrieve original", "Retrieve more", "<<ccr:"))


def percent(part: float, whole: float) -> float:
    """`part` in percent of `whole`, with one decimal; 100 if `whole` is 0."""
    return round(100 * part / whole, 1) if whole else 100.0
