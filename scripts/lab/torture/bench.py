"""What an attack works with: daemons, honest sessions beside it, and a folder for its files.

An attack is a module in attacks/: its docstring says what must hold, and its function `attack`
takes a Bench and returns a Verdict. Its name on the command line is that of the module.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from scripts.lab import traffic
from scripts.lab.torture.conversations import traces
from scripts.lab.torture.sessions import Crew
from scripts.lab.torture.tally import Tally
from scripts.lab.torture.target import Target
from tests.tailnet import private

Block = dict[str, Any]


@dataclass(slots=True)
class Bench:
    """The means of one attack. What it has started ends with it."""

    name: str
    seed: int
    folder: Path  # of its own, exists
    parts: contextlib.ExitStack
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(f"{self.seed} {self.name}")

    def daemon(
        self,
        *options: str,
        pool: int = 2,
        tailnet: bool = False,
        settings: Mapping[str, Any] | None = None,
        stdout: int = subprocess.DEVNULL,
        stderr: int | None = None,
    ) -> Target:
        """Start a daemon with a state directory of its own; all its workers are warm.

        `stdout` and `stderr` are descriptors, None for its log.
        """
        target = Target(
            *options, pool=pool, tailnet=tailnet, settings=settings, stdout=stdout, stderr=stderr
        )
        return self.parts.enter_context(target)

    def peer(self, target: Target, name: str) -> private.Caller:
        """Another node of the target's tailnet."""
        assert target.control
        folder = self.folder / name
        folder.mkdir()
        peer = private.Caller(target.control.url, folder, hostname=name)
        self.parts.callback(peer.close)
        return peer

    @contextlib.contextmanager
    def honest(self, target: Target, sessions: int = 16, pause: float = 0.0) -> Iterator[Tally]:
        """Let honest callers work meanwhile, each with `pause` seconds between its turns.

        The result is complete when the block has ended. Whatever is broken or wrong in it, the
        attack has cost others.
        """
        ended = threading.Event()
        tally = Tally(self.folder / "honest")
        crew = Crew(
            target.connect,
            traces(traffic.DATA),
            secrets.randbits(32),
            sessions,
            tally=tally,
            before=lambda: not ended.wait(pause),
        )
        thread = threading.Thread(target=crew.run, daemon=True)
        thread.start()
        try:
            yield tally
        finally:
            ended.set()
            thread.join()
        if crew.failed:
            raise crew.failed[0]

    def salt(self) -> str:
        """Sixteen characters that no other call has."""
        return f"{self.random.getrandbits(64):016x}"

    def rows(self, count: int) -> str:
        """JSON of so many rows, with its layout: a tool's output that becomes shorter."""
        return (
            "[\n"
            + ",\n".join(f'  {{\n    "k": "{self.salt()}"\n  }}' for _ in range(count))
            + "\n]"
        )

    def call(self, *outputs: str, login: str = "attacker@example.com", tool: str = "Bash") -> bytes:
        """A hook call in Anthropic's shape in which the model has called a tool for each output."""
        uses = [
            {"type": "tool_use", "id": f"t{n}", "name": tool, "input": {"command": self.salt()}}
            for n in range(len(outputs))
        ]
        results = [
            {"type": "tool_result", "tool_use_id": f"t{n}", "content": output}
            for n, output in enumerate(outputs)
        ]
        return self.messages(
            [
                {"role": "user", "content": f"go {self.salt()}"},
                {"role": "assistant", "content": uses},
                {"role": "user", "content": results},
            ],
            login,
        )

    def messages(self, messages: Sequence[Block], login: str = "attacker@example.com") -> bytes:
        """A hook call with these messages in Anthropic's shape."""
        metadata = {"provider": "anthropic", "model": traffic.MODEL, "login_name": login}
        body = {"model": traffic.MODEL, "messages": messages}
        return traffic.dumps({"metadata": metadata, "request_body": body})
