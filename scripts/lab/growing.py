"""Conversations that grow turn by turn, as bytes that can be posted.

Messages are serialised once, and requests are put together from them. So the client's own work
stays small beside what is measured, also for a request of a megabyte.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from scripts.lab import traffic

# A conversation that is longer than all traces goes on with their texts in other words. The same
# words again would be repeats, which are cheap. Layout, line numbers and JSON stay as they are.
_LONG_WORD = re.compile(r"\b[a-z]{6,}\b")


class Growing:
    """One long conversation. A turn is a prefix of it; sessions differ in their first message."""

    def __init__(self, traces: list[Path], size: int, turns: int, variety: int = 0) -> None:
        """Make it so long that `turns` turns follow the first request of at least `size` bytes.

        Each `variety` above 0 has other words, which no cache has seen.
        """
        self._messages: list[bytes] = []
        self._ends: list[int] = []  # how many messages each turn's request has
        self.first = -1  # the turn whose request is the first of `size` bytes
        held = 0
        for message in _endless(tuple(traces), variety):
            if message["role"] == "assistant" and self._messages:
                self._ends.append(len(self._messages))
                if self.first < 0 and held >= size:
                    self.first = len(self._ends) - 1
                if 0 <= self.first < len(self._ends) - turns:
                    break
            self._messages.append(traffic.dumps(message))
            held += len(self._messages[-1]) + 1

    def messages(self, turn: int) -> int:
        """How many messages the request of a turn has."""
        return self._ends[turn] + 2

    def request(self, session: str, turn: int) -> bytes:
        """The hook call of a session's turn."""
        parts = self._messages[: self._ends[turn]]
        users = [at for at, part in enumerate(parts) if part.startswith(b'{"role":"user"')]
        for at in users[-2:]:
            parts[at] = traffic.dumps(traffic.marked([json.loads(parts[at])])[0])
        head = traffic.dumps(
            [
                {"role": "user", "content": f"session {session}"},
                {"role": "assistant", "content": "ok"},
            ]
        )
        empty = {**traffic.body([]), "messages": "@"}
        call = traffic.hook_call(empty, session, f"{session}-{turn}")
        return call.replace(b'"@"', head[:-1] + b"," + b",".join(parts) + b"]", 1)


@lru_cache(maxsize=4)
def _stitched(traces: tuple[Path, ...]) -> list[dict[str, Any]]:
    """The messages of all traces, one trace after another."""
    messages: list[dict[str, Any]] = []
    for path in traces:
        part = traffic.messages_of(path)
        while part and part[-1]["role"] != "assistant":
            part.pop()
        messages += part
    return messages


def _endless(traces: tuple[Path, ...], variety: int) -> Iterator[dict[str, Any]]:
    """Yield the messages of all traces again and again, each time with other words and ids."""
    for lap in itertools.count():
        suffix = f"{variety or ''}{'x' * lap}"
        for message in _stitched(traces):
            yield varied(message, suffix) if suffix else message


def varied(value: Any, suffix: str, key: str = "") -> Any:
    """A message with the suffix at each longer word, and at the ids of calls."""
    if isinstance(value, str):
        if key in ("id", "tool_use_id"):
            return f"{value}_{suffix}"
        kept = key in ("role", "type", "name")
        return value if kept else _LONG_WORD.sub(lambda match: match[0] + suffix, value)
    if isinstance(value, list):
        return [varied(item, suffix) for item in value]
    if isinstance(value, dict):
        return {k: varied(v, suffix, k) for k, v in value.items()}
    return value
