"""Asks a model whether it does the same when texts are folded.

Recorded turns are sent to a provider three times: as the client sent them, the same once more, and
as the daemon forwards them. The second answer shows how much a model differs from itself; only what
the third differs more than that can come from the daemon. Compared is the first tool call: its
tool, and its file or command. Of edits it is counted whether the old text stands in the
conversation. Turns that go out as they came are not asked about.

It costs money: --dry-run says how many tokens. The key is taken from ANTHROPIC_API_KEY or
OPENAI_API_KEY; a gateway may add it instead.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import aiohttp

from scripts.lab.agreement_provider import Action, Provider, ProviderRefused
from scripts.lab.agreement_turns import PATHS, RecordedTurn, changed_turns, sample
from tsheadroom.child import environment
from tsheadroom.errors import TsheadroomError
from tsheadroom.providers.shapes import Json
from tsheadroom.settings import Settings
from tsheadroom.simulate import intervals, recordings
from tsheadroom.simulate.blocks import Counter
from tsheadroom.simulate.policies import settings_of

_LENGTHS = {
    "messages": "max_tokens",
    "responses": "max_output_tokens",
    "chat": "max_completion_tokens",
}
WAYS = ("original", "again", "forwarded")
"""How a turn is sent, in this order, so that all three find about the same load at the provider."""


class FileUnusable(TsheadroomError):
    """The file of --body or of --out cannot be used. The text says why."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The three answers to one turn, by how it was sent."""

    turn: RecordedTurn
    actions: dict[str, Action]

    def same_tool(self, way: str) -> bool:
        """True if this answer begins with a call of the same tool as the one to the original."""
        return self.actions[way].tool == self.actions["original"].tool

    def same_action(self, way: str) -> bool:
        """True if that call is also about the same file or command."""
        same = self.actions[way].argument == self.actions["original"].argument
        return self.same_tool(way) and same

    def edits(self, way: str) -> int:
        """How many old texts the edit looks for; 0 if the answer is no edit."""
        return len(self.actions[way].replaced)

    def found(self, way: str) -> int:
        """How many of them stand in the conversation as the client sent it."""
        return sum(self.turn.knows(old.replace("\r\n", "\n")) for old in self.actions[way].replaced)

    def row(self) -> dict[str, Json]:
        """For --out: everything that is counted."""
        return {
            "conversation": self.turn.conversation,
            "turn": self.turn.number,
            **{
                way: {
                    "tool": action.tool,
                    "argument": action.argument,
                    "edits": self.edits(way),
                    "found": self.found(way),
                }
                for way, action in self.actions.items()
            },
        }


def turns_of(arguments: argparse.Namespace) -> list[RecordedTurn]:
    """The sampled turns. Raises TsheadroomError."""
    settings = settings_of(arguments.settings) if arguments.settings else Settings()
    members = _members(arguments.body)
    found: list[RecordedTurn] = []
    counter, loop = Counter(), asyncio.new_event_loop()
    try:
        for recording in map(recordings.read, recordings.find(arguments.traces)):
            if recording.shape in PATHS:
                limit = {_LENGTHS[recording.shape]: arguments.max_output}
                body = {"model": arguments.model, **limit, **members}
                found += changed_turns(recording, settings, body, counter, loop)
    finally:
        loop.close()
    return sample(found, arguments.turns, arguments.seed)


def _members(path: Path | None) -> dict[str, Json]:
    if path is None:
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FileUnusable(f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise FileUnusable(f"{path} must hold a JSON object")
    return value


def cost(turns: Sequence[RecordedTurn], max_output: int) -> str:
    """How much the study asks for, in tokens."""
    counter = Counter()
    original = sum(counter.read(turn.body(forwarded=False)) for turn in turns)
    forwarded = sum(counter.read(turn.body(forwarded=True)) for turn in turns)
    conversations = len({turn.conversation for turn in turns})
    return (
        f"{len(turns)} turns of {conversations} conversations, {3 * len(turns)} requests:"
        f" {2 * original + forwarded:,} tokens of input (o200k, caches not counted), at most"
        f" {3 * len(turns) * max_output:,} of output"
    )


async def ask(provider: Provider, turns: Sequence[RecordedTurn], out: TextIO) -> list[Compared]:
    """Send each turn in all WAYS, one request at a time, and write a line of JSON for each turn.

    If the provider gives no answer any more, what was answered until then is returned.
    """
    answered: list[Compared] = []
    for number, turn in enumerate(turns, 1):
        try:
            actions = {
                way: await provider.next_action(turn.shape, turn.body(forwarded=way == "forwarded"))
                for way in WAYS
            }
        except ProviderRefused as error:
            print(f"stopped at turn {number} of {len(turns)}: {error}", file=sys.stderr)
            break
        answered.append(Compared(turn, actions))
        out.write(json.dumps(answered[-1].row()) + "\n")
        out.flush()
    return answered


def report(answered: Sequence[Compared]) -> Iterator[str]:
    """The study's result in lines, each figure with its 95% interval over conversations."""
    groups: dict[str, list[Compared]] = {}
    for one in answered:
        groups.setdefault(one.turn.conversation, []).append(one)
    sets = list(groups.values())
    yield f"{len(answered)} turns of {len(sets)} conversations"
    for name, same in (("same tool", Compared.same_tool), ("same action", Compared.same_action)):
        for way in WAYS[1:]:
            yield _share(f"{name}, original and {way}", sets, _hits(same, way), len)
        low, high = intervals.bootstrap(sets, _difference(same)) if sets else (0.0, 0.0)
        yield (
            f"  {name}: forwarded less again {100 * _difference(same)(sets):+.1f} points"
            f" [{100 * low:+.1f}, {100 * high:+.1f}]"
        )
    for way in WAYS:
        found, of = _sum(Compared.found, way), _sum(Compared.edits, way)
        yield _share(f"old texts of edits found, {way}", sets, found, of)


def _hits(same: Callable[[Compared, str], bool], way: str) -> Callable[[list[Compared]], int]:
    return lambda group: sum(same(one, way) for one in group)


def _sum(count: Callable[[Compared, str], int], way: str) -> Callable[[list[Compared]], int]:
    return lambda group: sum(count(one, way) for one in group)


def _difference(
    same: Callable[[Compared, str], bool],
) -> Callable[[Sequence[list[Compared]]], float]:
    """How much more often the forwarded turn gives the same than the original sent again."""
    again, forwarded = _hits(same, "again"), _hits(same, "forwarded")

    def figure(sets: Sequence[list[Compared]]) -> float:
        gained = sum(forwarded(group) - again(group) for group in sets)
        return gained / (sum(map(len, sets)) or 1)

    return figure


def _share(
    name: str,
    sets: Sequence[list[Compared]],
    count: Callable[[list[Compared]], int],
    of: Callable[[list[Compared]], int],
) -> str:
    hits, cases = sum(map(count, sets)), sum(map(of, sets))
    low, high = intervals.share(sets, count, of)
    percent = 100 * hits / cases if cases else 0.0
    return f"{name}: {hits} of {cases}, {percent:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    traces = "recordings, or folders of them; those of Gemini are left out"
    option("traces", nargs="+", type=Path, metavar="TRACE", help=traces)
    option("--endpoint", required=True, help="such as https://api.anthropic.com")
    option("--model", required=True, help="the model's name there")
    option("--turns", type=int, default=50, help="how many are drawn (default: 50)")
    option("--seed", type=int, default=1, help="says which (default: 1)")
    settings = "settings of the daemon that differ from the defaults"
    option("--set", dest="settings", metavar="NAME=VALUE[,...]", help=settings)
    body = "a JSON object of members for each body, such as the client's real system and tools"
    option("--body", type=Path, metavar="FILE", help=body)
    longest = "the longest answer (default: 4096)"
    option("--max-output", type=int, default=4096, metavar="TOKENS", help=longest)
    option("--out", type=Path, help="write a line of JSON for each turn to this file")
    option("--dry-run", action="store_true", help="only say what it would cost")
    return parser.parse_args(words)


def run(arguments: argparse.Namespace) -> None:
    """Do the study. Raises TsheadroomError."""
    environment.apply()
    logging.disable(logging.WARNING)
    turns = turns_of(arguments)
    print(cost(turns, arguments.max_output), flush=True)
    if arguments.dry_run or not turns:
        return
    for line in report(asyncio.run(_asked(arguments, turns))):
        print(line)


async def _asked(arguments: argparse.Namespace, turns: Sequence[RecordedTurn]) -> list[Compared]:
    try:
        out = (arguments.out or Path(os.devnull)).open("w", encoding="utf-8")
    except OSError as error:
        raise FileUnusable(f"cannot write {arguments.out}: {error.strerror}") from None
    with out:
        async with aiohttp.ClientSession() as session:
            return await ask(Provider(session, arguments.endpoint), turns, out)


def main() -> None:
    """Run the command."""
    try:
        run(parse())
    except TsheadroomError as error:
        sys.exit(f"scripts/agreement: {error}")
