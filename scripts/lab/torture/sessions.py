"""Honest callers: each plays one conversation after another, and checks what comes of it."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from scripts.lab.torture import wire
from scripts.lab.torture.checking import Break, Checker, Excuse, Finding, Provider
from scripts.lab.torture.conversations import SHAPES, Conversation, Request, recorded
from scripts.lab.torture.tally import Tally
from scripts.lab.torture.wire import Connect, Line
from tests.tailnet.private import ProxyRefused

LOGINS = 5
_REPEATED = 0.05  # the share of requests that are sent a second time
_HUNG_UP = 0.5  # and of those that a caller gives up, while callers do so
_PAUSE = 0.05  # seconds
_ANSWER = 3_000  # bytes; a caller that hangs up in an answer does so within the first ones


@dataclass(slots=True)
class Situation:
    """What the faults of the moment allow. Faults set it, sessions read it."""

    down: bool = False  # the daemon is not running
    starved: bool = False  # it cannot take connections
    kills: int = 0  # how often it was killed or ended so far
    losses: int = 0  # how often it has lost what it knew
    unwritable: bool = False  # it may not be able to write to the disk
    unreadable: bool = False  # it may find no time to read what is on disk
    hang_ups: bool = False  # callers do not wait for their answers
    relayed: bool = False  # a caller's end is not heard at once, since another program is between
    last: str = "no fault"  # the fault that there is, or was last


class Session:
    """One caller at a time: a conversation, the connection, and what its provider has seen."""

    def __init__(
        self,
        connect: Connect,
        conversations: Iterator[Conversation],
        tally: Tally,
        checker: Checker,
        situation: Situation,
        random: Random,
    ) -> None:
        self._line = Line(connect)
        self._conversations = conversations
        self._tally = tally
        self._checker = checker
        self._situation = situation
        self._random = random
        self._connected = situation.kills  # when the connection was opened
        self._begin()

    def _begin(self) -> None:
        self._conversation = next(self._conversations)
        self._provider = Provider(self._checker, self._conversation.mark)
        self._turn = 0
        self._losses = self._situation.losses
        self._kills = self._situation.kills  # when the daemon has last answered
        self._unwritten = False  # its last answer may be in its memory alone

    def turn(self) -> None:
        """Send the next request, as the agent would, and check the answer."""
        if self._turn == len(self._conversation):
            self.end()
            self._begin()
        request = self._conversation.request(self._turn)
        killed = self._unwritten and self._situation.kills > self._kills
        if killed or self._situation.losses > self._losses:
            self._losses = self._situation.losses
            self._provider.forget()
        if self._situation.hang_ups and self._random.random() < _HUNG_UP:
            self._give_up(request)
        elif self._ask(request) and self._random.random() < _REPEATED:
            self._ask(request, again=True)
        self._turn += 1

    def end(self) -> None:
        """Count what the conversation has come to."""
        self._tally.ended(self._provider)
        self._line.close()

    def _ask(self, request: Request, *, again: bool = False) -> bool:
        """Send a request and check its answer. False if there was none.

        If it is sent again and there is no answer this time, the provider has it in both ways.
        """
        kills = self._situation.kills
        if not self._line.is_open:
            self._connected = kills
        unreadable, unwritable = self._situation.unreadable, self._situation.unwritable
        raw = wire.request(request.call, headers={"Accept-Encoding": "gzip"})
        try:
            reply = self._line.exchange(raw)
        except OSError as error:
            self._tally.sent()
            # Over a tailnet nobody tells a caller that the one whom it was connected to is gone.
            cut = self._situation.kills > self._connected
            self._unanswered(request, error, excused=cut)
            if not again:
                self._missed(request, error)
            return False
        self._tally.sent(reply.seconds)
        if reply.status != 200:
            self._note([Finding(Break.STATUS, str(reply.status))], request, reply.body)
            self._provider.missed(request, Excuse.NOT_TAKEN)
            return False
        # After a restart a conversation is on disk alone until it is first asked for again.
        cold = self._kills != kills and (unreadable or self._situation.unreadable)
        self._kills = kills
        self._unwritten = unwritable or self._situation.unwritable
        findings = self._provider.answered(request, reply.body, unreadable=cold)
        self._note(findings, request, reply.body)
        return True

    def _unanswered(self, request: Request, error: OSError, *, excused: bool) -> None:
        situation = self._situation
        if not (excused or situation.down or situation.starved):
            self._note([Finding(Break.NO_ANSWER, repr(error))], request, b"")

    def _missed(self, request: Request, error: OSError) -> None:
        time.sleep(_PAUSE)  # the model's answer takes longer than a refused connection
        if isinstance(error, ConnectionRefusedError | ProxyRefused):
            self._provider.missed(request, Excuse.DOWN)
        else:  # what was decided when it was killed is on disk, and counts as taken
            self._provider.unsure(request, Excuse.DOWN)

    def _give_up(self, request: Request) -> None:
        """Hang up somewhere in the request or in its answer."""
        raw = wire.request(request.call, headers={"Connection": "close"})
        self._line.close()
        self._tally.sent()
        whole = self._random.random() < 0.5
        after = self._random.randrange(_ANSWER) if whole else 0
        end = len(raw) if whole else self._random.randrange(1, len(raw) + 1)
        reset = self._random.random() < 0.25
        with contextlib.suppress(OSError):
            self._line.hang_up(raw[:end], after=after, reset=reset)
        if after or (end == len(raw) and (reset or self._situation.relayed)):
            self._provider.unsure(request, Excuse.NOT_TAKEN)
        else:
            self._provider.missed(request, Excuse.NOT_TAKEN)

    def _note(self, findings: list[Finding], request: Request, answer: bytes) -> None:
        conversation = self._conversation
        shape, number = conversation.shape.name, conversation.number
        where = f"conversation {number} ({shape}), turn {self._turn}"
        step = f"{where}, {self._situation.last}"
        self._tally.found(findings, step, request.call, answer)


@dataclass(slots=True)
class Crew:
    """Many sessions at once, each in a thread of its own.

    `before` is called before each turn, with its number; False ends the session.
    """

    connect: Connect
    traces: Sequence[Path]
    seed: int
    sessions: int = 16
    checker: Checker = field(default_factory=Checker)
    situation: Situation = field(default_factory=Situation)
    tally: Tally = field(default_factory=Tally)
    before: Callable[[], bool] = lambda: True
    failed: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        """Play until `before` says no. Raises what a session has raised."""
        threads = [
            threading.Thread(target=self._play, args=(number,), daemon=True)
            for number in range(self.sessions)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failed:
            raise self.failed[0]

    def _play(self, number: int) -> None:
        try:
            session = Session(
                self.connect,
                self._conversations(number),
                self.tally,
                self.checker,
                self.situation,
                Random(f"{self.seed} {number}"),
            )
            while not self.failed and self.before():
                session.turn()
            session.end()
        except BaseException as error:
            self.failed.append(error)

    def _conversations(self, session: int) -> Iterator[Conversation]:
        """One after the other, each a number, a shape and a recording of its own."""
        for lap in itertools.count():
            number = session + lap * self.sessions
            yield Conversation(
                recorded(self.traces[(session + lap) % len(self.traces)]),
                SHAPES[number % len(SHAPES)],
                (self.seed << 20) + number,
                f"user{session % LOGINS}@example.com",
            )
