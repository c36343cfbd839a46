"""Counts and shows what a provider got of each conversation of the demo, and what was saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scripts.lab import traffic
from scripts.lab.demo_tailnet import DemoFailed

SHOWN_TURNS = 6  # rows for each conversation in the table, from its first turn to its last


@dataclass
class Turn:
    """One request: bytes of its body and o200k tokens, before and after the hook."""

    messages: int
    bytes_before: int
    bytes_after: int
    tokens_before: int
    tokens_after: int


@dataclass
class Conversation:
    """What a provider got of one conversation."""

    name: str
    least_saved: float  # percent of the tokens; if less is saved, the demo fails
    turns: list[Turn] = field(default_factory=list)
    changed_prefixes: int = 0
    markers: int = 0
    changed_fields: int = 0
    _seen: list[Any] = field(default_factory=list)

    def take(self, sent: traffic.Body, got: traffic.Body) -> None:
        """Add a request, as the agent sent it and as it is forwarded."""
        before, after = traffic.dumps(sent), traffic.dumps(got)
        self.turns.append(
            Turn(
                len(sent["messages"]),
                len(before),
                len(after),
                traffic.tokens(sent),
                traffic.tokens(got),
            )
        )
        now = traffic.plain(got["messages"])
        self.changed_prefixes += now[: len(self._seen)] != self._seen
        self._seen = now
        self.markers += any(
            after.count(marker.encode()) > before.count(marker.encode())
            for marker in traffic.MARKERS
        )
        rest = [{k: v for k, v in b.items() if k != "messages"} for b in (sent, got)]
        self.changed_fields += rest[0] != rest[1] or list(sent) != list(got)

    @property
    def total(self) -> Turn:
        """The sums over all turns, which is what the provider bills."""
        columns = ("bytes_before", "bytes_after", "tokens_before", "tokens_after")
        sums = [sum(getattr(turn, name) for turn in self.turns) for name in columns]
        return Turn(self.turns[-1].messages, *sums)


def saved(before: int, after: int) -> float:
    """How much less it is now, in percent."""
    return 100 * (before - after) / before if before else 0.0


def show(conversations: list[Conversation]) -> None:
    """Print the table."""
    head = f"{'turn':>6}{'messages':>10}{'bytes':>14}{'forwarded':>12}{'saved':>8}"
    print("\n" + head + f"{'tokens':>14}{'forwarded':>12}{'saved':>8}")
    for conversation in conversations:
        count = len(conversation.turns)
        print(conversation.name)
        shown = sorted({round(i * (count - 1) / (SHOWN_TURNS - 1)) for i in range(SHOWN_TURNS)})
        for at in shown:
            _row(f"{at + 1}", conversation.turns[at])
        _row(f"all {count}", conversation.total)
    print("\nWhat stayed true, in every turn:")
    for text, attribute in (
        ("prefixes changed that the provider already had", "changed_prefixes"),
        ("markers that promise what nobody can retrieve", "markers"),
        ("other fields of a request changed", "changed_fields"),
    ):
        print(f"  {sum(getattr(c, attribute) for c in conversations)} {text}")
    print("(tokens: o200k, of system prompt and conversation; all: the sum over the turns)")


def _row(label: str, turn: Turn) -> None:
    print(
        f"{label:>6}{turn.messages:>10}"
        f"{turn.bytes_before:>14,}{turn.bytes_after:>12,}"
        f"{saved(turn.bytes_before, turn.bytes_after):>7.1f}%"
        f"{turn.tokens_before:>14,}{turn.tokens_after:>12,}"
        f"{saved(turn.tokens_before, turn.tokens_after):>7.1f}%"
    )


def judge(conversations: list[Conversation]) -> None:
    """Raise DemoFailed if something else came out than should."""
    for conversation in conversations:
        for attribute in ("changed_prefixes", "markers", "changed_fields"):
            if getattr(conversation, attribute):
                raise DemoFailed(f"{conversation.name}: {attribute.replace('_', ' ')}")
        total = conversation.total
        share = saved(total.tokens_before, total.tokens_after)
        if share <= 0:
            raise DemoFailed(f"{conversation.name}: nothing was saved")
        least = conversation.least_saved
        if share < least:
            raise DemoFailed(f"{conversation.name}: {share:.1f}% saved, under {least:g}%")
