"""Asks the ledger as a turn does, but waits for the disk where it stands."""

from __future__ import annotations

from tsheadroom.conversations.forms import Form
from tsheadroom.conversations.ledger import Conversations, FromDisk
from tsheadroom.conversations.prefixes import Prefixes, Request
from tsheadroom.conversations.turn import Turn


def begin(ledger: Conversations, request: Request) -> Turn:
    """What is known of a request."""
    prefixes, disk = Prefixes(request), FromDisk()
    while not isinstance(turn := ledger.begin(request, prefixes, disk), Turn):
        disk.take(turn.result(10))
    return turn


def decide(turn: Turn, decided: dict[int, Form], *, arrives: bool = True) -> None:
    """Keep its decision, and the fate of its answer."""
    if saved := turn.decide(decided):
        saved.result(10)
    if arrives:
        turn.arrived()
    else:
        turn.lost()
