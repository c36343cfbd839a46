"""The conversations that this child holds, so that a turn costs only what is new."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from tsheadroom.child.protocol import OutOfTimeError, UnknownBaseError, chain, form_token
from tsheadroom.child.watch import Stopwatch

HELD_BYTES = 16 * 1024 * 1024
"""Of all conversations together: twenty sessions of 200 KB (0.8 MB each, measured). One that is not
held is sent again, which costs some 20 ms; the memory would be paid by every worker for ever."""

BYTES_A_CONVERSATION = 2048
"""Added to what a conversation says of itself, so that empty ones are bounded, too."""

MODEL_LIMIT = 200_000
"""Reported for readers of the log line; it changes nothing in Headroom 0.42."""


class ResultProtocol(Protocol):
    """What came of the new items of one request.

    Each form is a dict as `protocol.py` has it, but its `item` counts from the first item given.
    `notes` counts events by name. `convicted` are items, counted likewise, that took too much.
    """

    forms: list[dict[str, Any]]
    notes: dict[str, Any]
    convicted: list[int]


class ConversationProtocol(Protocol):
    """One conversation as the compression holds it."""

    @property
    def size(self) -> int:
        """Bytes held, about."""

    @property
    def length(self) -> int:
        """How many items it has taken in."""

    def context(self, item: dict[str, Any]) -> None:
        """Take in an item that is forwarded as it stands here."""

    def compress(
        self,
        items: list[dict[str, Any]],
        model: str,
        config: dict[str, Any],
        watch: Stopwatch | None = None,
    ) -> ResultProtocol:
        """Decide the forms of new items, and hold the items as forwarded with these forms.

        `watch` is asked before each of them, and limits its time.
        """


class CompressorProtocol(Protocol):
    """The compression of one process."""

    headroom_version: str
    lacks: str

    @property
    def worn(self) -> bool:
        """True if this process should be replaced before its next call."""

    def warm_up(self) -> None:
        """Pay what the first call costs."""

    def conversation(self) -> ConversationProtocol:
        """A new conversation, without items."""


class _Held:
    """A conversation and the chain of its items as forwarded."""

    __slots__ = ("chain", "conversation", "size")

    def __init__(self, conversation: ConversationProtocol, prefix: bytes) -> None:
        self.conversation = conversation
        self.chain = prefix
        self.size = 0

    def extend(self, items: Sequence[dict[str, Any]], forms: Sequence[dict[str, Any]]) -> None:
        """Add new items to the chain, each with the token of its form if it got one."""
        tokens = {form["item"]: _token(form) for form in forms}
        for index, item in enumerate(items):
            self.chain = chain(self.chain, item["digest"], tokens.get(index, b""))


class HeldConversations:
    """All that this child holds, at most `limit` bytes; the least recently used go first."""

    def __init__(
        self,
        compressor: CompressorProtocol,
        limit: int = HELD_BYTES,
        watch: Stopwatch | None = None,
    ) -> None:
        self._compressor = compressor
        self._watch = watch or Stopwatch()
        self._limit = limit
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._size = 0

    def turn(self, payload: dict[str, Any], within: float = math.inf) -> dict[str, Any]:
        """One request's payload to its result, both as `protocol.py` has them.

        The caller waits for `within` seconds.
        Raises UnknownBaseError where the request builds on something else than what is held here,
        OutOfTimeError where there is no time to take in what was forwarded before.
        Any error forgets the conversation: nobody knows how much of the turn it has taken in.
        """
        self._watch.begin_call(within)
        key: str = payload["conversation"]
        held = self._forget(key)  # comes back below, when all went well
        held, items = self._resume(held, payload)
        first = held.conversation.length
        started = time.perf_counter()
        result = held.conversation.compress(
            items, payload.get("model") or "", payload.get("config") or {}, self._watch
        )
        elapsed = (time.perf_counter() - started) * 1000
        held.extend(items, result.forms)
        dropped = self._remember(key, held)
        return {
            "forms": [{**form, "item": first + form["item"]} for form in result.forms],
            "model_limit": MODEL_LIMIT,
            "elapsed_ms": round(elapsed, 3),
            "notes": result.notes,
            "convicted": [first + item for item in result.convicted],
            "worn": self._compressor.worn,
            "dropped": dropped,
        }

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
                if self._watch.late:
                    raise OutOfTimeError("what was forwarded before is too much")
            return _Held(conversation, prefix), messages[frozen:]
        if held is None:
            raise UnknownBaseError("not held here")
        if held.conversation.length != base or held.chain != prefix:
            raise UnknownBaseError("held otherwise")
        return held, messages

    def _forget(self, key: str) -> _Held | None:
        held = self._held.pop(key, None)
        if held is not None:
            self._size -= held.size
        return held

    def _remember(self, key: str, held: _Held) -> list[str]:
        """Hold a conversation. Returns the names of those that had to go for it."""
        held.size = held.conversation.size + BYTES_A_CONVERSATION
        self._held[key] = held
        self._size += held.size
        dropped: list[str] = []
        while self._size > self._limit and len(self._held) > 1:
            name, oldest = self._held.popitem(last=False)
            self._size -= oldest.size
            dropped.append(name)
        return dropped


def _token(form: dict[str, Any]) -> bytes:
    return form_token((edit["slot"], edit["text"]) for edit in form["edits"])
