"""Builds the question to a worker about a turn, and checks the forms that it proposes."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from tsheadroom.child import protocol
from tsheadroom.conversations import forms
from tsheadroom.conversations.forms import Form, ProposedEdit, Refused, Target
from tsheadroom.conversations.turn import Turn
from tsheadroom.providers.shapes import Slot
from tsheadroom.texts import pointers, wrappers
from tsheadroom.turns.items import Items
from tsheadroom.workers import messages

log = logging.getLogger(__name__)

# Characters. A pointer is hardly shorter than a text below this.
MIN_TEXT = 100
# Bytes of undecided items in one call to a worker: a quarter of a second of Headroom's work.
BATCH_BYTES = 256 << 10


class Question:
    """What one turn asks of workers, call by call, and the checks of their answers."""

    def __init__(self, items: Items, turn: Turn, config: Mapping[str, Any]) -> None:
        """`config` has the settings that tell workers what to do with the items."""
        self._items = items
        self._turn = turn
        self._config = config
        self._end = len(items.call.items)
        self._undecided = frozenset(turn.undecided)
        self.first = turn.undecided[0] if turn.undecided else self._end  # the first not yet asked
        # Of the last call: its first item, the end of its items, and the chain before the first.
        self._sent: tuple[int, int, bytes] = (0, 0, b"")
        self.candidates = [index for index in turn.undecided if self._may_be_shortened(index)]
        self.taken: dict[int, Form] = {}
        self.refused = 0

    def stops(self) -> list[int]:
        """Where to cut the undecided items into calls of about BATCH_BYTES each.

        Most turns are one call. A conversation that comes all at once takes several calls, so that
        the deadline loses only the last of them.
        """
        stops: list[int] = []
        size = 0
        for index in self._turn.undecided:
            start, end = self._items.call.items[index]
            size += end - start
            if size > BATCH_BYTES:
                stops.append(index + 1)
                size = 0
        return stops if stops and stops[-1] == self._end else [*stops, self._end]

    def delta(self, stop: int) -> bytes | None:
        """Encode the items up to `stop` that the worker does not hold; None if it holds none."""
        turn = self._turn
        if not 0 < turn.held <= self.first:
            return None
        self._sent = (turn.held, stop, turn.held_prefix)
        return self._payload(turn.held, stop, turn.held_prefix, frozen=0)

    def whole(self, stop: int) -> bytes:
        """Encode all items up to `stop`: first what was forwarded, then the undecided ones."""
        frozen = self.first
        prefix = secrets.token_bytes(protocol.CHAIN_BYTES) if frozen else protocol.EMPTY_CHAIN
        self._sent = (frozen, stop, prefix)
        return self._payload(0, stop, prefix, frozen)

    def leave_alone(self, index: int) -> None:
        """Ask no worker about this item: it goes out as the client sent it."""
        self._undecided -= {index}
        self.candidates = [candidate for candidate in self.candidates if candidate != index]

    def new_bytes(self, stop: int) -> int:
        """How many bytes the items up to `stop` have that are asked about in the next call."""
        items = self._items.call.items
        return items[stop - 1][1] - items[self.first][0] if self.first < stop else 0

    def context_bytes(self) -> int:
        """How many bytes another worker would have to be sent before it could take this turn."""
        call = self._items.call
        start, end = call.conversation
        return (call.items[self.first][0] if self.first < len(call.items) else end) - start

    def accept(self, reply: messages.Reply) -> None:
        """Put the proposed forms that may be forwarded into `taken`.

        If all are taken, the turn's `held` and `held_prefix` name what the worker now holds. If one
        is refused, the worker holds something else, and the next call sends all of it again.
        """
        refused = self.refused
        for proposed in reply.forms:
            try:
                self.taken[proposed.item] = self._form(proposed)
            except Refused as why:
                self.refused += 1
                log.warning("form refused item=%d reason=%s", proposed.item, why)
        start, stop, prefix = self._sent
        self.first = next((i for i in self._turn.undecided if i >= stop), self._end)
        if self.refused > refused:
            self._turn.held, self._turn.held_prefix = 0, b""
            return
        for index in range(start, stop):
            token = forms.token_of(self.taken.get(index))
            prefix = protocol.chain(prefix, self._items.names[index].hex(), token)
        self._turn.held, self._turn.held_prefix = stop, prefix

    def _form(self, proposed: messages.FormMessage) -> Form:
        index = proposed.item
        if index not in self._undecided:
            raise Refused("the item is decided already")
        edits, originals = [], []
        for edit in proposed.edits:
            original = self._items.text_at(index, edit.slot)
            if original is None:
                raise Refused(f"there is no text at its slot, {len(edit.slot)} steps deep")
            originals.append(original)
        texts = {tuple(edit.slot): edit.text for edit in proposed.edits}
        for edit, original in zip(proposed.edits, originals, strict=True):
            self._check_pointers(edit, original, index, texts)
            targets = tuple(p.item for p in edit.pointers if p.item != index)
            edits.append(ProposedEdit(tuple(edit.slot), edit.text, original, targets))
        return forms.build(
            self._items.canonical(index),
            protocol.form_token((edit.slot, edit.text) for edit in proposed.edits),
            edits,
            self._target,
            proposed.tokens_saved,
        )

    def _target(self, item: int) -> Target:
        return Target(item, self._items.names[item], forms.token_of(self._form_of(item)))

    def _check_pointers(
        self, edit: messages.EditMessage, original: str, index: int, texts: Mapping[Slot, str]
    ) -> None:
        """Raise Refused if a pointer does not hold; `texts` are the new ones of its own item."""

        def seen(item: int) -> bool:
            return self._items.first_seen <= item <= index

        def lookup(item: int, slot: list[Any], call: str) -> str | None:
            proposed = texts if item == index else None
            return self._outgoing(item, slot, call, proposed) if seen(item) else None

        def as_sent(item: int, slot: list[Any], _: str) -> str | None:
            part = self._items.output(item, None, slot) if seen(item) else None
            return None if part is None else wrappers.payload_of(part)

        plain = msgspec.to_builtins(edit)
        if edit.pointers and not pointers.verify(plain, original, lookup, as_sent):
            raise Refused("a pointer's target does not stand in the outgoing conversation")

    def _outgoing(
        self, item: int, slot: list[Any], call: str, proposed: Mapping[Slot, str] | None
    ) -> str | None:
        """An earlier text as it goes out: what a call writes, or the payload of an output.

        `proposed` are the new texts of an item whose form is only proposed yet.
        """
        form = None if proposed is not None else self._form_of(item)
        if slot[:1] == ["input"]:
            return self._items.written(item, form, call, slot[1:])
        part = self._items.output(item, form, slot)
        if part is None:
            return None
        new = proposed or {}
        texts = (new.get(tuple(at), text) for at, text in wrappers.pieces(part))
        return wrappers.joined(wrappers.opened(text).payload for text in texts)

    def _form_of(self, item: int) -> Form | None:
        """The form in which an item goes out in this turn."""
        return self.taken.get(item) or self._turn.forms.get(item)

    def _payload(self, base: int, stop: int, prefix: bytes, frozen: int) -> bytes:
        return msgspec.json.encode(
            {
                "conversation": self._turn.name,
                "base": base,
                "prefix": prefix.hex(),
                "frozen": frozen,
                "messages": [self._neutral(index) for index in range(base, stop)],
                "model": self._items.call.model,
                "config": self._config,
            }
        )

    def _neutral(self, index: int) -> dict[str, Any]:
        asked = index >= self.first and index in self._undecided
        form = None if asked else self._form_of(index)
        return {
            "digest": self._items.names[index].hex(),
            "role": self._items.role(index, form),
            "context": not asked,
            "parts": self._items.parts(index, form),
        }

    def _may_be_shortened(self, index: int) -> bool:
        kinds = ("tool_result", "text") if self._config.get("lossy") else ("tool_result",)
        return any(
            part["kind"] in kinds and len(part["text"]) >= MIN_TEXT
            for part in self._items.parts(index, None)
        )
