"""Reads recorded conversations: JSON lines of a header, then the items as the API takes them.

The header may name `trace`, `shape` (messages, responses, chat or gemini; messages without it),
`client`, `client_version` and `model`. An item that begins an answer of the model has `at`, in
seconds, and may have `usage`: the tokens that were billed for its request, as [uncached, written,
read]. Both are no part of the item. In the shape messages every message of the assistant begins an
answer. The request of a turn is all that stands before the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsheadroom.errors import TsheadroomError
from tsheadroom.providers.shapes import Json

SHAPES = ("messages", "responses", "chat", "gemini")
_USAGE_FIELDS = 3
# Anything above is no measurement; a JSON number may be too large for arithmetic.
_MAX_SECONDS, _MAX_TOKENS = 1e10, 1e10
_VERSION = re.compile(r"\d{1,9}(\.\d{1,9})*", re.ASCII)


class RecordingInvalid(TsheadroomError):
    """A file holds no recorded conversation. The text names the file and what is wrong."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Where the model answered: the request is `items[:item]`."""

    item: int
    at: float = 0.0  # seconds
    billed: int = 0  # tokens of the request as the provider counted them; 0: not recorded


@dataclass(frozen=True, slots=True)
class Recording:
    """One conversation. `group` is the folder that it lies in: conversations of one client."""

    group: str
    trace: str
    shape: str
    client: str
    version: tuple[int, ...]  # of the client; empty if it is not known
    model: str
    items: Sequence[Json]
    answers: Sequence[Answer]


def find(paths: Iterable[Path]) -> list[Path]:
    """The files of these paths; of a folder its `*.jsonl`. Raises RecordingInvalid if none is."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not inside:
            raise RecordingInvalid(f"{path} holds no *.jsonl")
        found += inside
    return found


def read(path: Path) -> Recording:
    """Read one conversation. Raises RecordingInvalid."""
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise RecordingInvalid(f"{path} cannot be read: {error}") from None
    if not lines or not all(isinstance(line, dict) for line in lines):
        raise RecordingInvalid(f"{path} is no recording: each line must be a JSON object")
    head, items = lines[0], lines[1:]
    shape = str(head.get("shape") or "messages")
    if shape not in SHAPES:
        raise RecordingInvalid(f"{path} has the shape {shape!r}, not one of {', '.join(SHAPES)}")
    answers = [
        _answer(index, item)
        for index, item in enumerate(items)
        if "at" in item or (shape == "messages" and item.get("role") == "assistant")
    ]
    return Recording(
        group=path.absolute().parent.name,
        trace=str(head.get("trace") or path.stem),
        shape=shape,
        client=str(head.get("client") or ""),
        version=_version(head.get("client_version")),
        model=str(head.get("model") or ""),
        items=[_without_record(item) for item in items],
        answers=answers,
    )


def _answer(index: int, item: dict[str, Any]) -> Answer:
    at, given = item.get("at"), item.get("usage")
    usage = given if isinstance(given, list) and len(given) == _USAGE_FIELDS else []
    return Answer(
        index,
        float(at) if isinstance(at, int | float) and 0 <= at < _MAX_SECONDS else 0.0,
        sum(n for n in usage if isinstance(n, int) and 0 <= n < _MAX_TOKENS),
    )


def _without_record(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in ("at", "usage")}


def _version(text: Any) -> tuple[int, ...]:
    known = _VERSION.fullmatch(str(text))
    return tuple(map(int, known[0].split("."))) if known else ()
