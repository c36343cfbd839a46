"""What `tsheadroom simulate` does with its arguments."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tsheadroom.child import environment
from tsheadroom.errors import TsheadroomError
from tsheadroom.providers.shapes import Json
from tsheadroom.simulate import plot, policies, recordings, replay, summary, table
from tsheadroom.simulate.replay import Outcome

BASE = "as it is"


class MembersInvalid(TsheadroomError):
    """`--members` is no JSON object."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command's arguments: `sets` are policies by settings, such as `folds=false`."""

    traces: tuple[Path, ...]
    policy: tuple[str, ...]
    sets: tuple[str, ...]
    members: str | None
    ttl: float
    edits: Path | None
    plot: Path | None
    as_json: bool
    as_markdown: bool


def run(arguments: Arguments) -> None:
    """Replay the conversations, and print the table. Raises TsheadroomError."""
    environment.apply()  # before Headroom and its vocabularies are imported
    logging.disable(logging.WARNING)  # what a daemon would log of each request
    outcomes = _outcomes(arguments)
    rows = summary.rows(outcomes, BASE)
    if arguments.as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        print(table.markdown(rows) if arguments.as_markdown else table.text(rows))
    if arguments.edits:
        _write_edits(arguments.edits, outcomes)
    if arguments.plot:
        arguments.plot.write_text(plot.plot(rows), "utf-8")


def _outcomes(arguments: Arguments) -> dict[str, list[Outcome]]:
    names = [BASE, *(arguments.policy or ("ours",)), *arguments.sets]
    members = _members(arguments.members)
    loop = asyncio.new_event_loop()
    try:
        return replay.replay_all(
            [recordings.read(path) for path in recordings.find(arguments.traces)],
            {name: policies.maker(name, loop) for name in names},
            members,
            arguments.ttl,
            _tell,
        )
    finally:
        loop.close()
        _tell("")


def _tell(doing: str) -> None:
    """Show a person what is being done, in one line that goes away again."""
    if sys.stderr.isatty():
        print(f"\r{doing}\033[K", end="", file=sys.stderr, flush=True)


def _members(text: str | None) -> dict[str, Json] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise MembersInvalid(f"--members must be a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise MembersInvalid("--members must be a JSON object")
    return value


def _write_edits(path: Path, outcomes: dict[str, list[Outcome]]) -> None:
    rows: Sequence[dict[str, Json]] = [
        row for name, of_policy in outcomes.items() for row in table.edits(name, of_policy)
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
