"""How often a line is due for something that happens again and again."""

from __future__ import annotations

from tsheadroom.seldom import EVERY_S, Seldom


def test_a_cause_is_told_at_once_and_then_with_all_that_came_since() -> None:
    now = [100.0]
    seldom = Seldom(clock=lambda: now[0])
    assert seldom.count("full") == 1
    assert [seldom.count("full") for _ in range(5)] == [0] * 5
    assert seldom.count("deadline") == 1  # another cause has a line of its own
    now[0] += EVERY_S
    assert seldom.count("full") == 6
    assert seldom.count("full") == 0
    now[0] += EVERY_S
    assert seldom.count("deadline") == 1


def test_causes_that_are_always_new_take_no_memory() -> None:
    seldom = Seldom(clock=lambda: 0.0)
    assert all(seldom.count(str(number)) == 1 for number in range(1000))
    assert len(seldom._told) + len(seldom._since) < 100
