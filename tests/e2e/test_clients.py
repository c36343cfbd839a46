"""A session in the shape of each client, turn by turn through the real daemon: the laws hold.

tests/data/README.md says what the files hold. Only their shapes are those of the clients.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from scripts.lab.clients.apis import api_of
from scripts.lab.clients.apis.parts import outputs
from scripts.lab.clients.judge import Judge, Verdict
from scripts.lab.clients.model import shows_file
from scripts.lab.clients.records import Record
from tests.conversation import DATA, Body, dumps
from tests.served import Served
from tsheadroom.texts import wrappers

CLIENTS = sorted((DATA / "clients").glob("*.json"))
SAME = re.compile(r"\[same output as .* above\]\n?")
SETTINGS: dict[str, Body] = {"default": {}, "sparse": {"gutter": "sparse"}}
MARK = {"cache_control": {"type": "ephemeral"}}


class Session:
    """One client's session. `bodies` are its requests in order."""

    def __init__(self, path: Path) -> None:
        self._data = json.loads(path.read_text("utf-8"))
        self.url: str = self._data["url"]
        self.metadata: Body = {**self._data["metadata"], "url": self.url}
        api = api_of(self.url)
        assert api is not None
        self.api = api

    @property
    def bodies(self) -> Iterator[Body]:
        items: list[Any] = []
        for added in self._data["turns"]:
            items += added
            yield {**self._data["body"], self.api.member: marked(items, self._data["marked"])}


def marked(items: list[Any], count: int) -> list[Any]:
    """The items with the client's breakpoints: on the last block of the last so many of them."""
    return [*items[: len(items) - count], *map(_marked, items[len(items) - count :])]


def _marked(item: Any) -> Any:
    content = item["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return {**item, "content": [*blocks[:-1], {**blocks[-1], **MARK}]}


class Played:
    """A session that went through the daemon."""

    def __init__(self, session: Session, records: list[Record]) -> None:
        self._api = session.api
        self._records = records

    @property
    def verdict(self) -> Verdict:
        judge = Judge(shows_file)
        for record in self._records:
            judge.take(record)
        return judge.verdict()

    def forwarded(self, call: str) -> str:
        """What stands for a call's output in the last request, without a client's wrapper."""
        _, body = self._records[-1].bodies
        texts = [output.text for output in outputs(self._api, body) if call in output.call]
        texts = [text for text in texts if not wrappers.is_header(text)]
        assert len(texts) == 1
        return wrappers.opened(texts[0]).payload

    def original(self, call: str) -> str:
        """The same as the client sent it, wrapper and all."""
        body, _ = self._records[-1].bodies
        return "\n".join(o.text for o in outputs(self._api, body) if call in o.call)


def play(daemon: Served, session: Session) -> Played:
    records = []
    for number, body in enumerate(session.bodies):
        metadata = {**session.metadata, "request_id": f"r{number}"}
        answer = daemon.hook(dumps({"metadata": metadata, "request_body": body}))
        changed = answer.get("request_body")
        records.append(
            Record(
                url=session.url,
                metadata=metadata,
                original=json.dumps(body),
                forwarded=None if changed is None else json.dumps(changed),
                hook=answer["action"],
            )
        )
    return Played(session, records)


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """A daemon for each of the settings under which the laws must hold."""
    started: dict[str, Served] = {}
    with contextlib.ExitStack() as stack:
        for name, settings in SETTINGS.items():
            served = started[name] = Served(tmp_path_factory.mktemp(name))
            stack.callback(served.stop)
            assert served.ready().ask("PUT", "/config", dumps(settings))[0] == 200
        yield started


@pytest.fixture(
    scope="module", params=product(SETTINGS, CLIENTS), ids=lambda p: f"{p[1].stem}-{p[0]}"
)
def played(daemons: dict[str, Served], request: pytest.FixtureRequest) -> Played:
    settings, path = request.param
    return play(daemons[settings], Session(path))


def test_the_laws_hold(played: Played) -> None:
    verdict = played.verdict
    assert verdict.wrong == []
    assert verdict.turns == 13
    assert verdict.outputs == 12
    assert (verdict.broken_by_client, verdict.failed) == (0, 0)


def test_every_file_keeps_its_words(played: Played) -> None:
    assert played.verdict.rewritten == 0
    assert "Vigso" in played.forwarded("view_009")
    assert '"berth": 1' in played.forwarded("view_009")  # its layout, too: an edit needs it


def test_what_failed_keeps_its_words(played: Played) -> None:
    assert "ModuleNotFoundError: No module named 'lantren'" in played.forwarded("work_003")


def test_confirmations_keep_theirs(played: Played) -> None:
    assert played.forwarded("work_006") in played.original("work_006")


def test_the_same_output_is_said_once(played: Played) -> None:
    for again in ("view_004", "work_008"):
        assert SAME.fullmatch(played.forwarded(again))


def test_what_a_program_prints_is_shorter(played: Played) -> None:
    assert "\x1b" not in played.forwarded("work_005")
    for printed in ("work_002", "work_005", "work_010"):
        assert len(played.forwarded(printed)) < 0.6 * len(played.original(printed))


def test_a_conversation_costs_less(played: Played) -> None:
    assert played.verdict.price < 75
