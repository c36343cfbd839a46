"""What was sent never changes, and promises nothing that nobody keeps, with `lossy` as well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conversation import TRACES, Body, Provider, call, dumps, marked, turns
from tests.served import Served

SETTINGS: dict[str, Any] = {
    "lossy": True,
    "compress_user_messages": True,
    "protect_recent": 0,
    "min_tokens_to_compress": 25,
}
NOTICE = "[shortened from "


def log(name: str) -> str:
    """No two of them have a line in common: nothing to fold."""
    return "\n".join(f"2026-01-01 00:00:{at % 60:02} INFO {name} {at} done" for at in range(200))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("lossy")
    (directory / "config.json").write_text(json.dumps(SETTINGS))
    served = Served(directory).ready()
    yield served
    assert served.log.count("workers lack the text model") == 1
    assert served.stop() == 0


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_recorded_conversations(daemon: Served, path: Path) -> None:
    provider = Provider()
    for body in turns(path):
        provider.receive(body, daemon.hook(call(body)))
    assert provider.saved >= 0


def test_recorded_conversations_with_all_that_lossy_touches(daemon: Served) -> None:
    """Each output has a log after it, and the conversation logs as the user's and a system text."""
    provider = Provider()
    got: Body = {}
    for body in turns(max(TRACES, key=lambda path: path.stat().st_size)):
        messages: list[Body] = [
            {"role": "system", "content": f"Follow this:\n{log('rule')}"},
            {"role": "user", "content": f"Read this:\n{log('task')}"},
        ]
        for message in marked(body["messages"]):
            content = message["content"] if isinstance(message["content"], list) else []
            results = [block for block in content if block["type"] == "tool_result"]
            logs = [
                {**block, "content": f"{block['content']}\n{log(block['tool_use_id'])}"}
                for block in results
                if isinstance(block["content"], str)
            ]
            messages.append({**message, "content": logs} if logs else message)
        got = provider.receive(
            {**body, "messages": messages}, daemon.hook(call({**body, "messages": messages}))
        )
    said = [dumps(message).decode().count(NOTICE) for message in got["messages"]]
    assert said[0] == said[1] == 1
    assert sum(said) > 10
    assert daemon.metric('tsheadroom_events_total{event="forms_refused"}') == 0
