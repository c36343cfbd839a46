"""Open conversations live through an upgrade: today's daemon goes on from what 0.1.0 left on disk.

tests/data/README.md says how the state directory was made.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conversation import DATA, Body, Provider, call
from tests.served import Served

LEFT = DATA / "state-0.1.0"
STATE = "conversations.sqlite3"
EXCHANGED = json.loads(lzma.decompress((LEFT / "exchanged.json.xz").read_bytes()))
SHAPES = ("messages", "responses", "gemini")
# Where the other shapes have what `Provider` finds under `messages`.
CONVERSATION = {"input": "messages", "contents": "messages"}


def left(directory: Path) -> Path:
    """The state as 0.1.0 left it just now: what is older than a month would be forgotten."""
    state = directory / "state" / STATE
    state.parent.mkdir(mode=0o700)
    shutil.copyfile(LEFT / STATE, state)
    for table in ("turn", "costly"):
        assert edit(state, f"UPDATE {table} SET at = {int(time.time())}") > 0
    return state


def edit(state: Path, sql: str) -> int:
    """Change the file while no daemon has it open; how many rows that was."""
    with contextlib.closing(sqlite3.connect(state)) as connection, connection:
        return connection.execute(sql).rowcount


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[Served]:
    daemon = Served(directory)
    try:
        yield daemon.ready()
    finally:
        daemon.stop()


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Today's daemon; each conversation has a caller of its own."""
    directory = tmp_path_factory.mktemp("upgraded")
    left(directory)
    with serving(directory) as daemon:
        yield daemon


@pytest.mark.parametrize("name", SHAPES)
def test_what_was_forwarded_before_an_upgrade_is_forwarded_after_it(
    upgraded: Served, name: str
) -> None:
    kept = EXCHANGED[name]
    provider = having(kept["forwarded"])
    for number, body in enumerate(kept["next"]):
        go_on(upgraded, provider, body, kept["metadata"])
        if number == 0:
            assert provider.saved > 0, "no form was replayed"


def test_a_turn_that_did_not_arrive_before_an_upgrade_is_a_gap_after_it(upgraded: Served) -> None:
    """Aperture forwarded the originals of that turn, so they are what the provider has."""
    kept = EXCHANGED["undelivered"]
    provider = having(kept["forwarded"])
    for body in kept["next"]:
        go_on(upgraded, provider, body, kept["metadata"])
    assert provider.saved > 0, "nothing after the gap was shortened"


def test_an_item_that_cost_a_worker_its_life_before_an_upgrade_is_left_alone_after_it(
    upgraded: Served,
) -> None:
    kept = EXCHANGED["costly"]
    elsewhere = {"login_name": "somebody.else@example.com"}  # no decision of theirs is stored
    assert upgraded.hook(call(kept["left_alone"], **elsewhere)) == {"action": "allow"}
    assert upgraded.hook(call(kept["shortened"], **elsewhere))["action"] == "modify"


def test_without_the_file_it_would_change(tmp_path: Path) -> None:
    """The data holds forms, and items left alone, that nothing but the file brings back."""
    left(tmp_path).unlink()
    with serving(tmp_path) as daemon:
        for name in SHAPES:
            breaks(daemon, EXCHANGED[name])
        costly = call(EXCHANGED["costly"]["left_alone"], login_name="somebody.else@example.com")
        assert daemon.hook(costly)["action"] == "modify"


def test_marked_as_arrived_the_turn_would_be_followed_by_forms(tmp_path: Path) -> None:
    assert edit(left(tmp_path), "UPDATE turn SET delivered = 1 WHERE NOT delivered") == 1
    with serving(tmp_path) as daemon:
        breaks(daemon, EXCHANGED["undelivered"])


def breaks(daemon: Served, kept: dict[str, Any]) -> None:
    """The next request changes what the provider has."""
    with pytest.raises(AssertionError, match="a message that the provider has was changed"):
        go_on(daemon, having(kept["forwarded"]), kept["next"][0], kept["metadata"])


def having(forwarded: list[Any]) -> Provider:
    """The provider after what 0.1.0 had forwarded to it."""
    provider = Provider()
    provider.seen = forwarded
    return provider


def go_on(daemon: Served, provider: Provider, body: Body, metadata: dict[str, str]) -> None:
    """The next request of a conversation."""
    answer = daemon.hook(call(body, **metadata))
    if "request_body" in answer:
        answer["request_body"] = renamed(answer["request_body"])
    provider.receive(renamed(body), answer)


def renamed(body: Body) -> Body:
    """With the conversation under `messages`."""
    return {CONVERSATION.get(member, member): value for member, value in body.items()}
