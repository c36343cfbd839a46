"""The filter before the disk: never a wrong no, and seldom a wrong perhaps."""

from __future__ import annotations

import hashlib

from tsheadroom.conversations.store.known import KnownPrefixes


def names(start: int, count: int) -> list[bytes]:
    return [hashlib.sha256(b"%d" % n).digest()[:16] for n in range(start, start + count)]


def test_what_was_put_in_is_never_denied() -> None:
    known = KnownPrefixes(0)
    known.update(names(0, 20_000))
    assert all(map(known.may_hold, names(0, 20_000)))


def test_what_was_not_put_in_is_nearly_always_denied() -> None:
    known = KnownPrefixes(20_000)
    assert not any(map(known.may_hold, names(0, 1000)))
    known.update(names(0, 40_000))
    wrong = sum(map(known.may_hold, names(100_000, 20_000)))
    assert wrong < 200  # 1%


def test_it_says_when_it_is_full() -> None:
    known = KnownPrefixes(0)
    added = 0
    while not known.full:
        known.update(names(added, 1000))
        added += 1000
        assert added < 1_000_000
    assert added > 30_000


def test_a_name_that_comes_again_takes_no_room() -> None:
    known = KnownPrefixes(0)
    for _ in range(100):
        known.update(names(0, 1000))
    assert not known.full
