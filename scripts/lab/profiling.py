"""Draws where the event loop's time goes in a turn, from samples of its stack."""

from __future__ import annotations

import html
import json
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.lab.daemon import Daemon
from scripts.lab.door import ROOT
from scripts.lab.latency import Case, measure, size_name

TURNS = 400
WRITE_SECONDS = 10.0
SHOWN = 30  # functions in each list
WIDTH, BAR, TOP, FONT = 1100, 19, 46, 11
LEAST_SHARE = 0.004  # narrower boxes would be unreadable
CHAR_WIDTH = 6.2
# Functions of the interpreter and of asyncio that say nothing about the daemon are left out.
DULL = (
    "scripts/lab/",
    "runpy",
    "click/",
    "asyncio/runners",
    "asyncio/base_events",
    "tsheadroom/cli",
)
DULL_NAMES = ("Handle._run", "_run_module_as_main")
COLOURS = {
    "tsheadroom/aperture": "#8ecae6",
    "tsheadroom/conversations": "#b7e4c7",
    "tsheadroom/workers": "#ffd6a5",
    "tsheadroom/web": "#cdb4db",
    "tsheadroom": "#cdb4db",
    "aiohttp": "#e0e0e0",
    "asyncio": "#eeeeee",
}
OTHER_COLOUR = "#f5f5f5"


@dataclass(slots=True)
class Node:
    """A function on a stack, with the number of samples in it or in what it calls."""

    label: str
    count: int = 0
    children: dict[str, Node] = field(default_factory=dict)


def _label(frame: str) -> str:
    """ "package/module:function", without where this machine keeps its packages."""
    path, _, name = frame.rpartition(":")
    for start in ("/site-packages/", f"{ROOT}/", "/lib/"):
        _, found, rest = path.rpartition(start)
        if found:
            path = rest
            break
    if path.startswith("python3"):
        path = path.partition("/")[2]
    return f"{path.removesuffix('.py')}:{name.replace('.<locals>', '')}"


def _is_dull(label: str) -> bool:
    return label.startswith(DULL) or label.startswith("<") or label.endswith(DULL_NAMES)


def _tree(rows: list[list[Any]]) -> Node:
    root = Node("daemon")
    for frames, count in rows:
        root.count += count
        node = root
        for label in [text for text in map(_label, frames) if not _is_dull(text)]:
            node = node.children.setdefault(label, Node(label))
            node.count += count
    return root


def _colour(label: str) -> str:
    return next((c for prefix, c in COLOURS.items() if label.startswith(prefix)), OTHER_COLOUR)


def _boxes(node: Node, left: float, depth: int, scale: float, out: list[str]) -> int:
    """Add the boxes of all that a function calls to `out`. Returns how deep they go."""
    deepest = depth
    for child in sorted(node.children.values(), key=lambda n: n.label):
        width = child.count * scale
        if width >= LEAST_SHARE * WIDTH:
            out.append(_box(child, left, depth, width, child.count * scale / WIDTH))
            deepest = max(deepest, _boxes(child, left, depth + 1, scale, out))
        left += width
    return deepest


def _box(node: Node, left: float, depth: int, width: float, share: float) -> str:
    top = TOP + depth * BAR
    short = f"{node.label.rpartition('/')[2]} {100 * share:.0f}%"
    room = int((width - 6) / CHAR_WIDTH)
    text = (
        short if len(short) <= room else (node.label.rpartition(":")[2][:room] if room > 3 else "")
    )
    return (
        f"<g><title>{html.escape(node.label)}: {100 * share:.1f}%</title>"
        f'<rect x="{left:.1f}" y="{top}" width="{max(0.5, width - 0.6):.1f}" height="{BAR - 1}"'
        f' rx="2" fill="{_colour(node.label)}"/>'
        f'<text x="{left + 3:.1f}" y="{top + 13}">{html.escape(text)}</text></g>'
    )


def draw(root: Node, title: str) -> str:
    """Draw the picture. Returns SVG."""
    boxes: list[str] = []
    deepest = _boxes(root, 0.0, 0, WIDTH / max(1, root.count), boxes)
    height = TOP + (deepest + 1) * BAR + 6
    legend, x = [], 4
    for prefix, colour in COLOURS.items():
        if prefix == "tsheadroom":
            continue
        legend.append(f'<rect x="{x}" y="26" width="12" height="12" fill="{colour}"/>')
        legend.append(f'<text x="{x + 16}" y="36">{prefix}</text>')
        x += 30 + int(len(prefix) * CHAR_WIDTH)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
            f"<style>text {{ font: {FONT}px sans-serif }}</style>",
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="4" y="16">{html.escape(title)}</text>',
            *legend,
            *boxes,
            "</svg>\n",
        ]
    )


def run(
    traces: list[Path], case: Case, target: Path, options: tuple[str, ...]
) -> tuple[str, dict[str, Any]]:
    """Sample the daemon in turns of a conversation, and write the picture to `target`.

    Returns a list of functions for people, and the same figures for machines.
    """
    with tempfile.TemporaryDirectory(prefix="tsheadroom-profile-") as directory:
        stacks = Path(directory) / "stacks.json"
        runner = ("scripts.lab.profiled", str(stacks))
        with Daemon(*options, runner=runner) as daemon:
            row = measure(
                daemon,
                case,
                traces,
                TURNS,
                variety=0,
                on_start=lambda: daemon.signal(signal.SIGUSR1),
                on_end=lambda: daemon.signal(signal.SIGUSR2),
            )
            end = time.monotonic() + WRITE_SECONDS
            while not stacks.exists() and time.monotonic() < end:
                time.sleep(0.05)
        root = _tree(json.loads(stacks.read_text()))
    title = (
        f"Time of the daemon's event loop, {TURNS} turns of a conversation from"
        f" {size_name(case.size)} on ({root.count} samples)"
    )
    target.write_text(draw(root, title), "utf-8")
    own, whole = _shares(root, inclusive=False), _shares(root, inclusive=True)
    lines = [f"{target}: {title}", ""]
    for heading, shares in (("itself", own), ("with what it calls", whole)):
        lines += [
            f"{heading}:",
            *(f"{100 * share:5.1f}%  {at}" for at, share in shares[:SHOWN]),
            "",
        ]
    return "\n".join(lines), {
        "samples": root.count,
        "p50_ms": row.p50_ms,
        "itself": dict(own),
        "with_what_it_calls": dict(whole),
    }


def _shares(root: Node, *, inclusive: bool) -> list[tuple[str, float]]:
    """Functions by the share of samples that were in them, alone or with what they call."""
    counts: dict[str, int] = {}

    def visit(node: Node, above: frozenset[str]) -> None:
        inside = node.count - sum(child.count for child in node.children.values())
        if not inclusive:
            counts[node.label] = counts.get(node.label, 0) + inside
        elif node.label not in above:
            counts[node.label] = counts.get(node.label, 0) + node.count
        for child in node.children.values():
            visit(child, above | {node.label})

    visit(root, frozenset())
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    return [(label, count / max(1, root.count)) for label, count in ordered]
