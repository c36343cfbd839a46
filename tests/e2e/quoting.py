"""A compression that quotes what it works on in every way that a library could. For a worker."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from dataclasses import dataclass, field
from typing import Any


class NamedError(Exception):
    """It says its own type."""


@dataclass
class Result:
    forms: list[dict[str, Any]]
    notes: dict[str, Any] = field(default_factory=dict)
    convicted: list[int] = field(default_factory=list)


class Conversation:
    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.size = 0

    @property
    def length(self) -> int:
        return len(self.items)

    def context(self, item: dict[str, Any]) -> None:
        self.items.append(item)

    def compress(self, items: list[dict[str, Any]], *_: Any) -> Result:
        self.items += items
        part = next(p for item in items for p in item["parts"] if p["kind"] == "tool_result")
        text = part["text"]
        quote(text)
        edit = {"slot": [*part["slot"], text], "text": "short"}
        last = len(items) - 1
        return Result([{"item": last, "edits": [edit]}], {text: 1})


def quote(text: str) -> None:
    """The text's first word says how."""
    how = text.split()[0]
    if how == "print":
        print(text, file=sys.stderr, flush=True)
        print(f'{text}\n  File "/{text}.py", line 1, in x\n{text}: KeyError', file=sys.stderr)
        logging.getLogger("headroom").warning("failed on %s", text)
        logging.getLogger("headroom").error("failed", exc_info=KeyError(text))
        warnings.warn(text, stacklevel=1)
        sys.stderr.flush()
    elif how == "raise":
        raise KeyError(text)
    elif how == "name":
        error = NamedError(text)
        error.error_type = text  # type: ignore[attr-defined]
        raise error
    elif how == "exit":
        raise SystemExit(text)
    elif how == "abort":
        os.abort()


class Compressor:
    headroom_version = "0.0-quoting"
    lacks = ""
    worn = False

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def warm_up(self) -> None:
        pass

    def conversation(self) -> Conversation:
        return Conversation()
