"""A compression that was taken over: what it has managed to do, it tells in a tool output's form.

It stands in the place of the real one, in an interpreter for workers that puts it there.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ATTEMPTS = Path(__file__).resolve().parents[4] / "tests" / "workers" / "intruder.py"


@dataclass
class Result:
    """What came of a call, as the child wants it."""

    forms: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    convicted: list[int] = field(default_factory=list)


class Compressor:
    """Makes conversations in which it acts."""

    headroom_version = "0.0-intruder"
    lacks = ""
    worn = False

    def __init__(self, options: dict[str, Any]) -> None:
        del options
        spec = importlib.util.spec_from_file_location("intruder", ATTEMPTS)
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot load {ATTEMPTS}")
        self._attempts = module = importlib.util.module_from_spec(spec)
        sys.modules["intruder"] = module
        spec.loader.exec_module(module)

    def warm_up(self) -> None:
        """Nothing to warm."""

    def conversation(self) -> Compressed:
        """A conversation."""
        return Compressed(self._attempts)


class Compressed:
    """A conversation whose last item gets a form that says what has been done."""

    size = 0

    def __init__(self, attempts: Any) -> None:
        self._attempts = attempts
        self.length = 0

    def context(self, item: dict[str, Any]) -> None:
        """Count it."""
        self.length += 1

    def compress(
        self, items: list[dict[str, Any]], model: str, config: dict[str, Any], watch: object
    ) -> Result:
        """Try all, and tell. The last item says what there is around it."""
        self.length += len(items)
        part = items[-1]["parts"][0]
        outcome = self._attempts.tell(json.loads(part["text"]))
        edit = {"slot": part["slot"], "text": json.dumps(outcome)}
        edit |= {"pointers": [], "transforms": ["intruder"], "lossy": False}
        form = {"item": len(items) - 1, "edits": [edit], "tokens_saved": 1}
        return Result([form])
