"""Bills follow the providers' rules, worked out by hand."""

from __future__ import annotations

import pytest

from tsheadroom.simulate.blocks import Block
from tsheadroom.simulate.prompt_cache import LOOKBACK, Cache, Spent


def blocks(text: str) -> list[Block]:
    """A block of 10 tokens for each letter; one after a `!` has a breakpoint."""
    return [
        Block(letter.encode(), 10, mark=at > 0 and text[at - 1] == "!")
        for at, letter in enumerate(text)
        if letter != "!"
    ]


def test_an_entry_is_read_at_a_later_breakpoint() -> None:
    cache = Cache(at_breakpoints=True)
    assert cache.bill(blocks("!sab!cd"), 0) == Spent(0, 40, 10)
    assert cache.bill(blocks("!sabcde!f"), 0) == Spent(40, 30, 0)


def test_a_changed_block_costs_all_that_follows() -> None:
    cache = Cache(at_breakpoints=True)
    cache.bill(blocks("!sab!c"), 0)
    assert cache.bill(blocks("!saB!c"), 0) == Spent(10, 30, 0)


def test_without_breakpoints_nothing_is_cached() -> None:
    cache = Cache(at_breakpoints=True)
    cache.bill(blocks("sab"), 0)
    assert cache.bill(blocks("sab"), 0) == Spent(0, 0, 30)


@pytest.mark.parametrize(("between", "read"), [(LOOKBACK - 1, 20), (LOOKBACK, 10)])
def test_the_cache_looks_back_so_many_blocks(between: int, read: int) -> None:
    """With one breakpoint a turn, an answer of many blocks leaves only the system prompt."""
    cache = Cache(at_breakpoints=True)
    cache.bill(blocks("!s!a"), 0)
    long = "".join(chr(0x100 + at) for at in range(between))
    assert cache.bill(blocks(f"!sa{long}!b"), 0).read == read


def test_elsewhere_any_prefix_is_read() -> None:
    cache = Cache(at_breakpoints=False)
    assert cache.bill(blocks("sabc"), 0) == Spent(0, 40, 0)
    assert cache.bill(blocks("sabXc"), 0) == Spent(30, 20, 0)
    assert cache.bill(blocks("sab"), 0) == Spent(30, 0, 0)


def test_entries_expire_unless_they_are_used() -> None:
    cache = Cache(at_breakpoints=False, ttl=300)
    cache.bill(blocks("sa"), 0)
    assert cache.bill(blocks("sa"), 300).read == 20
    assert cache.bill(blocks("sa"), 600).read == 20
    assert cache.bill(blocks("sa"), 901).read == 0


def test_a_price_is_a_sum() -> None:
    spent = Spent(100, 10, 1)
    spent.add(Spent(100, 10, 1))
    assert spent.price(0.1, 1.25) == pytest.approx(20 + 25 + 2)
    assert spent.tokens == 222
