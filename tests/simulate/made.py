"""Small recordings, made by hand, in each shape that clients send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tsheadroom.simulate import recordings
from tsheadroom.simulate.recordings import Recording

Item = dict[str, Any]


def write(path: Path, items: list[Item], **head: str) -> Path:
    """Write a recording as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"trace": path.stem, **head}, *items]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def recorded(path: Path, items: list[Item], **head: str) -> Recording:
    """A recording of these items."""
    return recordings.read(write(path / "set" / "trace.jsonl", items, **head))


def user(*blocks: Item | str) -> Item:
    return {"role": "user", "content": _blocks(blocks)}


def model(*blocks: Item | str) -> Item:
    return {"role": "assistant", "content": _blocks(blocks)}


def _blocks(blocks: tuple[Item | str, ...]) -> list[Item]:
    return [{"type": "text", "text": b} if isinstance(b, str) else b for b in blocks]


def call(number: int, tool: str, **inputs: Any) -> Item:
    return {"type": "tool_use", "id": f"c{number}", "name": tool, "input": inputs}


def result(number: int, text: str) -> Item:
    return {"type": "tool_result", "tool_use_id": f"c{number}", "content": text}


def numbered(lines: list[str]) -> str:
    """Lines as Claude Code's Read shows them."""
    return "\n".join(f"{at:>6}→{line}" for at, line in enumerate(lines, 1))


FILE = [f"def function_{at}(argument): return argument * {at} + {at}" for at in range(40)]


def two_reads(between: int = 20) -> list[Item]:
    """A file is read, read again after so many other lines, and then edited."""
    return [
        user("do it"),
        model(call(1, "Read", file_path="/w/a.py")),
        user(result(1, numbered(FILE))),
        model(call(2, "Bash", command="make")),
        user(result(2, "\n".join(f"unique line {at} {at * 7919}" for at in range(between)))),
        model(call(3, "Read", file_path="/w/a.py")),
        user(result(3, numbered(FILE))),
        model(call(4, "Edit", file_path="/w/a.py", old_string=FILE[20], new_string="pass")),
        user(result(4, "ok")),
        model("done"),
    ]
