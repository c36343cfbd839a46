"""Prints rows: for people, as Markdown, and each located edit for whoever looks for the cause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tsheadroom.simulate.edits import Place
from tsheadroom.simulate.replay import Replayed
from tsheadroom.simulate.summary import Row, Share
from tsheadroom.texts import pointers

_SHOWN = 200  # characters of a text that are shown
_WORDS = 2  # columns that hold words; numbers stand at the right

_PRICE_NOTE = """\
Price of the input tokens (o200k) by the provider's cache rule, a cached one at 0.1, in percent of
forwarding everything as it is. [ ]: 95% interval, conversations drawn again. with system: with the
system prompt and tools that the client was billed for. A replay assumes that the agent would have
done the same with every policy. Turns: changed: an earlier part of the request went out differently
than before; dangling: a marker for content that nobody can retrieve; wrong: something else than a
tool's output differs, or a form was refused."""
_EDIT_NOTE = """\
Edits are located if the text that they replace stands in one piece in the conversation as the
client sent it. stood: it stands there still. behind: only in an earlier text, such as the target of
a pointer; further: by how many tokens. far: further by more than 8,000. split: nowhere in one
piece. [ ]: 95% interval, the wider of a bootstrap over conversations and Wilson's."""


def text(rows: Sequence[Row]) -> str:
    """The rows in two tables, of prices and of edits, with what the columns mean."""
    edits = [_edit_cells(row) for row in rows if row.located]
    shown = [_columns(_PRICE_HEAD, map(_price_cells, rows)), _PRICE_NOTE]
    if edits:
        shown += [_columns(_EDIT_HEAD, edits), _EDIT_NOTE]
    return "\n\n".join(shown)


_PRICE_HEAD = (
    "set", "policy", "conversations", "turns", "price", "[ ]", "read 0.05", "with system", "worst",
    "changed", "dangling", "wrong",
)  # fmt: skip
_EDIT_HEAD = (
    "set", "policy", "located", "stood", "behind", "further p50", "p90", "far", "%", "[ ]",
    "split", "%", "[ ]",
)  # fmt: skip


def _columns(head: Sequence[str], cells: Iterable[Sequence[str]]) -> str:
    lines = [head, *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at < _WORDS else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _price_cells(row: Row) -> list[str]:
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
    ]


def _edit_cells(row: Row) -> list[str]:
    return [
        row.set,
        row.policy,
        str(row.located),
        str(row.stood.count),
        str(row.behind.count),
        str(row.extra_median),
        str(row.extra_p90),
        *_share(row.far),
        *_share(row.split),
    ]


def _share(share: Share) -> tuple[str, str, str]:
    return str(share.count), f"{share.percent:.1f}", _interval(share.interval)


def _interval(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.1f}, {interval[1]:.1f}]"


_MARKDOWN_HEAD = (
    "set", "policy", "conversations", "turns", "price", "with system and tools", "at 0.05",
    "worst", "changed", "dangling", "edits", "far", "split",
)  # fmt: skip


def markdown(rows: Sequence[Row]) -> str:
    """The rows as the tables of docs/savings.md have them."""
    rule = [("---" if at < _WORDS else "---:") for at in range(len(_MARKDOWN_HEAD))]
    lines = [_MARKDOWN_HEAD, rule, *map(_markdown_cells, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _markdown_cells(row: Row) -> list[str]:
    return [
        row.set,
        row.policy,
        str(row.conversations),
        str(row.turns),
        f"{row.price:.1f} {_interval(row.interval)}",
        f"{row.price_with_overhead:.1f}",
        f"{row.price_low_read:.1f}",
        f"{row.worst:.1f}",
        str(row.changed),
        str(row.dangling),
        str(row.located),
        _short(row.far),
        _short(row.split),
    ]


def _short(share: Share) -> str:
    return f"{share.percent:.1f}% {_interval(share.interval)}" if share.count else "0"


def edits(policy: str, outcomes: Sequence[Replayed]) -> Iterator[dict[str, Any]]:
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
