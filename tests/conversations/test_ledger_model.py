"""The ledger against a model of the provider: whatever happens, what an answer was made from stays.

The model knows, for every answer, the exact view of the conversation that the provider had when it
made it. A later request that carries this answer must forward that view again, up to where the
client itself changed something: else the prompt cache is lost, and with preserved thinking the
session.
"""

from __future__ import annotations

import tempfile
from itertools import count, takewhile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.conversations.asking import begin
from tsheadroom.aperture.digests import Names, names_of
from tsheadroom.conversations.branches import Branches
from tsheadroom.conversations.forms import Edit, Form
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.conversations.prefixes import Request
from tsheadroom.conversations.recognise import Status
from tsheadroom.conversations.turn import Turn

Words = tuple[str, ...]
View = tuple[tuple[str, bytes], ...]  # each item with the name of its form, b"" for the original
MEMORY = 1 << 20
AGENTS = 3


def by_model(word: str) -> bool:
    return word.startswith("A")


def newest_answer(words: Words) -> int:
    """Where the newest answer stands; 0 for none. Answers are single items here."""
    return max((i for i, word in enumerate(words) if by_model(word)), default=0)


def as_sent(words: Words) -> View:
    return tuple((word, b"") for word in words)


def shared(a: Words, b: Words) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


class Model(RuleBasedStateMachine):
    """Several agents under one session, a provider, and the ledger between them."""

    on_disk = True

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.numbers = count()
        self.talks: list[Words] = [("u",)] * AGENTS  # they all start with the same item
        self.made_from: dict[str, View] = {}  # an answer -> what the provider had then
        self.forwarded: dict[Words, list[View]] = {}  # a request -> how it was forwarded
        self.answers: dict[Words, View] = {}  # a request -> what the daemon answered
        self.heard: set[Words] = set()  # requests whose answers were delivered
        self.rewritten = False  # in this turn, by what the operator asked for
        self.ledger = self.opened()

    def opened(self) -> Conversations:
        ledger = Conversations(
            directory=Path(self.folder.name) if self.on_disk else None, memory=MEMORY
        )
        ledger.open()
        return ledger

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    def word(self, kind: str) -> str:
        return f"{kind}{next(self.numbers)}"

    def begin(self, words: Words, *, thinks: bool) -> Turn:
        return begin(
            self.ledger,
            Request(
                scope=b"s",
                digests=Names(names_of(word.encode() for word in words)),
                by_model=bytes(by_model(word) for word in words),
                binds_after=lambda _: thinks,
            ),
        )

    def answer(
        self, words: Words, gets_form: int, *, thinks: bool, rewrite: int = 0, fate: str = ""
    ) -> tuple[Turn, View]:
        """Ask the daemon. Bit i of `gets_form`: whether the i-th new item gets a form."""
        turn = self.begin(words, thinks=thinks)
        self.rewritten = turn.status is Status.CONTINUED and 0 < rewrite < turn.shared
        if self.rewritten:
            new = Form(self.word("new").encode(), (Edit(("content",), 0, 9, b'"y"'),), (), 7)
            turn.rewrite({rewrite - 1: new}, rewrite - 1)
        decided = {
            index: Form(self.word("form").encode(), (Edit(("content",), 0, 9, b'"x"'),), (), 7)
            for bit, index in enumerate(turn.undecided)
            if gets_form >> bit & 1
        }
        if fate == "hung up early":
            turn.lost()
        if saved := turn.decide(decided):
            saved.result(10)
        if fate == "not durable":
            turn.take_back()
        forms = turn.forms
        view = tuple((w, forms[i].token if i in forms else b"") for i, w in enumerate(words))
        return turn, view

    def check(self, words: Words, view: View) -> None:
        again = self.answers.get(words)
        if again and any(token for _, token in again):
            assert view == again, "a repeated request got another answer"
        if view == again:
            return
        at = newest_answer(words)
        if self.rewritten or not at or self.ambiguous(words, at):
            return
        asked = words[:at]
        views = [self.made_from[words[at]]]
        # Sent twice, and no hook can know which of them was answered; or sent with the answer in
        # it, and then that is how the provider has it. That may have been in a request that went
        # on otherwise: the client came back from there, and the provider's cache holds the start.
        sent = [asked, *(one for one in self.forwarded if one[: at + 1] == words[: at + 1])]
        views += [view for one in sent for view in self.forwarded.get(one, [])]
        if asked in self.heard:
            views.append(self.answers[asked])
        agreed = [v[: shared(asked, tuple(w for w, _ in v))] for v in views]
        assert any(view[: len(known)] == known for known in agreed), (view, views)

    def ambiguous(self, words: Words, at: int) -> bool:
        """Whether nobody could tell an edit from a turn that went past the daemon: the answer's
        request never came by, and one of the same length did whose answer is not known."""
        return words[:at] not in self.heard and any(
            len(other) == at and other[0] == words[0] for other in self.heard
        )

    agents = st.integers(0, AGENTS - 1)

    @initialize()
    def starts(self) -> None:
        self.talks = [("u",)] * AGENTS

    @rule(
        agent=agents,
        gets_form=st.integers(0, 15),
        fate=st.sampled_from(
            ["answered"] * 6 + ["hung up", "hung up early", "missed", "not answered", "not durable"]
        ),
        more=st.integers(1, 2),
        thinks=st.booleans(),
        rewrite=st.sampled_from([0] * 6 + [1, 2, 4]),
    )
    def turn(
        self, agent: int, gets_form: int, fate: str, more: int, thinks: bool, rewrite: int
    ) -> None:
        """`rewrite`: 0, or which known item is forwarded anew from here on, counted from 1."""
        words = self.talks[agent]
        view = as_sent(words)
        if fate != "missed":
            turn, forwarded = self.answer(
                words, gets_form, thinks=thinks, rewrite=rewrite, fate=fate
            )
            self.check(words, forwarded)
            if not (self.rewritten and fate.startswith("hung up")):
                self.answers[words] = forwarded  # a new view that nobody got is none
            if fate == "hung up":
                turn.lost()
            elif fate != "hung up early":
                turn.arrived()
                self.heard.add(words)
                view = forwarded
        self.forwarded.setdefault(words, []).append(view)
        if fate != "not answered":
            made = self.word("A")
            self.made_from[made] = view
            words += (made,)
        self.talks[agent] = words + tuple(self.word("u") for _ in range(more))

    @rule(agent=agents, thinks=st.booleans())
    def repeat(self, agent: int, thinks: bool) -> None:
        """The same request once more; its answer is thrown away by the client."""
        words = self.talks[agent]
        turn, view = self.answer(words, 0, thinks=thinks)
        self.check(words, view)
        turn.arrived()
        self.heard.add(words)
        self.answers[words] = view
        self.forwarded.setdefault(words, []).append(view)

    @rule(agent=agents, other=agents, cut=st.integers(1, 12), more=st.integers(0, 2))
    def rewind(self, agent: int, other: int, cut: int, more: int) -> None:
        """Back to an earlier point of a talk, this agent's or another's, and on from there."""
        words = self.talks[other][:cut]
        while by_model(words[-1]):
            words = words[:-1]
        self.talks[agent] = words + tuple(self.word("u") for _ in range(more))

    @rule(agent=agents, at=st.integers(1, 12))
    def edit(self, agent: int, at: int) -> None:
        words = list(self.talks[agent])
        if at < len(words) and not by_model(words[at]):
            words[at] = self.word("u")
        self.talks[agent] = tuple(words)

    @precondition(lambda self: self.on_disk)
    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger = self.opened()

    @precondition(lambda self: self.on_disk)
    @rule()
    def evict(self) -> None:
        self.ledger._branches = Branches(MEMORY)


class InMemory(Model):
    """The same without a disk."""

    on_disk = False


LIMITS = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestModel = Model.TestCase
TestModel.settings = LIMITS
TestInMemory = InMemory.TestCase
TestInMemory.settings = LIMITS
