"""An item of a conversation as a provider's cache sees it: blocks, each with its size in tokens.

Tokens are those of the vocabulary o200k, of what a model reads: JSON escapes undone, an image at a
fixed price, sealed thinking by its length. Of the vocabularies that can be had without a network
this one is nearest to Claude's bill, too: a line with a padded number costs 4.3 to 5.5 tokens
there, and its text's length divided by four says less.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from tsheadroom.child.compress import tokens
from tsheadroom.providers.shapes import Json

IMAGE_TOKENS = 1500  # a screenshot at the size that clients send
_IMAGES = ("image", "input_image", "image_url")
_SEALED = ("signature", "encrypted_content", "thoughtSignature", "data")
# Sealed thinking is base64 of about 4 bytes a token: 3 bytes in 4 characters.
_SEALED_TOKENS, _SEALED_CHARACTERS = 3, 16
# Members that a model does not read as text.
_UNREAD = ("type", "id", "call_id", "tool_use_id", "tool_call_id", "role", "status")
_FRAME_TOKENS = 3  # around an object
_CALL_TOKENS = 8  # around a tool call: its name and its frame


@dataclass(frozen=True, slots=True)
class Block:
    """The unit in which a prompt cache counts. `mark` is True if it has a breakpoint."""

    digest: bytes
    tokens: int
    mark: bool = False


class Counter:
    """Counts tokens; each text is counted once."""

    def __init__(self, count: Callable[[str], int] = tokens.count) -> None:
        self._count = count
        self._known: dict[bytes, int] = {}

    def text(self, text: str) -> int:
        """The tokens of a text."""
        key = _digest(text.encode("utf-8", "surrogatepass"))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._count(text)
        return found

    def read(self, value: Json, key: str = "") -> int:
        """The tokens of a JSON value as a model reads it. Raises RecursionError."""
        if isinstance(value, str):
            return _sealed(value) if key in _SEALED else self.text(value)
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list):
            return sum(map(self.read, value))
        return 1

    def _object(self, value: dict[str, Json]) -> int:
        kind = value.get("type")
        if kind in _IMAGES or "inlineData" in value:
            return IMAGE_TOKENS
        if kind == "thinking":
            text = str(value.get("thinking") or "")
            return self.text(text) if text else _sealed(str(value.get("signature") or ""))
        if kind == "tool_use":
            return self.text(_dumps(value.get("input"))) + _CALL_TOKENS
        members = (self.read(inner, key) for key, inner in value.items() if key not in _UNREAD)
        return sum(members) + _FRAME_TOKENS


class Blocks:
    """The blocks of items, by an item's bytes; each is taken apart once."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._known: dict[tuple[bool, bytes], tuple[Block, ...]] = {}

    def of(self, item: bytes, *, messages: bool) -> tuple[Block, ...]:
        """The blocks of one item. With `messages` those of its content, else it is one block."""
        key = (messages, item)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = tuple(self._parse(item, messages))
        return found

    def _parse(self, item: bytes, messages: bool) -> list[Block]:
        value = json.loads(item.decode("utf-8", "surrogatepass"))
        if not messages:
            return [self._block("", value)]
        content = value.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        blocks = content if isinstance(content, list) else []
        return [self._block(str(value.get("role")), block) for block in blocks]

    def _block(self, role: str, value: Json) -> Block:
        mark = isinstance(value, dict) and "cache_control" in value
        plain = _plain(value)
        text = role + _dumps(plain)
        digest = _digest(text.encode("utf-8", "surrogatepass"))
        return Block(digest, self._counter.read(plain), mark)


def _plain(value: Json) -> Json:
    """The value without what a cache ignores: no breakpoints, a result's string as a text block."""
    if isinstance(value, dict):
        value = {key: _plain(inner) for key, inner in value.items() if key != "cache_control"}
        if value.get("type") == "tool_result" and isinstance(value.get("content"), str):
            value["content"] = [{"type": "text", "text": value["content"]}]
        return value
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _sealed(text: str) -> int:
    return len(text) * _SEALED_TOKENS // _SEALED_CHARACTERS


def _dumps(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=12).digest()
