"""The conversations that this child holds, so that a turn costs only what is new."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from tsheadroom.child.protocol import UnknownBaseError, chain, form_token

HELD_BYTES = 16 * 1024 * 1024
"""Of all conversations together: twenty sessions of 200 KB (0.8 MB each, measured). One that is not
held is sent again, which costs some 20 ms; the memory would be paid by every worker for ever."""

BYTES_A_CONVERSATION = 2048
"""Added to what a conversation says of itself, so that empty ones are bounded, too."""


MODEL_LIMIT = 200_000
"""Reported for readers of the log line; it changes nothing in Headroom 0.42."""


class Result(Protocol):
    """What came of the new items; `forms` name items relative to those given."""

    forms: list[dict[str, Any]]
    tokens_before: int
    tokens_after: int
    transforms_applied: list[str]
    notes: dict[str, Any]


class Conversation(Protocol):
    """One conversation as the compression holds it."""

    @property
    def size(self) -> int: ...
    @property
    def length(self) -> int: ...
    def context(self, item: dict[str, Any]) -> None: ...
    def compress(
        self, items: list[dict[str, Any]], model: str, config: dict[str, Any]
    ) -> Result: ...
    def refuse(self, indexes: Iterable[int]) -> None: ...


class Compressor(Protocol):
    """The compression of one process."""

    headroom_version: str
    lacks: str

    def warm_up(self) -> None: ...
    def conversation(self) -> Conversation: ...


class _Held:
    """A conversation, its chain, and what is needed to put forms of the last turn back."""

    __slots__ = ("chain", "conversation", "last", "size", "start", "start_chain")

    def __init__(self, conversation: Conversation, prefix: bytes) -> None:
        self.conversation = conversation
        self.chain = prefix
        self.size = 0
        self.restart()

    def restart(self) -> None:
        """A new turn begins here: earlier forms can no longer be refused."""
        self.start, self.start_chain = self.conversation.length, self.chain
        self.last: list[tuple[str, bytes]] = []  # digest and token of each item of the last turn

    def extend(self, items: Sequence[dict[str, Any]], tokens: dict[int, bytes]) -> None:
        self.last = [(item["digest"], tokens.get(i, b"")) for i, item in enumerate(items)]
        self._relink()

    def refuse(self, indexes: Iterable[int]) -> None:
        """Put the originals of these items back; they must be of the last turn."""
        wanted = set(indexes)
        if not all(0 <= index - self.start < len(self.last) for index in wanted):
            raise UnknownBaseError("a refused item is not of the last turn")
        self.conversation.refuse(sorted(wanted))
        for index in wanted:
            digest, _ = self.last[index - self.start]
            self.last[index - self.start] = (digest, b"")
        self._relink()

    def _relink(self) -> None:
        self.chain = self.start_chain
        for digest, token in self.last:
            self.chain = chain(self.chain, digest, token)


class Conversations:
    """All that this child holds, least recently used first out."""

    def __init__(self, compressor: Compressor, limit: int = HELD_BYTES) -> None:
        self._compressor = compressor
        self._limit = limit
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._size = 0

    def turn(self, payload: dict[str, Any]) -> dict[str, Any]:
        """One request's payload to its result. Any error forgets the conversation."""
        key: str = payload["conversation"]
        held = self._forget(key)  # comes back below, when all went well
        held, items = self._resume(held, payload)
        held.restart()
        started = time.perf_counter()
        result = held.conversation.compress(
            items, payload.get("model") or "", payload.get("config") or {}
        )
        elapsed = (time.perf_counter() - started) * 1000
        forms = self._utter(held, items, result.forms)
        self._remember(key, held)
        return _spell(result, forms, elapsed)

    def _resume(
        self, held: _Held | None, payload: dict[str, Any]
    ) -> tuple[_Held, list[dict[str, Any]]]:
        """The conversation that the request continues, and the items that are new in it."""
        base, frozen = payload.get("base", 0), payload.get("frozen", 0)
        prefix = bytes.fromhex(payload.get("prefix", ""))
        messages: list[dict[str, Any]] = payload["messages"]
        if frozen or not base:
            if base or (prefix and not frozen):
                raise UnknownBaseError("a whole conversation starts at 0")
            conversation = self._compressor.conversation()
            for item in messages[:frozen]:
                conversation.context(item)
            return _Held(conversation, prefix), messages[frozen:]
        if held is None:
            raise UnknownBaseError("not held here")
        if payload.get("refused"):
            held.refuse(payload["refused"])
        if held.conversation.length != base or held.chain != prefix:
            raise UnknownBaseError("held otherwise")
        return held, messages

    def _utter(
        self, held: _Held, items: list[dict[str, Any]], forms: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """The forms with absolute indexes, those apart that no JSON line could carry."""
        mute = {form["item"] for form in forms if not _sayable(form)}
        tokens = {form["item"]: _token(form) for form in forms if form["item"] not in mute}
        held.extend(items, tokens)
        if mute:
            held.refuse(held.start + index for index in mute)
        return [
            {**form, "item": held.start + form["item"]} for form in forms if form["item"] in tokens
        ]

    def _forget(self, key: str) -> _Held | None:
        held = self._held.pop(key, None)
        if held is not None:
            self._size -= held.size
        return held

    def _remember(self, key: str, held: _Held) -> None:
        held.size = held.conversation.size + BYTES_A_CONVERSATION
        self._held[key] = held
        self._size += held.size
        while self._size > self._limit and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._size -= oldest.size


def _token(form: dict[str, Any]) -> bytes:
    return form_token((edit["slot"], edit["text"]) for edit in form["edits"])


def _sayable(form: dict[str, Any]) -> bool:
    """Whether the texts are Unicode; Headroom passes half a surrogate pair on as it came."""
    try:
        for edit in form["edits"]:
            edit["text"].encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _spell(result: Result, forms: list[dict[str, Any]], elapsed: float) -> dict[str, Any]:
    before, after = result.tokens_before, result.tokens_after
    return {
        "forms": forms,
        "tokens_before": before,
        "tokens_after": after,
        "tokens_saved": before - after,
        "compression_ratio": round(after / before, 4) if before else 1.0,
        "transforms_applied": result.transforms_applied,
        "model_limit": MODEL_LIMIT,
        "elapsed_ms": round(elapsed, 3),
        "notes": result.notes,
    }
