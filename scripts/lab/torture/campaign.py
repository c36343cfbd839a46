"""Honest sessions while one fault follows another; also as a fixed list of turns and faults."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from scripts.lab.torture import interpreter, unreliable
from scripts.lab.torture.bench import Bench
from scripts.lab.torture.checking import Checker
from scripts.lab.torture.faults import FAULTS, NETEM, TAILNET_FAULTS, Fault, Scene, has_netem
from scripts.lab.torture.plan import Step, steps
from scripts.lab.torture.sessions import Crew, Situation
from scripts.lab.torture.tally import Tally
from scripts.lab.torture.target import Footprint, Target, Watch
from scripts.lab.torture.verdict import Verdict

TAILNET_PATIENCE = 10.0  # seconds; twice what Aperture waits by default
EVERY = 40.0  # turns a fault, where they are not counted
DEADLINE = "2s"
RECOVERED = 10.0  # seconds at most that a fault is waited out
_SETTLE = 1.0  # seconds before memory and descriptors are read
_CLOCK = "scripts.lab.torture.moved_clock"
# Half of the time the defaults, and a part of it what must be asked for.
SETTINGS: Sequence[Mapping[str, Any]] = (
    {},
    {"lossy": True, "min_tokens_to_compress": 50},
    {},
    {"rewrite": "always"},
)


@dataclass(slots=True)
class Act:
    """One daemon from its start to its end, and what was seen of it."""

    seed: int
    folder: Path
    traces: Sequence[Path]
    tally: Tally
    settings: Mapping[str, Any] = field(default_factory=dict)
    sessions: int = 16
    every: float = EVERY  # turns a fault
    tailnet: bool = False
    faults: Mapping[str, Fault] = field(default_factory=lambda: FAULTS)
    made: list[str] = field(default_factory=list)  # the faults, as they came
    before: Footprint = field(default_factory=Footprint)
    after: Footprint = field(default_factory=Footprint)
    most: Watch = field(default_factory=Watch)

    def run(self, more: Callable[[int], bool]) -> None:
        """Play as long as there are to be more turns than so many."""
        mood = self.folder / "mood"
        mood.write_text("")
        script = interpreter.make(self.folder, unreliable.__file__, {"mood": str(mood)})
        clock = self.folder / "clock"
        clock.write_text("0")
        with Target(
            *("--python", str(script), "--deadline", DEADLINE),
            runner=(_CLOCK, str(clock)),
            settings=self.settings,
            tailnet=self.tailnet,
        ) as target:
            situation = Situation(relayed=self.tailnet)
            if self.tailnet:
                target.patience = TAILNET_PATIENCE
            scene = Scene(target, situation, self.tally, Random(f"{self.seed} faults"), mood, clock)
            planned = steps(self.seed, list(self.faults), self.every)
            conductor = Conductor(scene, self.faults, planned, more, self.made)
            checker = Checker(
                lossy=bool(self.settings.get("lossy")), rewrites="rewrite" in self.settings
            )
            crew = Crew(
                target.connect,
                self.traces,
                self.seed,
                self.sessions,
                checker=checker,
                situation=situation,
                tally=self.tally,
                before=conductor.turn,
            )
            self.before = target.footprint()
            with target.watched() as self.most, conductor:
                crew.run()
            time.sleep(_SETTLE)
            self.after = target.footprint()
            (self.folder / "log").write_text(target.log)


class Conductor:
    """Counts the turns of all sessions, and begins and ends the faults when theirs has come."""

    def __init__(
        self,
        scene: Scene,
        faults: Mapping[str, Fault],
        planned: Iterator[Step],
        more: Callable[[int], bool],
        made: list[str],
    ) -> None:
        """`more` is asked before each turn, with the number of those that were."""
        self._scene = scene
        self._faults = faults
        self._planned = planned
        self._more = more
        self._made = made
        self._turns = 0
        self._next = next(planned)
        self._running = contextlib.ExitStack()
        self._begun = False
        self._lock = threading.Lock()

    def turn(self) -> bool:
        """To be called before each turn. False: there are to be no more."""
        with self._lock:
            if not self._more(self._turns):
                return False
            self._advance()
            self._turns += 1
            return True

    def _advance(self) -> None:
        if self._begun and self._turns >= self._next.end:
            self._running.close()
            # With the workers gone there is little to break: the next fault waits for them.
            self._scene.target.wait_for("/readyz", RECOVERED)
            self._begun = False
            self._next = next(self._planned)
        if not self._begun and self._turns >= self._next.begin:
            self._scene.situation.last = f"{self._next.fault} at {self._turns}"
            self._made.append(self._scene.situation.last)
            self._running.enter_context(self._faults[self._next.fault](self._scene))
            self._begun = True

    def __enter__(self) -> Conductor:
        return self

    def __exit__(self, *_: object) -> None:
        """End the fault that is there."""
        self._running.close()


def fixed(seed: int, folder: Path, traces: Sequence[Path], turns: int, faults: int) -> Act:
    """Play so many turns and so many faults, the same ones for the same seed."""
    act = Act(seed, folder, traces, Tally(folder / "kept"), every=turns / faults)
    act.run(lambda done: done < turns)
    return act


def run(bench: Bench, traces: Sequence[Path], seconds: float, *, tailnet: bool) -> Verdict:
    """Play for so long, with one daemon for each of SETTINGS."""
    played: list[Act] = []
    tally = Tally(bench.folder / "kept")
    known = dict(FAULTS)
    if tailnet:
        known |= TAILNET_FAULTS
        if not has_netem():
            del known[NETEM]
    for number, settings in enumerate(SETTINGS):
        folder = bench.folder / f"{number}"
        folder.mkdir(exist_ok=True)
        act = Act(
            bench.seed + number, folder, traces, tally, settings, tailnet=tailnet, faults=known
        )
        act.run(_until(time.monotonic() + seconds / len(SETTINGS)))
        played.append(act)
    left_out = sorted(TAILNET_FAULTS.keys() - known.keys()) if tailnet else []
    return Verdict(not tally.breaks, {**figures(played), "left out": left_out})


def _until(end: float) -> Callable[[int], bool]:
    return lambda turns: time.monotonic() < end


def figures(played: Sequence[Act]) -> dict[str, Any]:
    """All acts together, for a report. Memory is in MiB, for each act one after the other."""
    tally = played[0].tally
    names = {line.rpartition(" at ")[0] for act in played for line in act.made}
    return {
        "faults": sum(len(act.made) for act in played),
        "kinds of faults": len(names),
        **tally.figures(),
        "longest stall, ms": round(max(act.most.stalled_ms for act in played)),
        "most memory, MiB": round(max(act.most.rss for act in played)),
        "memory, MiB": [f"{act.before.rss:.0f} -> {act.after.rss:.0f}" for act in played],
        "descriptors": [f"{act.before.descriptors} -> {act.after.descriptors}" for act in played],
        "threads": [f"{act.before.threads} -> {act.after.threads}" for act in played],
        "broken at": tally.kept,
    }
