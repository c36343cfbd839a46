"""One request on its way: what is decided for it, and whether its answer arrived.

    BEGUN -> DECIDED -> ARRIVED or LOST

A turn counts as lost until `arrived` is said: Aperture then forwarded the originals, and the
model's next answer is made from these. So an exception, a hang-up or a defect of ours can end a
turn anywhere, before or after the disk is done, and the conversation goes on rightly.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from enum import Enum
from typing import Protocol

from tsheadroom.conversations.branches import Branch, Delivery
from tsheadroom.conversations.forms import Form
from tsheadroom.conversations.prefixes import Prefixes, Request
from tsheadroom.conversations.recognise import Recognised, Status


class State(Enum):
    """Where a turn is on its way."""

    BEGUN = "begun"
    DECIDED = "decided"
    ARRIVED = "arrived"
    LOST = "lost"


class Keeper(Protocol):
    """The part of the ledger that keeps what a turn decides. Implemented by `Conversations`."""

    def keep(self, turn: Turn, decided: Mapping[int, Form]) -> Future[None] | None:
        """Keep it in memory and on disk; a future of the writing, None where none is needed."""

    def keep_without(self, turn: Turn) -> None:
        """Write a kept turn anew after its decision was taken back."""

    def keep_end(self, turn: Turn, branch: Branch, *, arrived: bool) -> None:
        """Keep on disk, and in memory, how a kept turn's answer ended."""


class Turn:
    """One request; the only owner of its end.

    `forms` are those in force: what the provider gets instead of the client's own texts.
    `undecided` are the items that may get a form now. Both by the item's index.
    """

    def __init__(
        self,
        keeper: Keeper,
        request: Request,
        prefixes: Prefixes,
        found: Recognised,
        held_by: Branch | None,
        idle_s: float | None,
    ) -> None:
        """`held_by` is the branch whose end a worker may hold; None for a new conversation.

        `idle_s` are seconds since the conversation was last forwarded; None: not known.
        """
        self.request = request
        self.prefixes = prefixes
        self.status: Status = found.status
        self.branch = found.branch
        self.shared = found.shared
        self.forms = dict(found.forms)
        self.undecided = list(found.undecided)
        self.intact = found.intact
        self.must_store = found.must_store
        self.idle_s = idle_s
        line = held_by or Branch()
        self.name = line.name  # of the conversation, at the workers
        self.held = line.held  # items that a worker holds, under the name `held_prefix`
        self.held_prefix = line.held_prefix
        self.origin: Branch | None = None  # whose view was left for a new one
        self.kept_in: Branch | None = None
        self.changes = 0  # of the branch, when this turn was kept in it
        self.delivery = Delivery()
        self._keeper = keeper
        self._known_forms = dict(found.forms)

    @property
    def prefix(self) -> bytes:
        """The name of the whole request."""
        return self.prefixes.whole

    @property
    def state(self) -> State:
        """Where it is on its way."""
        if self.delivery.arrived is not None:
            return State.ARRIVED if self.delivery.arrived else State.LOST
        return State.DECIDED if self.kept_in else State.BEGUN

    def give_up_forms(self) -> None:
        """Go on with the originals, on a branch of their own."""
        self.forms, self.branch, self.shared = {}, None, 0

    def rewrite(self, forms: Mapping[int, Form], first: int) -> None:
        """Forward known items in these new forms from now on; `first` is the first one changed.

        It is a view of its own, with all that it shares: answers to come are made from it, while
        the earlier ones, should the client go back to them, were made from the old one.
        """
        self.forms.update(forms)
        self.intact = first
        self.origin, self.branch, self.shared = self.branch, None, 0
        self.name, self.held, self.held_prefix = Branch().name, 0, b""
        self.must_store = True

    def decide(self, forms: Mapping[int, Form]) -> Future[None] | None:
        """Decide the forms of the undecided items; those without one are left alone for good.

        A future where the decision goes to disk: it is durable when the future is done.
        """
        self.forms.update(forms)
        return self._keeper.keep(self, forms)

    def take_back(self) -> None:
        """The decision could not be stored in time, so it is not made: new items are left alone.

        If another request was forwarded with these forms meanwhile, they stand.
        """
        branch = self.kept_in
        if branch is None or self.forms == self._known_forms or branch.changes != self.changes:
            return
        self.forms = dict(self._known_forms)
        branch.set_forms(self.forms)
        branch.held, branch.held_prefix = 0, b""
        self._keeper.keep_without(self)

    def arrived(self) -> None:
        """The whole answer was handed to the caller."""
        self._end(arrived=True)

    def lost(self) -> None:
        """The caller did not get the whole answer, so Aperture forwarded the originals.

        May be said before the turn is decided: the order of the two does not matter.
        """
        self._end(arrived=False)

    def _end(self, *, arrived: bool) -> None:
        self.delivery.arrived = arrived
        if self.kept_in is not None:
            self._keeper.keep_end(self, self.kept_in, arrived=arrived)
