"""Sums up the outcomes of a policy over a set of conversations: one row of the table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tsheadroom.simulate import intervals
from tsheadroom.simulate.harm import BEHIND, SPLIT, STOOD
from tsheadroom.simulate.intervals import Interval
from tsheadroom.simulate.prompt_cache import READS, write_price
from tsheadroom.simulate.replay import Replayed

Pair = tuple[Replayed, Replayed]
"""One conversation: under the policy, and as the client sent it."""


@dataclass(frozen=True, slots=True)
class Share:
    """Some of the located edits: how many, and their share of all, in percent."""

    count: int
    percent: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on one set. Prices are in percent of forwarding everything as it is."""

    set: str
    policy: str
    conversations: int
    turns: int
    price: float  # cached tokens at 0.1
    interval: Interval
    price_low_read: float  # cached tokens at 0.05
    price_with_overhead: float  # with the system prompt and tools that the client really sent
    overhead: int  # tokens of these beyond what stands for them, median
    worst: float  # of one conversation
    changed: int
    dangling: int
    wrong: int
    refused: int
    located: int
    stood: Share
    behind: Share
    far: Share
    split: Share
    extra_median: int  # tokens that the old texts behind pointers stand further back
    extra_p90: int


def rows(outcomes: dict[str, list[Replayed]], base: str) -> list[Row]:
    """A row for each set and policy, and for all sets together if there are several.

    The policy `base`, which the others are compared with, has rows only if there is no other.
    """
    groups: dict[str, list[int]] = {}
    for index, outcome in enumerate(outcomes[base]):
        groups.setdefault(outcome.recording.group, []).append(index)
    if len(groups) > 1:
        groups["all"] = list(range(len(outcomes[base])))
    return [
        _row(group, name, [(of_policy[i], outcomes[base][i]) for i in indexes])
        for group, indexes in groups.items()
        for name, of_policy in outcomes.items()
        if name != base or len(outcomes) == 1
    ]


def _row(group: str, policy: str, pairs: Sequence[Pair]) -> Row:
    ours = [pair[0] for pair in pairs]
    extra = sorted(e.extra for o in ours for e in o.edits if e.kind == BEHIND)
    overheads = _overheads([pair[1] for pair in pairs])
    return Row(
        set=group,
        policy=policy,
        conversations=len(pairs),
        turns=sum(o.turns for o in ours),
        price=_percent(pairs, READS[0]),
        interval=intervals.bootstrap(pairs, lambda again: _percent(again, READS[0])),
        price_low_read=_percent(pairs, READS[1]),
        price_with_overhead=_percent(pairs, READS[0], overheads),
        overhead=round(statistics.median(overheads)),
        worst=max(_percent([pair], READS[0]) for pair in pairs),
        changed=sum(o.changed for o in ours),
        dangling=sum(o.dangling for o in ours),
        wrong=sum(o.wrong for o in ours),
        refused=sum(o.refused for o in ours),
        located=sum(len(o.edits) for o in ours),
        stood=_share(ours, STOOD),
        behind=_share(ours, BEHIND),
        far=_share(ours, "far"),
        split=_share(ours, SPLIT),
        extra_median=round(statistics.median(extra)) if extra else 0,
        extra_p90=extra[int(len(extra) * 0.9)] if extra else 0,
    )


def _percent(pairs: Sequence[Pair], read: float, overheads: Sequence[float] = ()) -> float:
    """The price in percent of forwarding as it is. `overheads` has tokens for each conversation."""
    part = whole = 0.0
    for at, (ours, raw) in enumerate(pairs):
        write = write_price(raw.recording.shape)
        # Written with the first request, and read with each of the others.
        paid = write + read * (raw.turns - 1)
        extra = overheads[at] * paid if overheads else 0.0
        part += ours.spent.price(read, write) + extra
        whole += raw.spent.price(read, write) + extra
    return 100 * part / whole if whole else 100.0


def _overheads(base: Sequence[Replayed]) -> list[float]:
    """For each conversation the tokens that its first request was billed beyond those recorded.

    That is the client's real system prompt and tools. Where no bill was recorded, it is the
    median of those that were.
    """
    known = {
        at: max(0, outcome.recording.answers[0].billed - outcome.first)
        for at, outcome in enumerate(base)
        if outcome.recording.answers and outcome.recording.answers[0].billed
    }
    usual = statistics.median(known.values()) if known else 0
    return [float(known.get(at, usual)) for at in range(len(base))]


def _share(ours: Sequence[Replayed], kind: str) -> Share:
    def count(outcome: Replayed) -> int:
        return sum(e.far if kind == "far" else e.kind == kind for e in outcome.edits)

    found, of = sum(map(count, ours)), sum(len(o.edits) for o in ours)
    low, high = intervals.share(ours, count, lambda outcome: len(outcome.edits))
    percent = 100 * found / of if of else 0.0
    return Share(found, percent, (100 * low, 100 * high))
