from __future__ import annotations

import pytest

from tsheadroom.economy import windows
from tsheadroom.economy.windows import Windows


@pytest.mark.parametrize(
    ("window", "came", "left", "counted"),
    [
        (100, 101, 100, 1),
        (100, 100, 50, 0),
        (100, 102, 101, 0),  # over it both ways: nothing to lose
        (0, 101, 50, 0),  # the window is not known
    ],
)
def test_what_is_counted(window: int, came: int, left: int, counted: int) -> None:
    seen = Windows()
    seen.seen("a", window, came, left)
    assert len(seen) == counted


def test_a_conversation_is_counted_once_and_only_as_it_is_now() -> None:
    seen = Windows()
    for _ in range(3):
        seen.seen("a", 100, 120, 80)
    seen.seen("b", 100, 120, 80)
    assert len(seen) == 2
    seen.seen("a", 100, 40, 30)  # the client compacted it
    assert len(seen) == 1


def test_a_conversation_that_rests_is_forgotten() -> None:
    now = [0.0]
    seen = Windows(clock=lambda: now[0])
    seen.seen("a", 100, 120, 80)
    now[0] = windows.FORGET_S / 2
    seen.seen("b", 100, 120, 80)
    now[0] = windows.FORGET_S + 1
    assert len(seen) == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MAX_CONVERSATIONS", 3)
    seen = Windows()
    for name in "abcdef":
        seen.seen(name, 100, 120, 80)
    assert len(seen) == 3
