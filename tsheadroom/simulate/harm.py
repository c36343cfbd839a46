"""Whether what is forwarded makes an agent's edits harder: where their old texts stand then.

The more tokens lie between an edit and the words that it copies, the easier a model gets them
wrong. That cannot be measured without a model, but it can be counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tsheadroom.simulate.edits import FileEdit, Place, Reader

FAR = 8_000
"""Tokens that a text may stand further back as forwarded than it did, before it counts as far."""

STOOD, BEHIND, SPLIT = "stood", "behind", "split"


@dataclass(frozen=True, slots=True)
class Located:
    """An edit whose old text stands in the conversation as the client sent it."""

    turn: int
    edit: FileEdit
    raw: Place


@dataclass(frozen=True, slots=True)
class Traced:
    """The same edit in the conversation as a policy forwarded it.

    `forwarded` is None if its old text stands nowhere in one piece. `before` and `after` are the
    text that held it, as the client sent it and as it went out.
    """

    located: Located
    forwarded: Place | None
    before: str
    after: str

    @property
    def kind(self) -> str:
        """STOOD: where the client had it. BEHIND: only earlier, as a pointer's target. SPLIT."""
        if self.forwarded is None:
            return SPLIT
        raw = self.located.raw
        stood = (self.forwarded.item, self.forwarded.text) == (raw.item, raw.text)
        return STOOD if stood else BEHIND

    @property
    def extra(self) -> int:
        """How many tokens further back it stands than as the client sent it."""
        return self.forwarded.distance - self.located.raw.distance if self.forwarded else 0

    @property
    def far(self) -> bool:
        """True if it stands so much further back that a model may miss it."""
        return self.kind == BEHIND and self.extra > FAR


def located(
    reader: Reader, turn: int, answer: Sequence[bytes], raw: Sequence[bytes]
) -> list[Located]:
    """The edits of one answer that can be located in its request as the client sent it."""
    found = []
    for index, item in enumerate(answer, len(raw)):
        for edit in reader.edits(item, index):
            place = reader.latest(edit.old, raw)
            if place is not None:
                found.append(Located(turn, edit, place))
    return found


def trace(
    reader: Reader, edits: Sequence[Located], raw: Sequence[bytes], forwarded: Sequence[bytes]
) -> list[Traced]:
    """Find the same edits in their request as it was forwarded."""
    return [
        Traced(
            one,
            reader.latest(one.edit.old, forwarded),
            reader.text_at(raw[one.raw.item], one.raw.text),
            reader.text_at(forwarded[one.raw.item], one.raw.text),
        )
        for one in edits
        if one.raw.item < len(forwarded)
    ]
