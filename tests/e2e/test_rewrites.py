"""Rewrites over real sockets: where the policy rewrote and nowhere else, and after a kill, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conversation import Body, call, dumps, marked, plain
from tests.served import Served
from tests.turns.test_rewrites import numbered

VIEW = 2  # the item that holds the view that is superseded
REWRITTEN_AT = 4  # the turn after the one that brought the later copy


def bodies() -> Iterator[Body]:
    """A file is read, edited, read again in full; then other work goes on."""
    calls: list[tuple[str, Body, str]] = [
        ("Read", {"file_path": "lib/a.py"}, numbered("old", lines=900)),
        ("Edit", {"file_path": "lib/a.py", "old_string": "x", "new_string": "y"}, "done"),
        ("Read", {"file_path": "lib/a.py"}, numbered("new")),
        *(("Bash", {"command": f"make {n}"}, f"made {n}") for n in range(6)),
    ]
    messages: list[Body] = [{"role": "user", "content": "go"}]
    yield body_of(messages)
    for number, (name, inputs, output) in enumerate(calls):
        use = {"type": "tool_use", "id": f"t{number}", "name": name, "input": inputs}
        done = {"type": "tool_result", "tool_use_id": f"t{number}", "content": output}
        messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [done]}]
        yield body_of(messages)


def body_of(messages: list[Body]) -> Body:
    return {"model": "claude-sonnet-4-5", "messages": marked(messages)}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served.ready()
    served.stop()


def changes(daemon: Served, *, killed_after: int = 99) -> list[list[int]]:
    """For each turn, the items that were forwarded otherwise than before."""
    changed: list[list[int]] = []
    before: list[Any] = []
    for number, body in enumerate(bodies()):
        answer = daemon.hook(call(body))
        now = plain(answer.get("request_body", body)["messages"])
        changed.append([i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b])
        before = now
        if number == killed_after:
            daemon.kill()
            daemon.start()
            daemon.ready()
    assert ("left out" in dumps(before).decode()) is (changed[REWRITTEN_AT] == [VIEW])
    return changed


def only_at(turn: int) -> list[list[int]]:
    return [[VIEW] if number == turn else [] for number, _ in enumerate(bodies())]


@pytest.mark.parametrize("policy", ["cost", "always"])
@pytest.mark.parametrize("killed_after", [99, REWRITTEN_AT - 1, REWRITTEN_AT, REWRITTEN_AT + 2])
def test_one_rewrite_and_nothing_else(daemon: Served, policy: str, killed_after: int) -> None:
    daemon.ask("PUT", "/config", dumps({"rewrite": policy}))
    assert changes(daemon, killed_after=killed_after) == only_at(REWRITTEN_AT)


@pytest.mark.parametrize("policy", ["never", "cold"])
def test_no_rewrite(daemon: Served, policy: str) -> None:
    daemon.ask("PUT", "/config", dumps({"rewrite": policy}))
    assert changes(daemon) == only_at(99)


def test_a_rewrite_outlives_the_setting_and_what_follows_is_folded_as_ever(daemon: Served) -> None:
    daemon.ask("PUT", "/config", dumps({"rewrite": "always"}))
    sent = list(bodies())
    for body in sent[: REWRITTEN_AT + 1]:
        answer = daemon.hook(call(body))
    daemon.ask("PUT", "/config", dumps({"rewrite": "never"}))
    assert daemon.hook(call(sent[REWRITTEN_AT])) == answer
    again = daemon.hook(call(sent[REWRITTEN_AT + 1]))["request_body"]["messages"]
    assert plain(again)[VIEW] == plain(answer["request_body"]["messages"])[VIEW]


def test_the_rewind_of_a_rewritten_conversation_gets_what_its_answers_were_made_from(
    daemon: Served,
) -> None:
    daemon.ask("PUT", "/config", dumps({"rewrite": "always"}))
    answers = [daemon.hook(call(body)).get("request_body", body) for body in bodies()]
    daemon.ask("PUT", "/config", dumps({"rewrite": "never"}))  # or it would rewrite here, too
    back = list(bodies())[REWRITTEN_AT - 1]
    back["messages"].append({"role": "user", "content": "and now something else"})
    got = daemon.hook(call(back)).get("request_body", back)
    known = len(back["messages"]) - 1
    assert plain(got["messages"])[:known] == plain(answers[REWRITTEN_AT - 1]["messages"])[:known]
