"""How the answers to each session's requests ended."""

from __future__ import annotations

import pytest

from tsheadroom.conversations import fates as fates_module
from tsheadroom.conversations.fates import Fate, Fates

REQUEST, OTHER = b"r" * 16, b"o" * 16


def test_the_latest_end_counts_and_that_one_ever_arrived_is_kept() -> None:
    fates = Fates()
    assert fates.of(REQUEST, b"s") is None
    fates.note(REQUEST, b"s", arrived=False)
    assert fates.of(REQUEST, b"s") == Fate(arrived=False, ever=False)
    fates.note(REQUEST, b"s", arrived=True)
    assert fates.of(REQUEST, b"s") == Fate(arrived=True, ever=True)
    fates.note(REQUEST, b"s", arrived=False)
    assert fates.of(REQUEST, b"s") == Fate(arrived=False, ever=True)
    fates.withdraw(REQUEST, b"s")
    assert fates.of(REQUEST, b"s") is None


def test_sessions_and_requests_are_told_apart() -> None:
    fates = Fates()
    fates.note(REQUEST, b"s", arrived=True)
    assert fates.of(REQUEST, b"t") is fates.of(OTHER, b"s") is None
    fates.note(REQUEST, b"", arrived=True)  # a client that does not name its session
    assert fates.of(REQUEST, b"") is None


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fates_module, "MAX_FATES", 2)
    fates = Fates()
    for session in (b"a", b"b", b"a", b"c"):
        fates.note(REQUEST, session, arrived=True)
    assert [fates.of(REQUEST, session) is not None for session in (b"a", b"b", b"c")] == [
        True, False, True,
    ]  # fmt: skip
