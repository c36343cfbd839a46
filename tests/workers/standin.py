"""A compression without Headroom for the real child: it upper-cases, or misbehaves when told to."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tsheadroom.child.watch import OverBudgetError, Stopwatch


class OfflineEgressBlocked(BaseException):
    """As Headroom's: not an Exception."""


@dataclass
class Result:
    forms: list[dict[str, Any]]
    notes: dict[str, Any] = field(default_factory=dict)
    convicted: list[int] = field(default_factory=list)


class Conversation:
    """Holds digests; `words` tells what it knows, for tests to look at."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []

    @property
    def length(self) -> int:
        return len(self.items)

    @property
    def size(self) -> int:
        return sum(len(part["text"]) for item in self.items for part in item["parts"])

    def context(self, item: dict[str, Any]) -> None:
        self.items.append(item)

    def compress(
        self,
        items: list[dict[str, Any]],
        model: str,
        config: dict[str, Any],
        watch: Stopwatch | None = None,
    ) -> Result:
        watch = watch or Stopwatch()
        forms, convicted = [], []
        first = self.length
        for index, item in enumerate(items):
            if item["context"]:
                continue
            try:
                watch.item(first + index, lambda: misbehave(model))
            except OverBudgetError:
                convicted.append(index)
                continue
            for part in item["parts"]:
                if part["text"] != part["text"].upper():
                    edit = {"slot": part["slot"], "text": part["text"].upper()}
                    forms.append({"item": index, "edits": [edit]})
        self.items += items
        notes = {"length": self.length, "pid": os.getpid(), "home": os.environ.get("SECRET", "")}
        if model == "pipes":
            fds = list(Path("/proc/self/fd").iterdir())  # that of this listing has gone after it
            links = {str(fd.readlink()) for fd in fds if fd.exists()}
            notes["pipes"] = [link for link in links if link.startswith("pipe:")]
        return Result(forms, notes, convicted)


def misbehave(model: str) -> None:
    """The model's name says how."""
    if model == "crash":
        os.abort()
    elif model == "crash later":
        if LATER in KEPT:
            os.abort()
        KEPT.append(LATER)
    elif model == "hang":
        time.sleep(600)
    elif model == "spin":
        while True:
            pass
    elif model.startswith("sleep:"):
        time.sleep(float(model.removeprefix("sleep:")))
    elif model.startswith("until:"):  # a file is there
        while not Path(model.removeprefix("until:")).exists():
            time.sleep(0.005)
    elif model == "eat":
        hoard = []
        while True:
            hoard.append(bytearray(16 * 1024 * 1024))
    elif model == "grow":
        KEPT.append(b"x" * (150 * 1024 * 1024))
    elif model == "native":  # no signal's handler is run before it returns
        sum(itertools.repeat(0))
    elif model == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif model == "wear":
        KEPT.append(WORN)
    elif model == "raise":
        raise ValueError("what it says")
    elif model == "deep":
        deeper(0)
    elif model == "egress":
        raise OfflineEgressBlocked("no way out")
    elif model == "print":
        print("a library's print on stdout", flush=True)
        os.write(1, b"and one below Python\n")
        sys.stdin.read()


WORN, LATER = b"worn", b"later"
KEPT: list[bytes] = []


def deeper(depth: int) -> int:
    return deeper(depth + 1) + 1


class Compressor:
    headroom_version = "0.0-standin"
    lacks = ""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    @property
    def worn(self) -> bool:
        return WORN in KEPT

    def warm_up(self) -> None:
        if self.options.get("hang"):
            time.sleep(600)
        if self.options.get("broken"):
            raise ImportError("no Headroom here")
        if self.options.get("threads"):
            import threading

            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()

    def conversation(self) -> Conversation:
        return Conversation()
