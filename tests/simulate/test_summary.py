"""Rows sum up conversations as the table says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.simulate import made
from tsheadroom.simulate import policies, summary
from tsheadroom.simulate.blocks import Counter
from tsheadroom.simulate.prompt_cache import Spent
from tsheadroom.simulate.replay import Replay, Replayed
from tsheadroom.simulate.summary import rows

BASE = "as it is"


def outcome(tmp_path: Path, spent: Spent, *, group: str = "a", billed: int = 0) -> Replayed:
    """One conversation of three turns whose first request was billed `billed` tokens."""
    items = [made.user("a"), {**made.model("b"), "usage": [0, billed, 0]}]
    recording = dataclasses.replace(made.recorded(tmp_path, items), group=group)
    return Replayed(recording, spent, first=1000, turns=3)


def test_a_price_is_that_of_all_conversations_together(tmp_path: Path) -> None:
    base = [outcome(tmp_path, Spent(1000, 0, 0)), outcome(tmp_path, Spent(3000, 0, 0))]
    ours = [outcome(tmp_path, Spent(500, 0, 0)), outcome(tmp_path, Spent(3000, 0, 0))]
    (row,) = rows({BASE: base, "ours": ours}, BASE)
    assert (row.set, row.policy, row.conversations, row.turns) == ("a", "ours", 2, 6)
    assert row.price == pytest.approx(87.5)
    assert row.worst == 100.0
    assert row.interval == pytest.approx((50.0, 100.0))


def test_each_price_of_a_read_is_a_column(tmp_path: Path) -> None:
    base, ours = [outcome(tmp_path, Spent(1000, 100, 0))], [outcome(tmp_path, Spent(1000, 20, 0))]
    (row,) = rows({BASE: base, "ours": ours}, BASE)
    assert row.price == pytest.approx(100 * (100 + 25) / (100 + 125))
    assert row.price_low_read == pytest.approx(100 * (50 + 25) / (50 + 125))


def test_the_real_system_prompt_is_written_once_and_read_later(tmp_path: Path) -> None:
    base = [outcome(tmp_path, Spent(0, 0, 1000), billed=11_000), outcome(tmp_path, Spent())]
    ours = [outcome(tmp_path, Spent(0, 0, 500)), outcome(tmp_path, Spent())]
    (row,) = rows({BASE: base, "ours": ours}, BASE)
    # 10,000 tokens more than recorded, in the second as well: no bill of it is known.
    extra = 2 * 10_000 * (1.25 + 2 * 0.1)
    assert row.overhead == 10_000
    assert row.price_with_overhead == pytest.approx(100 * (500 + extra) / (1000 + extra))


def test_sets_have_rows_and_all_of_them_together(tmp_path: Path) -> None:
    base = [outcome(tmp_path, Spent(10, 0, 0), group=group) for group in "ab"]
    found = rows({BASE: base, "ours": base, "lossy": base}, BASE)
    assert [(row.set, row.policy) for row in found] == [
        (group, policy) for group in ("a", "b", "all") for policy in ("ours", "lossy")
    ]
    assert [row.policy for row in rows({BASE: base[:1]}, BASE)] == [BASE]


def test_edits_are_counted_by_class(tmp_path: Path) -> None:
    replay = Replay(made.recorded(tmp_path, made.two_reads()), Counter())
    raw = replay.run(policies.as_it_is)
    (edit,) = raw.edits
    back = dataclasses.replace(edit.located.raw, item=2, distance=edit.located.raw.distance + 9000)
    far = dataclasses.replace(edit, forwarded=back)
    near = dataclasses.replace(edit, forwarded=dataclasses.replace(back, distance=100))
    split = dataclasses.replace(edit, forwarded=None)
    ours = dataclasses.replace(raw, edits=[edit, far, near, split])
    (row,) = rows({BASE: [raw], "ours": [ours]}, BASE)
    shares = (row.stood, row.behind, row.far, row.split)
    assert [share.count for share in shares] == [1, 2, 1, 1]
    assert [share.percent for share in shares] == [25, 50, 25, 25]
    assert row.located == 4
    assert row.extra_p90 == 9000
    low, high = row.far.interval
    assert low < 25 < high


def test_nothing_at_all_is_no_error(tmp_path: Path) -> None:
    empty = Replayed(made.recorded(tmp_path, []))
    (row,) = rows({BASE: [empty], "ours": [empty]}, BASE)
    assert (row.price, row.located, row.far.percent) == (100.0, 0, 0.0)
    assert summary.rows({BASE: []}, BASE) == []
