"""What `tsheadroom simulate` does with its arguments."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tsheadroom.child import environment
from tsheadroom.errors import TsheadroomError
from tsheadroom.providers.shapes import Json
from tsheadroom.simulate import plot, policies, recordings, replay, summary, table
from tsheadroom.simulate.replay import Replayed

BASE = "as it is"


class MembersInvalid(TsheadroomError):
    """`--members` is no JSON object."""


class NotWritten(TsheadroomError):
    """A file that was asked for could not be written. The text says why."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command's arguments."""

    traces: tuple[Path, ...]
    policy: tuple[str, ...] = ()  # names; none means the daemon's defaults
    sets: tuple[str, ...] = ()  # policies by their settings, such as `folds=false`
    members: str | None = None
    ttl: float = 0.0
    edits: Path | None = None
    plot: Path | None = None
    as_json: bool = False
    as_markdown: bool = False


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
        _write(arguments.edits, _edits(outcomes))
    if arguments.plot:
        _write(arguments.plot, plot.plot(rows))


def _outcomes(arguments: Arguments) -> dict[str, list[Replayed]]:
    names = [BASE, *(arguments.policy or ("ours",))]
    members = _members(arguments.members)
    loop = asyncio.new_event_loop()
    try:
        makers = {name: policies.named(name, loop) for name in names} | {
            text: policies.of_settings(policies.settings_of(text), loop) for text in arguments.sets
        }
        paths = recordings.find(arguments.traces)
        return replay.replay_all(map(recordings.read, paths), makers, members, arguments.ttl, _tell)
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
    except (ValueError, RecursionError) as error:
        raise MembersInvalid(f"--members must be a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise MembersInvalid("--members must be a JSON object")
    return value


def _edits(outcomes: dict[str, list[Replayed]]) -> str:
    rows = (row for name, of_policy in outcomes.items() for row in table.edits(name, of_policy))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write(path: Path, text: str) -> None:
    try:
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    except OSError as error:
        raise NotWritten(f"cannot write {path}: {error.strerror or error}") from error
