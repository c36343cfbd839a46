"""The script of the model: what it does, step by step, in terms of no particular client."""

from __future__ import annotations

import re
from dataclasses import dataclass

MARK = re.compile(r"PLAN:([a-z]+) IN=(\S+)")
"""What in a user's text makes the model follow a plan: its name, and the workspace's path."""


def prompt(plan: str, workspace: str) -> str:
    """What the user says."""
    return (
        f"PLAN:{plan} IN={workspace} Please look around in this repository, make the changes "
        "that we talked about, and report."
    )


@dataclass(frozen=True, slots=True)
class Read:
    """Show a file, or `count` lines of it from line `first` on."""

    path: str
    first: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class Search:
    """Search files for a pattern."""

    pattern: str
    path: str


@dataclass(frozen=True, slots=True)
class Find:
    """List the files whose names match."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Folder:
    """List a folder."""

    path: str


@dataclass(frozen=True, slots=True)
class Run:
    """Run a command. `shows` is True if it prints nothing but a file's text."""

    command: str
    shows: bool = False


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace a text in a file."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Todo:
    """Keep a list of tasks, of which so many are done."""

    done: int


@dataclass(frozen=True, slots=True)
class Delegate:
    """Let another agent follow a plan."""

    plan: str


Action = Read | Search | Find | Folder | Run | Edit | Write | Todo | Delegate
Plan = tuple[tuple[Action, ...], ...]
"""For each step the actions that are taken at once. After the last the model reports."""

HOOKS = "lib/spotter_web/controllers/hooks_controller.ex"
LIVE = "lib/spotter_web/live/project_review_live.ex"
TMUX = "lib/spotter/services/tmux.ex"
LIVE_TEST = "test/spotter_web/live/project_review_live_test.exs"
TASKS = ("Look around", "Read the hooks", "Change the review", "Run the tests", "Report")
NOTES = "\n".join(
    f"def rule_{n}(value: int) -> int:\n"
    f'    """Rule number {n}."""\n'
    f"    return value * {n} + {n % 7}\n"
    for n in range(40)
)
_COUNT = Run("find . -name '*.ex*' | sort | xargs wc -l")

_MAIN: Plan = (
    (Todo(0),),
    (Folder("."),),
    (Find("**/*.ex"),),
    (Search("def ", "lib"),),
    (Read("README.md"),),
    (Read(HOOKS),),
    (Read(LIVE),),
    (Read(TMUX), Read(LIVE_TEST), Search("alias ", "lib")),
    (Read(HOOKS),),
    (Read(LIVE, 60, 80),),
    (_COUNT,),
    (_COUNT,),
    (Run("python3 tools/pods.py"),),
    (Run("python3 -c 'import nosuchmodule'"),),
    (Edit(TMUX, "        {:ok, panes}\n", "        {:ok, Enum.sort(panes)}\n"),),
    (Read(TMUX),),
    (Run("python3 tools/log.py"),),
    (Run("python3 tools/suite.py"),),
    (Read(LIVE_TEST),),
    (Write("notes.py", NOTES),),
    (Read("notes.py"),),
    (Run("cat notes.py", shows=True),),
    (Todo(2),),
    (Edit("notes.py", "    return value * 3 + 3\n", "    return value * 3 + 30\n"),),
    (Read("notes.py"),),
    (Search("defmodule ", "."),),
    (Search("defmodule ", "."),),
    (Run("ls -lR . | head -150"),),
    (
        Run("wc -c README.md"),
        Run("head -60 docs/plan.md", shows=True),
        Run(f"sed -n 1,80p {LIVE}", shows=True),
        Run("date -u -d @0"),
    ),
    (Delegate("sub"),),
    (Read("README.md"),),
    (Run("python3 tools/pods.py --later"),),
    (Read("docs/plan.md"),),
    (Read("docs/plan.md", 40, 60),),
    (Run(f"cat {HOOKS}", shows=True),),
    (Edit(LIVE, "this text is nowhere in it", "x"),),
    (Run("python3 tools/download.py"),),
    (Run("python3 tools/jobs.py"),),
    (Run("python3 tools/suite.py --fixed"),),
    (Run("git diff --no-index tools/tmux.before.ex lib/spotter/services/tmux.ex; true"),),
    (Run("cat tools/pods.json", shows=True),),
    (Run("python3 tools/pods.py"),),
    (Read(LIVE),),
    (Todo(4),),
)
_SUB: Plan = (
    (Read(LIVE_TEST),),
    (Search("describe", "test"),),
    (Read(TMUX), Read(LIVE_TEST)),
    (Run(f"cat {TMUX}", shows=True),),
)
PLANS: dict[str, Plan] = {"main": _MAIN, "sub": _SUB}

_SAID = (
    "Let me look at this first.",
    "I will check how this is used before I change anything.",
    "",
    "That is what I expected. Next, the details.",
)
_THOUGHT = (
    "Step {step}: I know a part of it now. What is missing is the next piece; I will ask for it "
    "and compare what comes back with what I have seen so far. "
)
_WITHOUT = 6  # each so many steps: adaptive thinking does not always think


def said(step: int) -> str:
    """What the model says beside its calls; "" is nothing."""
    return _SAID[step % len(_SAID)]


def thought(step: int) -> str:
    """What the model thinks before them; "" is nothing."""
    if step % _WITHOUT == _WITHOUT - 1:
        return ""
    return _THOUGHT.format(step=step) * (1 + step % 3)
