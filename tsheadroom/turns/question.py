"""What a worker is asked about a turn, and what of its answer is taken."""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tsheadroom.aperture.call import Call, Fingerprints
from tsheadroom.child import protocol
from tsheadroom.conversations import forms as decisions
from tsheadroom.conversations.forms import Form, ProposedEdit, Refused, Target
from tsheadroom.conversations.ledger import Turn
from tsheadroom.providers.shapes import Part
from tsheadroom.texts import pointers
from tsheadroom.turns import rewrites as plan
from tsheadroom.turns.rewrites import BYTES_PER_TOKEN, Stale, View
from tsheadroom.workers import messages

log = logging.getLogger(__name__)

# Shorter texts cannot be worth a pointer to where they stand already.
MIN_TEXT = 100
# Of items at first sight in one call: a quarter of a second of Headroom's work.
BATCH_BYTES = 256 << 10


class Exchange:
    """The conversation of one turn as neutral items, and the check of the forms proposed for it."""

    def __init__(self, call: Call, prints: Fingerprints, turn: Turn, config: Mapping[str, Any]):
        self._call = call
        self._prints = prints
        self._turn = turn
        self._config = config
        self._items: dict[tuple[int, bytes], tuple[str, list[Part]]] = {}
        self._fresh = frozenset(turn.fresh)
        self._first = turn.fresh[0] if turn.fresh else len(call.items)  # the first not yet asked
        self._sent: tuple[int, int, bytes] = (0, 0, b"")  # what the last call was about, its chain
        self.taken: dict[int, Form] = {}
        self.refused: Counter[str] = Counter()

    @property
    def worth_asking(self) -> bool:
        """Whether any item at first sight has a text that a worker could shorten."""
        return bool(self.candidates)

    @property
    def candidates(self) -> list[int]:
        """The items at first sight that a worker might shorten."""
        return [index for index in self._turn.fresh if self._eligible(index)]

    def stops(self) -> list[int]:
        """Where to cut the items at first sight into calls of about BATCH_BYTES each.

        A usual turn is one call. A conversation that comes all at once takes several, so that the
        deadline loses only the last of them.
        """
        stops: list[int] = []
        size = 0
        for index in self._turn.fresh:
            start, end = self._call.items[index]
            size += end - start
            if size > BATCH_BYTES:
                stops.append(index + 1)
                size = 0
        last = len(self._call.items)
        return stops if stops and stops[-1] == last else [*stops, last]

    def delta(self, stop: int) -> bytes | None:
        """What the worker does not hold of the first `stop` items; None if it holds no start."""
        turn = self._turn
        if not 0 < turn.held <= self._first:
            return None
        self._sent = (turn.held, stop, turn.prefix)
        return self._payload(turn.held, stop, turn.prefix, frozen=0)

    def whole(self, stop: int) -> bytes:
        """The first `stop` items: what was forwarded as context, then those at first sight."""
        frozen = self._first
        prefix = secrets.token_bytes(protocol.CHAIN_BYTES) if frozen else protocol.EMPTY_CHAIN
        self._sent = (frozen, stop, prefix)
        return self._payload(0, stop, prefix, frozen)

    def context_bytes(self) -> int:
        """How much another worker would have to be sent before it could take this turn."""
        return self._call.items[self._first][0] - self._call.conversation[0]

    def accept(self, reply: messages.Reply) -> None:
        """Take the proposed forms that may be forwarded into `taken`.

        With all of them taken, `turn.held` and `turn.prefix` name what the worker holds now; when
        one is refused the worker holds something else, and the next call sends the whole again.
        """
        refused = self.refused.total()
        for proposed in reply.forms:
            try:
                self.taken[proposed.item] = self._form(proposed)
            except Refused as why:
                self.refused[str(why)] += 1
                log.warning("form refused item=%d reason=%s", proposed.item, why)
        start, stop, prefix = self._sent
        self._first = next((i for i in self._turn.fresh if i >= stop), len(self._call.items))
        if self.refused.total() > refused:
            self._turn.held, self._turn.prefix = 0, b""
            return
        for index in range(start, stop):
            token = decisions.token_of(self.taken.get(index))
            prefix = protocol.chain(prefix, self._prints.digests[index].hex(), token)
        self._turn.held, self._turn.prefix = stop, prefix

    def _form(self, proposed: messages.Form) -> Form:
        index = proposed.item
        if index not in self._turn.fresh:
            raise Refused("the item is not at first sight")
        texts = {tuple(p["slot"]): p["text"] for p in self._parts_of(index, None) if "slot" in p}
        edits = []
        for edit in proposed.edits:
            original = texts.get(tuple(edit.slot))
            if original is None:
                raise Refused(f"there is no text at {edit.slot}")
            self._check_pointers(edit, original, proposed)
            targets = tuple(p.item for p in edit.pointers if p.item != index)
            edits.append(ProposedEdit(tuple(edit.slot), edit.text, original, targets))
        return decisions.build(
            self._canonical(index),
            protocol.form_token((edit.slot, edit.text) for edit in proposed.edits),
            edits,
            lambda item: Target(
                item, self._prints.digests[item], decisions.token_of(self._form_of(item))
            ),
            proposed.tokens_saved,
        )

    def _check_pointers(self, edit: messages.Edit, original: str, proposed: messages.Form) -> None:
        def lookup(item: int, slot: list[Any], call: str) -> str | None:
            if item == proposed.item:  # a result beside it in the same message
                own = next((e.text for e in proposed.edits if e.slot == slot), None)
                return own or _text_at(self._parts_of(item, None), slot, call)
            if not 0 <= item < proposed.item:
                return None
            return _text_at(self._parts_of(item, self._form_of(item)), slot, call)

        if edit.pointers and not pointers.verify(msgspec.to_builtins(edit), original, lookup):
            raise Refused("a pointer's target does not stand in the outgoing conversation")

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
                "messages": [self._neutral(i) for i in range(base, stop)],
                "model": self._call.model,
                "config": self._config,
            }
        )

    def known(self) -> View:
        """What was forwarded before, for the plan of a rewrite."""
        known, forms = range(self._turn.known), self._turn.forms
        left = [decisions.forwarded(forms.get(i), self._canonical(i)) for i in known]
        return View(
            sent=[self._parts_of(i, None) for i in known],
            forwarded=[self._parts_of(i, forms.get(i)) for i in known],
            tokens=[len(item) / BYTES_PER_TOKEN for item in left],
            forms={i: form for i, form in forms.items() if i < self._turn.known},
        )

    def rewritten(self, chosen: Sequence[Stale], view: View) -> dict[int, Form]:
        """The forms that a plan's choice comes to."""
        return plan.forms(chosen, view, self._canonical, self._prints.digests)

    def _neutral(self, index: int) -> dict[str, Any]:
        fresh = self._first <= index and index in self._fresh and index not in self._call.odd
        role, parts = self._read(index, None if fresh else self._form_of(index))
        return {
            "digest": self._prints.digests[index].hex(),
            "role": role,
            "context": not fresh,
            "parts": parts,
        }

    def _eligible(self, index: int) -> bool:
        if index in self._call.odd:
            return False
        kinds = ("tool_result", "text") if self._config.get("lossy") else ("tool_result",)
        return any(
            part["kind"] in kinds and len(part["text"]) >= MIN_TEXT
            for part in self._parts_of(index, None)
        )

    def _canonical(self, index: int) -> bytes:
        return self._prints.rewritten.get(index) or self._call.item(index)

    def _parts_of(self, index: int, form: Form | None) -> list[Part]:
        return self._read(index, form)[1]

    def _read(self, index: int, form: Form | None) -> tuple[str, list[Part]]:
        key = (index, decisions.token_of(form))
        if key not in self._items:
            item = _decode(decisions.forwarded(form, self._canonical(index)))
            shape = self._call.shape
            try:
                self._items[key] = (shape.role(item), list(shape.parts(item)))
            except RecursionError:
                self._items[key] = (shape.role(item), [])
        return self._items[key]


def _decode(item: bytes) -> Any:
    """The parsed item; None for what msgspec does not take (a lone surrogate)."""
    try:
        return msgspec.json.decode(item)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def _text_at(parts: Sequence[Part], slot: list[Any], call: str) -> str | None:
    if slot and slot[0] == "input":
        value = next((p["input"] for p in parts if p.get("call") == call and "input" in p), None)
        for step in slot[1:]:
            try:
                value = value[step]  # type: ignore[index]
            except (KeyError, IndexError, TypeError):
                return None
        return value if isinstance(value, str) else None
    found = next((p["text"] for p in parts if list(p.get("slot", ())) == slot), None)
    return found if isinstance(found, str) else None
