"""What applies to a call: why it goes on as it came, why nothing new is decided, what is shared."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conversation import call
from tsheadroom.aperture.call import HookCall, read
from tsheadroom.aperture.names import Digests
from tsheadroom.providers.vendor import Vendors
from tsheadroom.settings import Settings
from tsheadroom.telemetry.events import Event
from tsheadroom.turns.rules import Rules

BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "go"}]}


def rules(
    settings: Settings | None = None, body: dict[str, Any] | None = None, **metadata: str
) -> Rules:
    called = read(call(body or BODY, **metadata))
    assert isinstance(called, HookCall)
    known = Vendors().of(called.metadata.provider or "", called.model, called.shape.key)
    return Rules.of(called, Digests.of(called), settings or Settings(), known)


def test_usually_nothing_stands_in_the_way() -> None:
    usual = rules()
    assert (usual.passed_by, usual.left_alone, usual.rewrite) == (None, None, None)
    assert (usual.is_turn, usual.observe, usual.drain) == (True, False, False)


@pytest.mark.parametrize(
    ("settings", "body", "metadata", "expected"),
    [
        (Settings(), {"messages": []}, {}, Event.EMPTY),
        (Settings(mode="off"), BODY, {}, Event.MODE_OFF),
        (Settings(), BODY, {"url": "/v1/messages?tsheadroom=off"}, Event.BYPASSED),
    ],
)
def test_why_a_call_goes_on_as_it_came(
    settings: Settings, body: dict[str, Any], metadata: dict[str, str], expected: Event
) -> None:
    assert rules(settings, body, **metadata).passed_by is expected


@pytest.mark.parametrize(
    ("settings", "metadata", "expected"),
    [
        (Settings(mode="freeze"), {}, Event.MODE_FREEZE),
        (Settings(mode="drain"), {}, Event.MODE_DRAIN),
        (Settings(exclude_models=("claude-x",)), {"model": "claude-x"}, Event.EXCLUDED_MODEL),
        (Settings(exclude_callers=("a@b",)), {"login_name": "a@b"}, Event.EXCLUDED_CALLER),
        (Settings(holdout=100), {}, Event.HOLDOUT),
        (Settings(), {"url": "/v1/messages/count_tokens"}, Event.NOT_A_TURN),
    ],
)
def test_why_nothing_new_is_decided(
    settings: Settings, metadata: dict[str, str], expected: Event
) -> None:
    found = rules(settings, None, **metadata)
    assert (found.passed_by, found.left_alone) == (None, expected)
    assert found.rewrite is None


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"previous_response_id": "resp_1"}, Event.HISTORY_ELSEWHERE),
        ({"conversation": {"id": "conv_1"}}, Event.HISTORY_ELSEWHERE),
        ({"previous_response_id": None, "conversation": None}, None),
        ({"previous_response_id": ""}, None),
    ],
)
def test_what_stands_behind_items_that_are_elsewhere_is_left_alone(
    named: dict[str, Any], expected: Event | None
) -> None:
    found = rules(body={"input": [{"role": "user", "content": "go"}], **named})
    assert (found.passed_by, found.left_alone) == (None, expected)


def test_the_holdout_is_a_share_of_conversations_and_the_same_at_each_turn() -> None:
    answer = [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "more"}]

    def held(number: int, *more: dict[str, Any]) -> bool:
        body = {"messages": [{"role": "user", "content": f"go {number}"}, *more]}
        return rules(Settings(holdout=30), body).left_alone is Event.HOLDOUT

    drawn = [held(number) for number in range(400)]
    assert 70 < sum(drawn) < 170
    assert [held(number, *answer) for number in range(400)] == drawn


def test_tools_that_stand_before_the_task_do_not_choose_the_arm_alone() -> None:
    """Codex's code mode begins with its tools, the same in all conversations of all callers."""
    tools = {"type": "additional_tools", "role": "developer", "tools": []}

    def held(number: int, *more: dict[str, Any]) -> bool:
        body = {"input": [tools, {"role": "user", "content": f"go {number}"}, *more]}
        return rules(Settings(holdout=30), body).left_alone is Event.HOLDOUT

    drawn = [held(number) for number in range(400)]
    assert 70 < sum(drawn) < 170
    answer = {"type": "custom_tool_call", "call_id": "c", "name": "exec", "input": "x"}
    assert [held(number, answer) for number in range(400)] == drawn


def test_callers_shapes_and_what_was_never_sent_share_nothing() -> None:
    scopes = {
        rules().request.scope,
        rules(login_name="c@d").request.scope,
        rules(Settings(mode="observe")).request.scope,
        rules(body={"input": [{"role": "user", "content": "go"}]}).request.scope,
    }
    assert len(scopes) == 4
    assert rules(Settings(mode="freeze")).request.scope == rules().request.scope


def test_workers_are_told_all_that_concerns_texts() -> None:
    told = rules(Settings(lossy=True)).for_workers
    assert told["lossy"] is True
    assert told["folds"] is True
    assert not {"mode", "holdout", "rewrite", "exclude_callers"} & set(told)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, False),
        ({"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}}, False),
        ({"context_management": None, "compaction": None}, False),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, True),
        ({"context_management": "?"}, True),
        ({"compaction": {"type": "summarize"}}, True),
    ],
)
def test_nothing_new_points_at_what_the_provider_may_delete(
    asked: dict[str, Any], expected: bool
) -> None:
    found = rules(body={**BODY, **asked})
    assert found.provider_may_delete is expected
    assert found.for_workers["folds"] is not expected
    assert rules(Settings(folds=False), {**BODY, **asked}).provider_may_delete is False


def test_a_word_in_the_conversation_deletes_nothing() -> None:
    said = {"messages": [{"role": "user", "content": [{"type": "text", "text": "compaction"}]}]}
    assert rules(body=said).for_workers["folds"] is True


def test_history_is_rewritten_only_where_a_price_is_known_and_no_thinking_bound() -> None:
    on = Settings(rewrite="cost", lossy=True, protect_recent=7)
    terms = rules(on, model="claude-sonnet-4-5").rewrite
    assert terms
    assert (terms.policy, terms.lossy, terms.protect_recent) == ("cost", True, 7)
    assert rules(on, provider="private", model="claude-sonnet-4-5").rewrite == terms
    assert rules(on, provider="anthropic", model="unheard-of").rewrite is None
    thinking = {**BODY, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    assert rules(on, thinking, model="claude-opus-5-5").rewrite is None
    disabled = {**BODY, "thinking": {"type": "disabled"}}
    assert rules(on, disabled, model="claude-opus-5-5").rewrite is not None


@pytest.mark.parametrize("provider", ["corp", "claude-prod", "openai", ""])
def test_only_a_model_that_is_known_may_have_no_prefix(provider: str) -> None:
    def protected(model: str) -> bool:
        return rules(provider=provider, model=model).request.has_prefix_cache()

    assert not protected("claude-sonnet-5-5")
    assert not protected("us.anthropic.claude-sonnet-5-5-v1:0")
    assert protected("gpt-5.6")
    assert protected("house-model")
