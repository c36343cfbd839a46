"""Prints rows: for people, as Markdown, and each located edit for whoever looks for the cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tsheadroom.simulate.edits import Place
from tsheadroom.simulate.replay import Outcome
from tsheadroom.simulate.summary import Row, Share
from tsheadroom.texts import pointers

_SHOWN = 200  # characters of a text that are shown

NOTES = """\
price: input tokens (o200k) at the provider's cache rules, cached ones at 0.1, in percent of
forwarding everything as it is; [95% interval over conversations]. +system: with the system prompt
and tools that the client really sent. A replay assumes the same turns.
located: edits whose old text stands in the conversation as the client sent it; stood: it stands
there still; behind: only further back, as a pointer's target; far: more than 8,000 tokens further
back; split: nowhere in one piece. Intervals: the wider of a bootstrap over conversations and
Wilson's."""


def text(rows: Sequence[Row]) -> str:
    """The rows in columns, with what the columns mean."""
    lines = [list(_HEAD), *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = 2  # columns of words; numbers stand at the right
    shown = []
    for line in lines:
        cells = [
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        shown.append("  ".join(cells).rstrip())
    return "\n".join([*shown, "", NOTES])


_HEAD = (
    "set", "policy", "conv", "turns", "price", "95%", "at 0.05", "+system", "worst", "changed",
    "dangling", "wrong", "located", "stood", "behind", "far", "%", "95%", "split", "%", "95%",
    "extra p50", "p90",
)  # fmt: skip


def _cells(row: Row) -> list[str]:
    return [
        row.set,
        row.policy,
        str(row.conversations),
        str(row.turns),
        f"{row.price:.2f}",
        _interval(row.interval),
        f"{row.price_low_read:.2f}",
        f"{row.price_with_overhead:.2f}",
        f"{row.worst:.1f}",
        str(row.changed),
        str(row.dangling),
        str(row.wrong + row.refused),
        str(row.located),
        str(row.stood.count),
        str(row.behind.count),
        *_share(row.far),
        *_share(row.split),
        str(row.extra_median),
        str(row.extra_p90),
    ]


def _share(share: Share) -> tuple[str, str, str]:
    return str(share.count), f"{share.percent:.1f}", _interval(share.interval)


def _interval(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.1f}, {interval[1]:.1f}]"


def markdown(rows: Sequence[Row]) -> str:
    """The rows as the tables of docs/savings.md have them."""
    head = "| set | policy | conversations | turns | price | with system and tools | at 0.05"
    lines = [
        f"{head} | worst | changed | edits | far | split |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.set} | {row.policy} | {row.conversations} | {row.turns}"
        f" | {row.price:.1f} {_interval(row.interval)} | {row.price_with_overhead:.1f}"
        f" | {row.price_low_read:.1f} | {row.worst:.1f} | {row.changed} | {row.located}"
        f" | {_short(row.far)} | {_short(row.split)} |"
        for row in rows
    ]
    return "\n".join(lines)


def _short(share: Share) -> str:
    return f"{share.percent:.1f}% {_interval(share.interval)}" if share.count else "0"


def edits(policy: str, outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    """A row for each located edit, for JSON."""
    for outcome in outcomes:
        recording = outcome.recording
        for traced in outcome.edits:
            one, old = traced.located, traced.located.edit.old
            yield {
                "policy": policy,
                "set": recording.group,
                "trace": recording.trace,
                "turn": one.turn,
                "item": one.edit.item,
                "tool": one.edit.tool,
                "path": one.edit.path,
                "old": old[:_SHOWN],
                "old_chars": len(old),
                "class": "far" if traced.far else traced.kind,
                "raw": _place(one.raw),
                "forwarded": traced.forwarded and _place(traced.forwarded),
                "extra": traced.extra,
                "before_chars": len(traced.before),
                "after_chars": len(traced.after),
                "pointers": list(filter(pointers.parse, traced.after.split("\n"))),
            }


def _place(place: Place) -> dict[str, Any]:
    return {"item": place.item, "source": place.source, "distance": place.distance}
