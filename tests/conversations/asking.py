"""Asks the ledger as a turn does, but waits for the disk where it stands."""

from __future__ import annotations

from tsheadroom.conversations import Conversations, Request, Told, Turn
from tsheadroom.conversations.branches import Chains
from tsheadroom.conversations.forms import Form


def begin(ledger: Conversations, request: Request) -> Turn:
    """What is known of a request."""
    chains, told = Chains(request.scope, request.digests, request.by_model), Told()
    while not isinstance(turn := ledger.begin(request, chains, told), Turn):
        told.take(turn.result(10))
    return turn


def record(ledger: Conversations, turn: Turn, decided: dict[int, Form], *, arrives: bool) -> None:
    """Keep its decision, and the fate of its answer."""
    if saved := ledger.record(turn, decided):
        saved.result(10)
    (ledger.delivered if arrives else ledger.undelivered)(turn)
