"""What may be done with a request: forwarded as it is, by the daemon's settings, or by Headroom."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from tsheadroom.child import held
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.errors import TsheadroomError
from tsheadroom.settings import Settings, SettingsInvalid, merge
from tsheadroom.simulate.requests import KEYS, Simulated, encoded
from tsheadroom.telemetry.events import Event
from tsheadroom.turns.turns import Turns
from tsheadroom.workers import Job, Reply

if TYPE_CHECKING:
    from tsheadroom.child.compress.compressor import Compressor

DEADLINE = 600.0  # seconds; nobody waits for these answers
_REFUSED = (Event.FORMS_REFUSED, Event.FORMS_NOT_SPLICED)


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What goes out for a request: the conversation's items, and whether all is in order."""

    items: Sequence[bytes]
    refused: bool = False  # True if the daemon refused a form that its own worker made
    touched: bool = False  # True if another member of the body is not as it came


Policy = Callable[[Simulated], Forwarded]
"""One policy for the requests of one conversation, in their order."""


def as_it_is(request: Simulated) -> Forwarded:
    """Nothing is changed."""
    return Forwarded(request.items)


def reference(request: Simulated) -> Forwarded:
    """Headroom's default pipeline over the whole conversation, every turn.

    It knows messages only; other shapes go out as they came.
    """
    from tsheadroom.child.headroom.whole import compress  # takes seconds

    if KEYS[request.shape] != "messages":
        return Forwarded(request.items)
    messages = [json.loads(item.decode("utf-8", "surrogatepass")) for item in request.items]
    shorter = compress(messages, request.model)
    return Forwarded(request.items if shorter is None else [encoded(m) for m in shorter])


class InlineDaemon:
    """The daemon's parts in this process, without sockets, processes or a disk.

    It is for one conversation: another one gets a new daemon, so that memory stays bounded.
    """

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self._settings = settings
        self._loop = loop
        self._now = 0.0
        conversations = Conversations(directory=None, clock=lambda: self._now)
        self._turns = Turns(conversations, _Workers(), deadline=DEADLINE)

    def __call__(self, request: Simulated) -> Forwarded:
        """Return what is forwarded for a request."""
        self._now = 1.0 + request.at
        return self._loop.run_until_complete(self._forward(request))

    async def _forward(self, request: Simulated) -> Forwarded:
        with self._turns.open(request.hook_call(), self._settings) as turn:
            answer = msgspec.json.decode(await turn.answer(), type=_Answer)
            turn.arrived()
        refused = any(event in turn.figures().events for event in _REFUSED)
        if answer.action != "modify":
            return Forwarded(request.items, refused)
        members = dict(answer.request_body)
        conversation = members.pop(KEYS[request.shape], msgspec.Raw(b"[]"))
        items = [bytes(item) for item in msgspec.json.decode(conversation, type=list[msgspec.Raw])]
        touched = {name: bytes(value) for name, value in members.items()} != request.members
        return Forwarded(items, refused, touched)


class _Answer(msgspec.Struct):
    action: str
    request_body: dict[str, msgspec.Raw] = {}


class _Workers:
    """Stands in for the pool: the code of one worker, in this process."""

    def __init__(self) -> None:
        self._held = held.HeldConversations(_compressor())

    def submit(self, job: Job) -> asyncio.Future[Reply]:
        """Return a future that has the reply already."""
        done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        done.set_result(msgspec.convert(self._held.turn(json.loads(job.payload)), Reply))
        return done


@lru_cache(maxsize=1)
def _compressor() -> Compressor:
    """One for all policies: what one has counted or shortened, the next need not do again."""
    from tsheadroom.child.compress.compressor import Compressor  # Headroom takes seconds

    return Compressor({})


_NAMED: dict[str, dict[str, Any] | Policy] = {
    "as it is": as_it_is,
    "reference": reference,
    "ours": {},
    "lossy": {"lossy": True},
    "rewrite cold": {"rewrite": "cold"},
    "rewrite cost": {"rewrite": "cost"},
    "rewrite always": {"rewrite": "always"},
    "lossy, rewrite cost": {"lossy": True, "rewrite": "cost"},
}
"""Policies by name: the settings that differ from the daemon's defaults, or a function."""


class UnknownPolicyError(TsheadroomError):
    """There is no policy of this name. The text names all that there are."""


def settings_of(text: str) -> Settings:
    """Read settings such as `folds=false,fold_min_lines=8`. Raises SettingsInvalid.

    A value is JSON, or a word. A comma may stand in a value that is a list.
    """
    changes = {}
    for pair in re.split(r",(?=\w+=)", text):
        name, equals, value = pair.partition("=")
        if not equals:
            raise SettingsInvalid(f"{pair!r} is not NAME=VALUE")
        try:
            changes[name] = json.loads(value)
        except (ValueError, RecursionError):
            changes[name] = value
    return merge(Settings(), changes)


def named(name: str, loop: asyncio.AbstractEventLoop) -> Callable[[], Policy]:
    """Return what makes the policy of this name, anew for each conversation.

    Raises UnknownPolicyError.
    """
    policy = _NAMED.get(name)
    if policy is None:
        names = ", ".join(map(repr, _NAMED))
        raise UnknownPolicyError(f"{name!r} is no policy; these are: {names}")
    return (lambda: policy) if callable(policy) else of_settings(Settings(**policy), loop)


def of_settings(settings: Settings, loop: asyncio.AbstractEventLoop) -> Callable[[], Policy]:
    """Return what makes the policy of a daemon with these settings, for each conversation."""
    return lambda: InlineDaemon(settings, loop)
