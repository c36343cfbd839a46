"""The law of forms against a model of the provider, from a client's bytes to the bytes that go out.

`tests/conversations/test_ledger_model.py` has the same model for the ledger alone. Here all else
takes part: the names of items under breakpoints that move and signatures that are replaced, forms
that are spliced by offsets, real folds, what the provider may delete, compactions, token counts,
and post-response events that come to the hook's own path.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from collections.abc import Coroutine, Iterable, Iterator
from itertools import count, takewhile
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import pytest

from tests.turns import talks
from tests.turns.inprocess import InProcess
from tests.turns.talks import Talk
from tsheadroom.aperture import outline
from tsheadroom.aperture.call import HookCall
from tsheadroom.aperture.names import Digests
from tsheadroom.conversations.branches import Branches
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.settings import Settings
from tsheadroom.telemetry.events import Event
from tsheadroom.turns.turns import Turns

T = TypeVar("T")
Cached = tuple[str, ...]  # the items of a request as a prompt cache sees them
View = tuple[Cached, Cached]  # as the client sent it, and as the provider got it

MEMORY = 1 << 20
AGENTS = 2
MANAGED: list[dict[str, Any]] = [
    *[{}] * 6,
    {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
    {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
    {"context_management": [{"type": "compaction", "compact_threshold": 1000}]},
]


def shared(a: Cached, b: Cached) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


class Model:
    """Several agents of one user, Aperture, a provider, and the daemon between them."""

    def __init__(
        self, child: InProcess, shape: str, *, thinks: bool, spaces: bool, old: bool
    ) -> None:
        """With `old`, the sessions begin under version 0.1, whose breakpoints may not move."""
        self.child, self.shape, self.thinks, self.spaces = child, shape, thinks, spaces
        self.old = self.began_old = old
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.numbers = count(1)
        self.ids = count()
        self.signature = "s"
        self.talks: list[Talk] = [("U0",)] * AGENTS
        self.made_from: dict[str, View] = {}  # an answer -> what the provider had then
        self.asked: dict[str, Talk] = {}  # an answer -> its request
        self.forwarded: dict[Talk, list[View]] = {}  # a request -> how it was forwarded
        self.heard: set[Talk] = set()  # requests whose answers were delivered
        self.latest: tuple[bytes, bytes] | None = None  # a call, and the same as it was forwarded
        self.recognised = 0  # calls that began with the bytes of an earlier one
        self.opened()

    def opened(self) -> None:
        self.ledger = Conversations(directory=Path(self.folder.name), memory=MEMORY)
        self.ledger.open()
        self.turns = Turns(self.ledger, self.child, deadline=60.0)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def close(self) -> None:
        self.ledger.close()
        self.runner.close()
        self.folder.cleanup()

    def word(self, kind: str) -> str:
        return f"{kind}{next(self.numbers)}"

    async def ask(
        self, raw: bytes, *, taken: bool = True, hang_up_after: int | None = None
    ) -> dict[str, Any]:
        self.recognised += self.turns.outlines.find(raw) is not None
        with self.turns.open(raw, Settings()) as turn:
            if hang_up_after is not None:
                answer = asyncio.ensure_future(turn.answer())
                for _ in range(hang_up_after):
                    await asyncio.sleep(0)
                answer.cancel()
                await asyncio.wait([answer])
                got = b'{"action": "allow"}'
            else:
                got = await turn.answer()
                if taken:
                    turn.arrived()
        await self.turns.close()
        self.is_event = turn.is_event
        assert not turn.figures().events[Event.FORMS_NOT_SPLICED]
        found: dict[str, Any] = json.loads(got)
        return found

    def encoded(self, sent: dict[str, Any]) -> bytes:
        """The JSON of a call, as this client spells it."""
        return json.dumps(sent, separators=None if self.spaces else (",", ":")).encode()

    def call(self, talk: Talk, seed: int, more: dict[str, Any], path: str) -> dict[str, Any]:
        one = random.Random(seed)

        def look(word: str) -> random.Random:
            return random.Random(word) if self.began_old else one

        items = talks.spelled(self.shape, talk, look, self.signature, self.thinks)
        return {
            "metadata": {
                "model": talks.MODELS[self.shape],
                "provider": "corp",
                "login_name": "a@b",
                "request_id": f"r{next(self.ids)}",
                "url": path,
            },
            "request_body": {"system": talks.SYSTEM[self.shape], self.key: items, **more},
        }

    @property
    def key(self) -> str:
        return talks.KEYS.get(self.shape, "messages")

    def view_of(self, sent: dict[str, Any], answer: dict[str, Any]) -> View:
        """What the client sent, and what goes out; nothing but texts may be different."""
        body = sent["request_body"]
        got = answer.get("request_body", body)
        assert list(got) == list(body)
        assert {k: v for k, v in got.items() if k != self.key} == {
            k: v for k, v in body.items() if k != self.key
        }
        assert len(got[self.key]) == len(body[self.key])
        before, after = json.dumps(body[self.key]), json.dumps(got[self.key])
        for mark in ("cachePoint", "cache_control", "prompt_cache_breakpoint", "ignature"):
            assert before.count(mark) == after.count(mark)
        return talks.as_cached(body[self.key]), talks.as_cached(got[self.key])

    def check(self, talk: Talk, view: View) -> None:
        """Up to where the client itself changed something, nothing that the provider has may."""
        at = max((i for i, word in enumerate(talk) if talks.by_model(word)), default=0)
        while at and talks.by_model(talk[at - 1]):
            at -= 1
        if not at or self.ambiguous(talk[at]):
            return
        views = [self.made_from[talk[at]]]
        # Sent twice, and no hook can know which of them was answered; or sent with the answer in
        # it, and then that is how the provider has it. That may have been in a request that went
        # on otherwise: the client came back from there, and the provider's cache holds the start.
        sent = {self.asked[talk[at]], talk[:at]}
        sent.update(one for one in self.forwarded if one[: at + 1] == talk[: at + 1])
        views += [view for one in sent for view in self.forwarded.get(one, [])]
        agreed = [got[: shared(sent, view[0])] for sent, got in views]
        assert any(view[1][: len(known)] == known for known in agreed), (view, views)

    def ambiguous(self, answer: str) -> bool:
        """Whether nobody could tell a client's edit from a turn that went past the daemon.

        The answer's request never came by, and one of the same length did.
        """
        asked = self.asked[answer]
        return asked not in self.heard and self.length(asked) in map(self.length, self.heard)

    def length(self, talk: Talk) -> int:
        """How many items a talk has: in OpenAI Responses the reasoning is an item of its own."""
        return len(talk) + (self.shape == "responses") * sum(word[0] == "A" for word in talk)

    def turn(
        self, agent: int, seed: int, fate: str, more: str, managed: dict[str, Any], early: int
    ) -> None:
        """A request, its answer, and the output of the call that is in it."""
        talk = self.talks[agent]
        sent = self.call(talk, seed, managed, talks.PATHS[self.shape])
        raw = self.encoded(sent)
        view = self.view_of(sent, {})
        forwarded = sent
        if fate in ("hung up early", "retried"):
            self.run(self.ask(raw, hang_up_after=early))
        if (
            fate == "retried"
        ):  # by the gateway, under the same id: not as good, but no contradiction
            answer = self.run(self.ask(raw))
            view = self.view_of(sent, answer)
            if not self.is_event:
                self.check(talk, view)
        elif fate not in ("missed", "hung up early"):
            answer = self.run(self.ask(raw, taken=fate != "hung up"))
            got = self.view_of(sent, answer)
            self.check(talk, got)
            if fate != "hung up":
                self.heard.add(talk)
                view = got
                forwarded = {
                    **sent,
                    "request_body": answer.get("request_body", sent["request_body"]),
                }
        self.latest = None if fate == "missed" else (raw, self.encoded(forwarded))
        self.forwarded.setdefault(talk, []).append(view)
        if fate != "not answered":
            made = self.word("C" if more == "C" else "A")
            self.made_from[made], self.asked[made] = view, talk
            talk += (made, self.word("U") if more == "C" else f"O{made[1:]}")
        self.talks[agent] = talk + ((self.word("U"),) if more == "U" else ())

    def at_once(self, seed: int) -> None:
        """Requests of all agents at the same time; their answers are thrown away."""
        path = talks.PATHS[self.shape]
        sent = [self.call(talk, seed + n, {}, path) for n, talk in enumerate(self.talks)]

        async def ask() -> list[dict[str, Any]]:
            return await asyncio.gather(*(self.ask(self.encoded(one)) for one in sent))

        answers = self.run(ask())
        for agent in sorted(range(AGENTS), key=lambda agent: len(self.talks[agent])):
            talk, view = self.talks[agent], self.view_of(sent[agent], answers[agent])
            self.check(talk, view)
            self.heard.add(talk)
            self.forwarded.setdefault(talk, []).append(view)

    def repeat(self, agent: int, seed: int) -> None:
        """The same request once more, with breakpoints elsewhere; its answer is thrown away."""
        talk = self.talks[agent]
        sent = self.call(talk, seed, {}, talks.PATHS[self.shape])
        view = self.view_of(sent, self.run(self.ask(self.encoded(sent))))
        self.check(talk, view)
        self.heard.add(talk)
        self.forwarded.setdefault(talk, []).append(view)

    def counts_tokens(self, agent: int, seed: int) -> None:
        talk = self.talks[agent]
        sent = self.call(talk, seed, {}, talks.COUNTING[self.shape])
        view = self.view_of(sent, self.run(self.ask(self.encoded(sent))))
        self.check(talk, view)

    def event(self, as_forwarded: bool) -> None:
        """An event without a price about the newest call, its body as it came or as it left."""
        if self.latest is None:
            return
        self.run(self.ask(self.latest[as_forwarded]))

    def rewind(self, agent: int, other: int, cut: int, more: int) -> None:
        """Back to an earlier point of a talk, this agent's or another's, and on from there."""
        talk = self.talks[other][:cut]
        while talks.by_model(talk[-1]):
            talk = talk[:-1]
        self.talks[agent] = talk + tuple(self.word("U") for _ in range(more))

    def edit(self, agent: int, at: int) -> None:
        """The client masks an output, or writes a text anew."""
        talk = list(self.talks[agent])
        if at < len(talk) and not talks.by_model(talk[at]):
            talk[at] = self.word("U")
        self.talks[agent] = tuple(talk)

    def signs_anew(self) -> None:
        """A session that is taken up again: its client has replaced what binds nothing."""
        if self.shape in ("responses", "gemini") and not self.began_old:
            self.signature = self.word("s")

    def upgrade(self) -> None:
        self.restart()
        self.old = False

    def restart(self) -> None:
        self.ledger.close()
        self.opened()
        self.latest = None  # nothing tells an event from a call after that

    def evict(self) -> None:
        self.ledger._branches = Branches(MEMORY)


FATES = ["answered"] * 12 + ["hung up", "hung up early", "missed", "not answered", "retried"]
Step = tuple[str, dict[str, Any]]


def steps(seed: int, length: int) -> Iterator[Step]:
    """What happens, and how."""
    draw = random.Random(seed)
    kinds = ["turn"] * 20 + ["repeat", "counts_tokens", "event", "event", "rewind", *["edit"] * 6]
    kinds += ["signs_anew", "restart", "evict", "upgrade", "at_once"]
    managed = draw.choice(MANAGED)
    for _ in range(length):
        if draw.random() < 0.1:
            managed = draw.choice(MANAGED)
        kind, agent = draw.choice(kinds), {"agent": draw.randrange(AGENTS)}
        look = {**agent, "seed": draw.randrange(1 << 16)}
        how: dict[str, Any] = {
            "turn": {
                **look,
                "fate": draw.choice(FATES),
                "more": draw.choice(["", "", "", "", "U", "C" if draw.random() < 0.2 else ""]),
                "managed": managed,
                "early": draw.randrange(1, 7),
            },
            "repeat": look,
            "counts_tokens": look,
            "at_once": {"seed": look["seed"]},
            "event": {"as_forwarded": draw.random() < 0.5},
            "rewind": {
                **agent,
                "other": draw.randrange(AGENTS),
                "cut": draw.randrange(1, 24),
                "more": draw.randrange(3),
            },
            "edit": {**agent, "at": draw.randrange(1, 24)},
        }
        yield kind, how.get(kind, {})


def play(child: InProcess, seed: int, todo: Iterable[Step]) -> Model:
    shape = talks.SHAPES[seed % len(talks.SHAPES)]
    draw = random.Random(seed)
    thinks, spaces, old = (draw.random() < share for share in (0.5, 0.5, 0.3))
    model = Model(child, shape, thinks=thinks, spaces=spaces, old=old)
    named = Digests.of

    def of(call: HookCall, *, as_of_0_1: bool = False) -> Digests:
        return named(call, as_of_0_1=as_of_0_1 or model.old)

    try:
        # These talks are so short that their bytes would not be worth recognising.
        with mock.patch.object(Digests, "of", of), mock.patch.object(outline, "LEAST_BYTES", 64):
            for kind, how in todo:
                getattr(model, kind)(**how)
    finally:
        model.close()
    return model


@pytest.fixture(scope="module")
def child() -> InProcess:
    return InProcess()


@pytest.mark.parametrize("seed", range(60))
def test_what_an_answer_was_made_from_stays(child: InProcess, seed: int) -> None:
    play(child, seed, steps(seed, 40))


def test_many_of_these_calls_are_recognised_by_their_bytes(child: InProcess) -> None:
    for seed in range(len(talks.SHAPES)):
        played = [play(child, at, steps(at, 40)) for at in range(seed, 20, len(talks.SHAPES))]
        assert sum(model.recognised for model in played) > 20, talks.SHAPES[seed]


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(241, id="a gap whose last item is edited"),
        pytest.param(440, id="an edit of what followed a gap and an edit"),
        pytest.param(549, id="back into the first request on disk of an edited line"),
        pytest.param(849, id="two branches that could explain an answer"),
        pytest.param(1063, id="edited without forms, and then a restart"),
        pytest.param(1628, id="an edit behind a compaction"),
        pytest.param(2496, id="an early item of the first request on disk edited, after eviction"),
        pytest.param(2690, id="a hidden branch"),
        pytest.param(2717, id="begun in the middle without forms, and then eviction"),
        pytest.param(2773, id="an early item edited twice, with eviction between"),
        pytest.param(3164, id="back into a gap"),
        pytest.param(4572, id="a request that a branch goes on from without its answer"),
        pytest.param(5110, id="an edited item that was sent before"),
        pytest.param(5567, id="an edited request whose repetition was lost"),
        pytest.param(6172, id="two answers to the last request of a branch"),
    ],
)
def test_found_before(child: InProcess, seed: int) -> None:
    play(child, seed, steps(seed, 40))
