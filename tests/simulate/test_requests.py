"""Requests carry what the client sends: its breakpoints, its members, and nothing of the record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulate import made
from tsheadroom.simulate import requests

TALK = [
    made.user("a"),
    made.model("b"),
    {"role": "user", "content": "c"},
    made.model("d"),
    made.user("e"),
    made.model("f"),
]
THINKING = {"type": "thinking", "thinking": "", "signature": "x"}


def marked(items: list[bytes]) -> list[int]:
    """Which messages have a breakpoint, on their last block."""
    found = []
    for index, item in enumerate(items):
        blocks = json.loads(item)["content"]
        if isinstance(blocks, list) and "cache_control" in blocks[-1]:
            found.append(index)
    return found


@pytest.mark.parametrize(
    ("client", "version", "expected"),
    [
        ("claude-code", "2.1.32", [[0], [2], [4]]),
        ("claude-code", "2.0.64", [[0], [0, 2], [2, 4]]),
        ("", "", [[0], [0, 2], [2, 4]]),
        ("opencode", "1.18.0", [[0], [1, 2], [3, 4]]),
    ],
)
def test_breakpoints_are_the_clients(
    tmp_path: Path, client: str, version: str, expected: list[list[int]]
) -> None:
    recording = made.recorded(tmp_path, TALK, client=client, client_version=version)
    assert [marked(list(one.items)) for one in requests.of(recording)] == expected


def test_only_newer_claude_code_with_thinking_asks_to_keep_it(tmp_path: Path) -> None:
    thinks = [made.user("a"), made.model(THINKING, "b")]
    for version, items, sends in (
        ("2.1.205", thinks, True),
        ("2.1.205", TALK, False),
        ("2.1.63", thinks, False),
    ):
        recording = made.recorded(tmp_path, items, client="claude-code", client_version=version)
        (first, *_) = requests.of(recording)
        assert ("context_management" in first.members) is sends


def test_given_members_take_the_place_of_the_clients(tmp_path: Path) -> None:
    thinks = [made.user("a"), made.model(THINKING, "b")]
    recording = made.recorded(tmp_path, thinks, client="claude-code", client_version="2.1.205")
    (only,) = requests.of(recording, {"zeta": [1]})
    assert json.loads(only.members["zeta"]) == [1]
    assert "context_management" not in only.members


@pytest.mark.parametrize(
    ("shape", "key", "items"),
    [
        ("messages", "messages", TALK[:2]),
        ("chat", "messages", [made.user("a"), {"role": "assistant", "content": "b", "at": 0}]),
        ("responses", "input", [made.user("a"), {"type": "reasoning", "at": 0}]),
        ("gemini", "contents", [{"role": "user", "parts": []}, {"role": "model", "at": 0}]),
    ],
)
def test_a_hook_call_is_apertures(
    tmp_path: Path, shape: str, key: str, items: list[made.Item]
) -> None:
    (only,) = requests.of(made.recorded(tmp_path, items, shape=shape))
    sent = json.loads(only.hook_call())
    assert len(sent["request_body"][key]) == 1
    assert sent["metadata"]["model"] == only.model
    assert sent["metadata"]["provider"] in ("anthropic", "openai", "gemini")
