"""The scripted model, for each API: it goes through its plan, and its thinking stays sound."""

from __future__ import annotations

import json

import pytest

from scripts.lab.clients import model
from scripts.lab.clients.apis.parts import Answer, Body, Json, Usage, items
from scripts.lab.clients.plan import PLANS
from scripts.lab.clients.prefixes import Prefixes, sign, unsound
from tests.lab.clients.looping import PATHS, WORKSPACE, api, first, following

USAGE = Usage(10, 5, 1)


def answered(name: str, body: Body) -> Json:
    """The provider's answer to a request, as one object."""
    spoken = api(name)
    found = model.answer(spoken, body)
    sealed = Answer(found.text, found.thinking, sign(Prefixes(spoken, body).whole), found.calls)
    return spoken.whole(spoken.stream(body, sealed, USAGE))


def conversation(name: str) -> list[Body]:
    """The requests of a client that goes on until no tool is called."""
    bodies = [first(name)]
    while True:
        body = following(name, bodies[-1], answered(name, bodies[-1]), lambda *_: "printed")
        if body is None:
            return bodies
        bodies.append(body)


@pytest.mark.parametrize("name", PATHS)
def test_it_takes_every_step_once(name: str) -> None:
    bodies = conversation(name)
    assert len(bodies) == len(PLANS["sub"]) + 1
    said = json.dumps(bodies[-1])
    assert said.count("view_002_") == said.count("view_002_0_") + said.count("view_002_1_")
    assert f"{WORKSPACE}/lib/spotter/services/tmux.ex" in said


@pytest.mark.parametrize("name", PATHS)
def test_a_changed_past_breaks_the_thinking_behind_it(name: str) -> None:
    spoken, body = api(name), conversation(name)[-1]
    assert unsound(spoken, items(spoken, body), Prefixes(spoken, body)) == []
    said = json.loads(json.dumps(body).replace("look around", "look about"))
    broken = unsound(spoken, items(spoken, said), Prefixes(spoken, said))
    assert bool(broken) is (name != "chat")  # where no thinking comes back


@pytest.mark.parametrize("name", PATHS)
def test_a_request_without_a_plan_gets_a_short_answer(name: str) -> None:
    spoken = api(name)
    assert model.answer(spoken, first(name, "Hello")).calls == ()


def test_a_structured_answer_has_the_shape_that_was_asked_for() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}, "new": {}}}
    body = first("chat", "Give it a title.") | {
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}
    }
    assert json.loads(model.answer(api("chat"), body).text).keys() == {"title", "new"}
