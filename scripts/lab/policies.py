"""The policies that scripts/simulate compares: what is forwarded of a conversation."""

from __future__ import annotations

import asyncio
import copy
import json
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from scripts.lab import traffic
from scripts.lab.prompt_cache import Policy
from scripts.lab.traffic import MODEL, Body
from tsheadroom.child import held
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.settings import Settings
from tsheadroom.telemetry.events import Event
from tsheadroom.telemetry.record import Figures
from tsheadroom.turns.turns import Turns
from tsheadroom.workers import Job, Reply

DEADLINE = 60.0  # seconds


def as_it_is() -> Policy:
    """Nothing is changed."""
    return lambda now, body: body


def reference() -> Policy:
    """Headroom's default pipeline over the whole conversation, every turn."""
    from headroom import compress  # takes seconds, and only this policy needs it

    def forward(now: float, body: Body) -> Body:
        result = compress(copy.deepcopy(body["messages"]), model=MODEL)
        return {**body, "messages": result.messages} if result.tokens_saved > 0 else body

    return forward


class InlineWorkers:
    """Stands in for the pool: the code of one worker, in this process."""

    def __init__(self) -> None:
        from tsheadroom.child.compress.compressor import Compressor  # Headroom takes seconds

        self._held = held.HeldConversations(Compressor({}))

    def submit(self, job: Job) -> asyncio.Future[Reply]:
        """Return a future that has the reply already."""
        done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        done.set_result(msgspec.convert(self._held.turn(json.loads(job.payload)), Reply))
        return done


class InlineDaemon:
    """The daemon's parts in this process, without sockets, processes or a disk."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._now = 1.0
        conversations = Conversations(directory=None, clock=lambda: self._now)
        self._turns = Turns(conversations, InlineWorkers(), deadline=DEADLINE)
        self._loop = asyncio.new_event_loop()

    def __call__(self, now: float, body: Body) -> Body:
        """Return the body that is forwarded for a request."""
        self._now = 1.0 + now
        metadata = {"provider": "anthropic", "model": MODEL}
        raw = traffic.dumps({"metadata": metadata, "request_body": body})
        answer, figures = self._loop.run_until_complete(self._answer(raw))
        if Event.FORMS_REFUSED in figures.events or Event.FORMS_NOT_SPLICED in figures.events:
            sys.exit(f"a form was refused: {dict(figures.events)}")
        got = json.loads(answer)
        forwarded: Body = got["request_body"] if got["action"] == "modify" else body
        return forwarded

    async def _answer(self, raw: bytes) -> tuple[bytes, Figures]:
        with self._turns.open(raw, self._settings) as turn:
            answer = await turn.answer()
            turn.arrived()
        return answer, turn.figures()


def ours(**changes: Any) -> Callable[[], Policy]:
    """The policy of the daemon, with these settings instead of the defaults."""
    return lambda: InlineDaemon(Settings(**changes))


NOTHING = {"folds": False, "gutter": False, "terminal": False, "json": False, "lossless": False}
POLICIES: dict[str, Callable[[], Policy]] = {
    "as it is": as_it_is,
    "reference": reference,
    "ours": ours(),
    "folds only": ours(**{**NOTHING, "folds": True}),
    "folds of 8 lines only": ours(**{**NOTHING, "folds": True, "fold_min_lines": 8}),
    "gutter only": ours(**{**NOTHING, "gutter": True}),
    "headroom, terminal, json only": ours(folds=False, gutter=False),
    "lossy": ours(lossy=True),
    "rewrite cold": ours(rewrite="cold"),
    "rewrite cost": ours(rewrite="cost"),
    "rewrite always": ours(rewrite="always"),
    "lossy, rewrite cold": ours(lossy=True, rewrite="cold"),
    "lossy, rewrite cost": ours(lossy=True, rewrite="cost"),
}
USUAL = ["as it is", "reference", "ours", "rewrite cost", "rewrite always"]
