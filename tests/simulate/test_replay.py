"""A replay prices what goes out, and notices what must not happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conversation import DATA
from tests.simulate import made
from tsheadroom.settings import Settings
from tsheadroom.simulate import policies, recordings
from tsheadroom.simulate.blocks import Counter
from tsheadroom.simulate.policies import Forwarded, Policy
from tsheadroom.simulate.recordings import RecordingInvalid
from tsheadroom.simulate.replay import Replay, Replayed, replay_all
from tsheadroom.simulate.requests import Simulated


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def replay(tmp_path: Path) -> Replay:
    return Replay(made.recorded(tmp_path, made.two_reads()), Counter())


def rewriting(turn: int, new: Callable[[bytes], bytes]) -> Policy:
    """From this turn on, the first output goes out as `new` says."""

    def forward(request: Simulated) -> Forwarded:
        items = list(request.items)
        if request.number >= turn:
            items[2] = new(items[2])
        return Forwarded(items)

    return forward


def counts(outcome: Replayed) -> tuple[int, int, int]:
    return outcome.changed, outcome.dangling, outcome.wrong


def test_as_it_is_all_stands_where_it_stood(replay: Replay) -> None:
    outcome = replay.run(policies.as_it_is)
    assert (outcome.turns, counts(outcome)) == (5, (0, 0, 0))
    assert [edit.kind for edit in outcome.edits] == ["stood"]


def test_a_daemon_that_folds_puts_the_old_text_behind_a_pointer(
    replay: Replay, loop: asyncio.AbstractEventLoop
) -> None:
    raw = replay.run(policies.as_it_is)
    ours = replay.run(policies.of_settings(Settings(lossless=False), loop)())
    assert counts(ours) == (0, 0, 0)
    assert ours.spent.tokens < raw.spent.tokens
    (edit,) = ours.edits
    assert (edit.kind, edit.after) == ("behind", "[same output as Read a.py above]")
    kept = replay.run(policies.of_settings(Settings(folds=False), loop)())
    assert [edit.kind for edit in kept.edits] == ["stood"]


def shorter(item: bytes) -> bytes:
    value = json.loads(item)
    value["content"][0]["content"] = "shorter"
    return json.dumps(value).encode()


def test_a_change_of_what_was_forwarded_is_noticed_and_paid(replay: Replay) -> None:
    raw, late = replay.run(policies.as_it_is), replay.run(rewriting(3, shorter))
    assert counts(late) == (1, 0, 0)
    assert late.spent.read < raw.spent.read
    assert counts(replay.run(rewriting(1, shorter))) == (0, 0, 0)


def test_what_is_no_output_must_not_differ(replay: Replay) -> None:
    def another_id(item: bytes) -> bytes:
        return item.replace(b'"c1"', b'"c0"')

    assert counts(replay.run(rewriting(1, another_id))) == (0, 0, 4)


def test_a_marker_is_noticed(replay: Replay) -> None:
    def promise(item: bytes) -> bytes:
        return shorter(item).replace(b"shorter", b"<<ccr:1>>")

    assert counts(replay.run(rewriting(1, promise))) == (0, 4, 0)


def test_items_that_are_missing_are_noticed(replay: Replay) -> None:
    outcome = replay.run(lambda request: Forwarded(request.items[:1]))
    assert outcome.wrong == 4
    assert outcome.edits == []


def test_a_touched_body_is_noticed(replay: Replay) -> None:
    outcome = replay.run(lambda request: Forwarded(request.items, refused=True, touched=True))
    assert (outcome.wrong, outcome.refused) == (5, 5)


def test_the_projects_conversations_keep_the_law(loop: asyncio.AbstractEventLoop) -> None:
    recording = recordings.read(DATA / "258c7280-ae70-1.jsonl")
    one = Replay(recording, Counter())
    raw = one.run(policies.as_it_is)
    ours = one.run(policies.named("ours", loop)())
    assert ours.turns == 58
    assert (*counts(ours), ours.refused) == (0, 0, 0, 0)
    assert ours.spent.price(0.1, 1.25) < 0.99 * raw.spent.price(0.1, 1.25)
    assert len(ours.edits) == len(raw.edits) == 10
    reference = one.run(policies.named("reference", loop)())
    assert reference.changed > 0
    assert reference.dangling > 0


@pytest.mark.parametrize(
    ("shape", "call", "output", "text"),
    [
        (
            "responses",
            {"type": "function_call", "call_id": "1", "name": "x", "arguments": "{}", "at": 0},
            {"type": "function_call_output", "call_id": "1", "output": "{%s}"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
        ),
        (
            "chat",
            {
                "role": "assistant",
                "tool_calls": [{"id": "1", "function": {"name": "x", "arguments": "{}"}}],
                "at": 0,
            },
            {"role": "tool", "tool_call_id": "1", "content": "{%s}"},
            {"role": "user", "content": "a"},
        ),
        (
            "gemini",
            {"role": "model", "parts": [{"functionCall": {"name": "x", "args": {}}}], "at": 0},
            {
                "role": "user",
                "parts": [{"functionResponse": {"name": "x", "response": {"output": "{%s}"}}}],
            },
            {"role": "user", "parts": [{"text": "a"}]},
        ),
    ],
)
def test_every_shape_is_shortened_and_checked(
    tmp_path: Path,
    loop: asyncio.AbstractEventLoop,
    shape: str,
    call: made.Item,
    output: made.Item,
    text: made.Item,
) -> None:
    layout = ", ".join(f'\\n    \\"key{at}\\":    {at}' for at in range(200))
    filled = json.loads(json.dumps(output).replace("%s", layout))
    items = [text, call, filled, {**call, "at": 1}]
    one = Replay(made.recorded(tmp_path, items, shape=shape), Counter())
    raw, ours = (one.run(policies.named(name, loop)()) for name in ("as it is", "ours"))
    assert ours.turns == 2
    assert (*counts(ours), ours.refused) == (0, 0, 0, 0)
    assert ours.spent.tokens < raw.spent.tokens


def test_all_policies_see_the_same_conversations(tmp_path: Path) -> None:
    told: list[str] = []
    outcomes = replay_all(
        [made.recorded(tmp_path, made.two_reads())],
        {"one": lambda: policies.as_it_is, "two": lambda: rewriting(1, shorter)},
        None,
        0.0,
        told.append,
    )
    assert {name: len(of_policy) for name, of_policy in outcomes.items()} == {"one": 1, "two": 1}
    assert told == ["set/trace: one", "set/trace: two"]


def test_what_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    deep: list[object] = []
    for _ in range(600):
        deep = [deep]
    recording = made.recorded(tmp_path, [made.user({"type": "x", "y": deep}), made.model("b")])
    policy = {"as it is": lambda: policies.as_it_is}
    with pytest.raises(RecordingInvalid, match="nested too deeply"):
        replay_all([recording], policy, None, 0.0, lambda _: None)


@pytest.mark.parametrize("shape", recordings.SHAPES)
def test_a_recording_without_turns_costs_nothing(tmp_path: Path, shape: str) -> None:
    outcome = Replay(made.recorded(tmp_path, [], shape=shape), Counter()).run(policies.as_it_is)
    assert (outcome.turns, outcome.spent.tokens) == (0, 0)


SOMETHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "text", "input", "output", "parts", "name"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KINDS = ["user", "assistant", "model", "tool", "tool_use", "tool_result", "function_call", "text"]
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(KINDS),
        "type": st.sampled_from([*KINDS, "message", "function_call_output"]),
        "content": SOMETHING,
        "parts": SOMETHING,
        "output": SOMETHING,
        "arguments": st.just('{"old_string": "a"}') | SOMETHING,
        "tool_calls": SOMETHING,
        "at": st.just(0),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.sampled_from(recordings.SHAPES), items=st.lists(ITEMS, max_size=6))
def test_odd_items_go_through_as_they_came(
    tmp_path: Path, loop: asyncio.AbstractEventLoop, shape: str, items: list[made.Item]
) -> None:
    one = Replay(made.recorded(tmp_path, items, shape=shape), Counter())
    raw, ours = (one.run(policies.named(name, loop)()) for name in ("as it is", "ours"))
    assert (*counts(ours), ours.refused) == (0, 0, 0, 0)
    assert ours.spent == raw.spent
