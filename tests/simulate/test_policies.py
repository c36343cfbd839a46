"""Policies are made from words, and a bad word is refused with a sentence."""

from __future__ import annotations

import asyncio

import pytest

from tsheadroom.settings import Settings, SettingsInvalid
from tsheadroom.simulate import policies


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("folds=false", {"folds": False}),
        ("folds=false,fold_min_lines=8", {"folds": False, "fold_min_lines": 8}),
        ("rewrite=cost,lossy=true", {"rewrite": "cost", "lossy": True}),
        ('exclude_tools=["a","b"],json=false', {"exclude_tools": ("a", "b"), "json": False}),
    ],
)
def test_settings_are_read_from_words(text: str, changes: dict[str, object]) -> None:
    assert policies.settings_of(text) == Settings(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("folds", "'folds' is not NAME=VALUE"),
        ("", "'' is not NAME=VALUE"),
        ("folds=4", "folds must be true or false"),
        ("fold=true", "fold is not a setting"),
        ("folds=" + "[" * 100_000, "folds must be true or false"),
    ],
)
def test_bad_settings_are_refused(text: str, why: str) -> None:
    with pytest.raises(SettingsInvalid, match=why):
        policies.settings_of(text)


def test_an_unknown_policy_is_refused_with_those_that_there_are() -> None:
    loop = asyncio.new_event_loop()
    with pytest.raises(policies.UnknownPolicyError, match=r"'theirs' is no policy; .*'ours'"):
        policies.named("theirs", loop)
    loop.close()
