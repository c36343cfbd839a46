"""Hostile bodies: values are found where they stand, and the same seed gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scripts.lab.torture.checking import by_model
from scripts.lab.torture.mutations import Mutator, spans
from tests.lab.torture.test_bodies import VALUES, spelled

BODY = spelled(
    {
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "content": "a\nb\n" * 20}]},
        ],
        "n": 1.5,
    }
)


def inner(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from inner(one)


@given(VALUES)
def test_each_value_has_a_span(value: Any) -> None:
    raw = spelled(value)
    found = [json.loads(raw[span.start : span.end]) for span in spans(raw)]
    assert sorted(map(repr, found)) == sorted(map(repr, inner(value)))


@given(st.binary())
def test_what_is_no_json_has_spans_within_it(raw: bytes) -> None:
    assert all(0 <= span.start < span.end <= len(raw) for span in spans(raw))


@given(st.integers(0, 10_000))
def test_the_same_seed_gives_the_same_bodies(seed: int) -> None:
    one, two = Mutator(Random(seed)), Mutator(Random(seed))
    for _ in range(5):
        assert one.mutated(BODY, spans(BODY)) == two.mutated(BODY, spans(BODY))
        assert one.spoilt(BODY) == two.spoilt(BODY)


def test_most_mutated_bodies_are_json_and_nearly_all_differ() -> None:
    mutator, known = Mutator(Random(1)), spans(BODY)
    made = [mutator.mutated(BODY, known) for _ in range(500)]
    assert sum(body != BODY for body in made) > 480
    assert sum(map(is_json, made)) > 250


def is_json(raw: bytes) -> bool:
    try:
        json.loads(raw.decode("utf-8", "surrogatepass"))
    except RecursionError:
        return True  # it is, and deep
    except ValueError:
        return False
    return True


@given(st.integers(0, 10_000))
def test_odd_items_leave_what_the_model_said_alone(seed: int) -> None:
    items = json.loads(BODY)["messages"] * 4
    said = [item for item in items if by_model(item)]
    Mutator(Random(seed)).odd_items(items, by_model)
    assert [item for item in items if by_model(item)] == said
    assert len(items) == 12
