"""One request on its way: what is decided for it, and whether its answer arrived.

    BEGUN -> DECIDED -> ARRIVED or LOST

A turn counts as lost until `arrived` is called. If it is lost, Aperture forwarded the originals,
and the model's next answer is made from these. An exception, a hang-up or a defect of ours may end
a turn at any point, before or after the disk is done; it is lost then.
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
    """How far a turn has come."""

    BEGUN = "begun"
    DECIDED = "decided"
    ARRIVED = "arrived"
    LOST = "lost"


class Keeper(Protocol):
    """The part of the ledger that keeps what a turn decides. Implemented by `Conversations`."""

    def keep(self, turn: Turn, decided: Mapping[int, Form]) -> Future[None] | None:
        """Keep it in memory and on disk. Returns a future if it is written to disk."""

    def keep_without(self, turn: Turn) -> None:
        """Withdraw a kept turn's record, or write it again: its decision was taken back."""

    def keep_end(
        self, turn: Turn, branch: Branch, *, arrived: bool, withdrawn: bool = False
    ) -> None:
        """Note in memory and on disk how a kept turn's answer ended.

        With `withdrawn`, it was noted before that it arrived, and that was wrong.
        """


class Turn:
    """One request. Only the turn itself says how its answer ended.

    `forms` are those in force: what the provider gets instead of the client's own texts.
    `undecided` are the items that may get a form now. Both are by the item's index.
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
        """`held_by` is the branch that a worker may hold; None for a new conversation.

        `idle_s` are seconds since the conversation was last forwarded; None if that is not known.
        """
        self.request = request.alone()  # a turn may outlive its call
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
        self.name = line.name  # workers know the conversation by this name
        self.held = line.held  # how many items a worker holds
        self.held_prefix = line.held_prefix  # and their chain, as that worker names it
        self.origin: Branch | None = None  # the branch whose forms a rewrite replaced
        self.beside = found.beside  # the branch that a gap starts beside
        self.kept_in: Branch | None = None
        self.changes = 0  # the branch's count of changes, when this turn was kept in it
        self.saving: Future[None] | None = None  # its record on its way to the disk
        self.delivery = Delivery()
        self._keeper = keeper
        self._known_forms = found.forms

    @property
    def prefix(self) -> bytes:
        """The name of the whole request."""
        return self.prefixes.whole

    @property
    def state(self) -> State:
        """How far it has come."""
        if self.delivery.arrived is not None:
            return State.ARRIVED if self.delivery.arrived else State.LOST
        return State.DECIDED if self.kept_in else State.BEGUN

    def give_up_forms(self) -> None:
        """Go on with the originals, on a new branch."""
        self.forms, self.branch, self.shared = {}, None, 0

    def rewrite(self, forms: Mapping[int, Form], first: int) -> None:
        """Forward known items in these new forms from now on; `first` is the first one changed.

        The turn starts a new branch. Answers to come are made from the new forms. The earlier ones
        were made from the old forms, and the client may go back to them.
        """
        self.forms.update(forms)
        self.intact = first
        self.origin, self.branch, self.shared = self.branch, None, 0
        self.name, self.held, self.held_prefix = Branch().name, 0, b""
        self.must_store = True

    def decide(self, forms: Mapping[int, Form]) -> Future[None] | None:
        """Decide the forms of the undecided items. Those without a form are left alone for good.

        Returns a future if the decision is written to disk. It is durable when the future is done.
        """
        self.forms.update(forms)
        return self._keeper.keep(self, forms)

    def take_back(self) -> None:
        """Take the decision back, because it was not stored in time. New items are left alone.

        If another request was forwarded with these forms meanwhile, they stay.
        """
        branch = self.kept_in
        if branch is None or branch.changes != self.changes:
            return
        if self.forms != self._known_forms:
            self.forms = dict(self._known_forms)
            branch.set_forms(self.forms)
            branch.held, branch.held_prefix = 0, b""
        self._keeper.keep_without(self)

    def fall_back(self) -> None:
        """Forward the known forms only, because a decision could not even be kept in memory."""
        self.forms = dict(self._known_forms)

    def arrived(self) -> None:
        """Note that the caller took the whole answer."""
        self._end(arrived=True)

    def lost(self) -> None:
        """Note that the caller did not get the whole answer, so Aperture forwarded the originals.

        This may be called before the turn is decided, or after.
        """
        self._end(arrived=False)

    def not_taken(self) -> None:
        """Note that an answer which seemed to arrive was not read to its end.

        If a request went on from it meanwhile, it was.
        """
        branch = self.kept_in
        if self.delivery.arrived and branch is not None and branch.changes == self.changes:
            self._end(arrived=False, withdrawn=True)

    def _end(self, *, arrived: bool, withdrawn: bool = False) -> None:
        self.delivery.arrived = arrived
        if self.kept_in is not None:
            self._keeper.keep_end(self, self.kept_in, arrived=arrived, withdrawn=withdrawn)
