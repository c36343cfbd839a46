"""Recorded conversations as a client sends them, and the check that what was sent never changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Body = dict[str, Any]

DATA = Path(__file__).parent / "data"
TRACES = sorted(DATA.glob("*.jsonl"))
MARKERS = ("Retrieve original", "Retrieve more", "headroom_retrieve", "<<ccr:", "hash=")


def messages_of(path: Path) -> list[Body]:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [{"role": m["role"], "content": m["content"]} for m in lines[1:]]


def marked(messages: list[Body]) -> list[Body]:
    """With breakpoints on the last two user messages, as Claude Code sets them."""
    messages = copy.deepcopy(messages)
    for message in [m for m in messages if m["role"] == "user"][-2:]:
        if not isinstance(message["content"], list):
            message["content"] = [{"type": "text", "text": message["content"]}]
        if message["content"]:
            message["content"][-1]["cache_control"] = {"type": "ephemeral"}
    return messages


def turns(path: Path) -> Iterator[Body]:
    """The body of each request of a recorded conversation."""
    messages = messages_of(path)
    for index, message in enumerate(messages):
        if message["role"] == "assistant":
            yield {
                "model": "claude-sonnet-4-5",
                "zeta": 1.0,
                "system": [{"type": "text", "text": "You are an agent."}],
                "messages": marked(messages[:index]),
                "alpha": "<&>\u2028é",
            }


def dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def call(body: Body, **metadata: str) -> bytes:
    said = {"provider": "anthropic", "model": "claude-sonnet-4-5", "login_name": "a@b", **metadata}
    return dumps({"metadata": said, "request_body": body})


def plain(value: Any) -> Any:
    """The value as a prompt cache sees it: no breakpoints, a string as one text block."""
    if isinstance(value, dict):
        value = {k: plain(v) for k, v in value.items() if k != "cache_control"}
        if "role" in value and isinstance(value.get("content"), str):
            value["content"] = [{"type": "text", "text": value["content"]}]
        return value
    return [plain(v) for v in value] if isinstance(value, list) else value


class Provider:
    """What a provider sees of one conversation; raises when a prefix that it has changes."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.saved = 0

    def receive(self, sent: Body, answer: dict[str, Any] | None) -> Body:
        """Take a request: the hook's answer to `sent`, or None when there was no hook."""
        got: Body = sent
        if answer is not None and answer["action"] == "modify":
            got = answer["request_body"]
            assert list(got) == list(sent)
            assert all(got[k] == v for k, v in sent.items() if k != "messages")
            assert len(got["messages"]) == len(sent["messages"])
        new = dumps(got["messages"]).decode()
        for marker in MARKERS:
            assert new.count(marker) <= dumps(sent["messages"]).decode().count(marker)
        now = plain(got["messages"])
        assert now[: len(self.seen)] == self.seen, "a message that the provider has was changed"
        self.seen = now
        self.saved += len(dumps(sent["messages"])) - len(dumps(got["messages"]))
        return got
