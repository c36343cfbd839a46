"""A worker's compression that fails when it is told to: it dies, hangs, or proposes wrong forms.

It stands in the place of the real one. The daemon is given an interpreter for its workers that puts
it there; a file says what it is to do with each call, and is looked at each time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Form = dict[str, Any]

SLOW_SECONDS = 2.5  # longer than the deadline that the campaign sets
_ENORMOUS = 1 << 40  # bytes; more than any limit leaves
_REAL = "tsheadroom.child.compress.compressor_itself"


def _real() -> Any:
    import tsheadroom.child.compress as package

    path = Path(next(iter(package.__path__))) / "compressor.py"
    spec = importlib.util.spec_from_file_location(_REAL, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_REAL] = module
    spec.loader.exec_module(module)
    return module


class Compressor:
    """The real compression, behind a mood."""

    def __init__(self, options: dict[str, Any]) -> None:
        # Open from the beginning on: a worker may open no file later.
        self._mood = os.open(options.pop("mood"), os.O_RDONLY)
        self._real = _real().Compressor(options)

    def __getattr__(self, name: str) -> Any:
        """All else is the real one's."""
        return getattr(self._real, name)

    def conversation(self) -> Moody:
        """A conversation of the real one's, behind the mood."""
        return Moody(self._real.conversation(), self._mood)


class Moody:
    """One conversation. What it does with new items, the mood says."""

    def __init__(self, real: Any, mood: int) -> None:
        self._real = real
        self._mood = mood
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        """All else is the real one's."""
        return getattr(self._real, name)

    def compress(self, items: list[dict[str, Any]], *more: Any) -> Any:
        """Decide the forms of new items, as the mood wants it."""
        mood = os.pread(self._mood, 100, 0).decode()
        if mood == "slow":
            time.sleep(SLOW_SECONDS)
        elif mood == "memory":
            bytearray(_ENORMOUS)
        elif mood == "crash":
            os.abort()
        elif mood == "chatter":
            os.write(2, b"worker says: " + b"x" * 5000 + b"\n")
        result = self._real.compress(items, *more)
        if mood == "lie":
            self._calls += 1
            lie = LIES[self._calls % len(LIES)]
            result.forms = [lie(form) for form in result.forms] or [_invented(items)]
        return result


def _edited(form: Form, **changes: Any) -> Form:
    return {**form, "edits": [{**edit, **changes} for edit in form["edits"]]}


def _longer(form: Form) -> Form:
    return _edited(form, text="x" * 3_000_000)


def _marked(form: Form) -> Form:
    return _edited(form, text="Retrieve original: hash=0123456789abcdef")


def _dangling(form: Form) -> Form:
    return _edited(form, text="[same output as Bash #99 above]", pointers=[])


def _pointing_elsewhere(form: Form) -> Form:
    lines = {"of": 0, "first": 0, "count": 9}
    pointer = {"item": 0, "slot": ["content"], "call": "", "name": "Read a", **lines}
    text = "[9 lines unchanged: see lines 1-9 of Read a above]"
    return _edited(form, text=text, pointers=[pointer])


def _misplaced(form: Form) -> Form:
    return _edited(form, slot=["role"])


def _of_another_item(form: Form) -> Form:
    return {**form, "item": 0}


def _mistyped(form: Form) -> Form:
    return {**form, "edits": [{"slot": None, "text": 5, "pointers": {}, "transforms": 1}]}


def _unending(form: Form) -> Form:
    return {**form, "item": 10**30}


LIES: Sequence[Callable[[Form], Form]] = (
    _longer,
    _marked,
    _dangling,
    _pointing_elsewhere,
    _misplaced,
    _of_another_item,
    _mistyped,
    _unending,
)


def _invented(items: Sequence[dict[str, Any]]) -> Form:
    """A form of a text that is not there."""
    slot = ["where no text is"]
    edit = {"slot": slot, "text": json.dumps(len(items)), "pointers": [], "transforms": []}
    return {"item": len(items) - 1, "edits": [{**edit, "lossy": False}], "tokens_saved": 1}
