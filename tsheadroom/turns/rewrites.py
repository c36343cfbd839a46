"""Rewrites of history: which earlier views of files may be replaced, and when that pays.

What was forwarded never changes; a rewrite is the one exception, which the setting `rewrite`
allows. It replaces an earlier read of a file when the whole file stands again further below. It is
a decision like any other: made once, stored, replayed from then on. `docs/prompt-cache.md` has the
rules in words.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tsheadroom.child import protocol
from tsheadroom.conversations import forms as decisions
from tsheadroom.conversations.forms import Form, ProposedEdit, Refused, Target
from tsheadroom.conversations.recognise import Status
from tsheadroom.conversations.turn import Turn
from tsheadroom.providers.prices import BYTES_PER_TOKEN, Price
from tsheadroom.providers.shapes import Part, Slot
from tsheadroom.texts import numbering, tools
from tsheadroom.turns.items import Items

# How many turns are expected to come, as a share of those so far. 0.25 and 1 were tried on eighteen
# recorded conversations: 0.25 saved more, and broke half as many prefixes.
EXPECTED_SHARE = 0.25
# How many turns `always` expects. A rewrite that loses even then is not made.
ALWAYS_TURNS = 200
MIN_TEXT = 400  # characters; the text that replaces a view has about a hundred
# Lines. Tools that show a file stop somewhere, usually at 2,000: a view that long may be cut.
MAX_LINES = 2000

_FAILED = ("<tool_use_error>", "error:", "error ")
_NOTICE = "[This earlier view of "


@dataclass(frozen=True, slots=True)
class View:
    """The part of a conversation that was forwarded before; each field is by item."""

    sent: Sequence[Sequence[Part]]  # the parts as the client sent them
    forwarded: Sequence[Sequence[Part]]  # and as they are forwarded now
    tokens: Sequence[float]  # of each item as forwarded
    forms: Mapping[int, Form]


@dataclass(frozen=True, slots=True)
class Terms:
    """All that decides if a rewrite pays. `price` is the price of this request."""

    policy: str  # cold, cost or always
    price: Price
    turns: int  # of the conversation so far
    lossy: bool = False
    protect_recent: int = 0  # how many of the last items are not rewritten


@dataclass(frozen=True, slots=True)
class Stale:
    """A view of a file that is no longer needed, because of what stands in item `by`."""

    item: int
    slot: Slot
    text: str  # as forwarded
    path: str
    by: int
    edited: bool  # True if `by` is an edit, so that the file as it is now stands nowhere

    @property
    def notice(self) -> str:
        """The text that is forwarded in its place."""
        if self.edited:
            return f"{_NOTICE}{self.path} was left out: the file was edited further below.]"
        return f"{_NOTICE}{self.path} was left out: the whole file stands again further below.]"

    @property
    def saved(self) -> float:
        """Tokens that replacing it saves, at four bytes a token."""
        return (len(self.text.encode("utf-8", "replace")) - len(self.notice)) / BYTES_PER_TOKEN


@dataclass(slots=True)
class _File:
    """The items with views of one file, with copies of all of it, and with edits."""

    views: list[tuple[int, Slot, str]]
    copies: list[int]
    edits: list[int]


def rewrite(turn: Turn, items: Items, terms: Terms, binds_after: Callable[[int], bool]) -> int:
    """Replace views of files that are no longer needed, if that pays. Returns how many.

    It does so only where the conversation goes on as it was forwarded, and never before a signature
    that binds (`binds_after` of the request).
    """
    call = items.call
    if turn.status is not Status.CONTINUED or not turn.shared:
        return 0
    recent = len(call.items) - terms.protect_recent
    view = _view(turn, items)
    # What binds after an item does so after all earlier ones.
    free = bisect_left(range(recent), True, key=lambda item: not binds_after(item))

    def allowed(item: int) -> bool:
        return free <= item < recent and not call.by_model[item]

    chosen = choose(view, terms, turn.idle_s, allowed)
    new = forms(chosen, view, items.canonical, items.names) if chosen else {}
    if not new:
        return 0
    turn.rewrite(new, min(stale.item for stale in chosen))
    return len(chosen)


def _view(turn: Turn, items: Items) -> View:
    """The part of the conversation that was forwarded before."""
    known, in_force = range(turn.shared), turn.forms
    left = [decisions.forwarded(in_force.get(i), items.canonical(i)) for i in known]
    return View(
        sent=[items.parts(i, None) for i in known],
        forwarded=[items.parts(i, in_force.get(i)) for i in known],
        tokens=[len(item) / BYTES_PER_TOKEN for item in left],
        forms={i: form for i, form in in_force.items() if i < turn.shared},
    )


def choose(
    view: View, terms: Terms, idle_s: float | None, allowed: Callable[[int], bool]
) -> list[Stale]:
    """Choose the views to replace in this turn; none if it does not pay.

    `idle_s` are seconds since the conversation was last forwarded; None if that is not known.
    `allowed` returns True for an item that may be rewritten at all.
    """
    price = terms.price
    if terms.policy == "cold" and (idle_s is None or idle_s <= price.ttl_s):
        return []
    found = [stale for stale in superseded(view, lossy=terms.lossy) if allowed(stale.item)]
    found.sort(key=lambda stale: stale.item, reverse=True)
    best, gain, saved = 0, 0.0, 0.0
    for count, stale in enumerate(found, 1):
        saved += stale.saved
        first_of_item = count == len(found) or found[count].item != stale.item
        net = _net(saved, _read_again(view, stale.item, price) - saved, terms)
        if first_of_item and net > gain:
            best, gain = count, net
    return found[:best]


def superseded(view: View, *, lossy: bool) -> list[Stale]:
    """Find every view of a file that has a full copy later in the conversation.

    With `lossy`, a later edit of the file is enough.
    """
    pointed_at = {
        target.item
        for form in view.forms.values()
        if not _is_notice(form)
        for target in form.targets
    }
    found = []
    for path, file in _files(view).items():
        for item, slot, text in file.views:
            form = view.forms.get(item)
            # What a pointer points at must stay. A form with pointers is short already.
            if item in pointed_at or (form and form.targets) or len(text) < MIN_TEXT:
                continue
            copy = max((at for at in file.copies if at > item), default=0)
            edit = max((at for at in file.edits if at > item), default=0) if lossy else 0
            if copy or edit:
                found.append(Stale(item, slot, text, path, copy or edit, edited=not copy))
    return found


def forms(
    chosen: Iterable[Stale],
    view: View,
    canonical: Callable[[int], bytes],
    digests: Sequence[bytes],
) -> dict[int, Form]:
    """Make the new forms: of the chosen items, and of items whose forms name one of these."""
    by_item: dict[int, list[Stale]] = defaultdict(list)
    for stale in chosen:
        by_item[stale.item].append(stale)
    made: dict[int, Form] = {}

    def target(item: int) -> Target:
        form = made.get(item) or view.forms.get(item)
        return Target(item, digests[item], decisions.token_of(form))

    for item in sorted(by_item, reverse=True):
        try:
            made[item] = _replaced(by_item[item], view.forms.get(item), canonical(item), target)
        except Refused:
            continue  # it stays as it is
    for item, form in view.forms.items():
        moved = [made[t.item].targets for t in form.targets if t.item in made]
        if moved:
            kept = [t for t in form.targets if t.item not in made]
            targets = (*kept, *(target for targets in moved for target in targets))
            made[item] = Form(form.token, form.edits, targets, form.tokens_saved)
    return made


def _net(saved: float, again: float, terms: Terms) -> float:
    """The price that a rewrite is expected to save, in uncached tokens; negative if it loses."""
    price = terms.price
    further = ALWAYS_TURNS if terms.policy == "always" else terms.turns * EXPECTED_SHARE
    if terms.policy == "cold":  # nothing is cached any more: all of it is written again in any case
        return saved * (price.write + price.read * further)
    return saved * price.read * (further + 1) - (price.write - price.read) * again


def _read_again(view: View, item: int, price: Price) -> float:
    """How many tokens are no longer found in the cache if this item changes."""
    blocks = sum(max(1, len(parts)) for parts in view.forwarded[item:])
    if price.lookback_blocks and blocks > price.lookback_blocks:
        # No breakpoint is near enough to find what is cached before the item.
        return sum(view.tokens)
    return sum(view.tokens[item:])


def _files(view: View) -> dict[str, _File]:
    files: dict[str, _File] = defaultdict(lambda: _File([], [], []))
    calls: dict[str, tuple[int, str, Mapping[str, Any]]] = {}
    for item, parts in enumerate(view.forwarded):
        texts = {tuple(p["slot"]): p["text"] for p in view.sent[item] if "slot" in p}
        for part in parts:
            if part["kind"] == "tool_use" and isinstance(part["input"], Mapping):
                calls[part["call"]] = item, part["name"], part["input"]
            if part["kind"] != "tool_result" or part["call"] not in calls or _failed(part):
                continue
            at, tool, inputs = calls[part["call"]]
            path, slot = tools.path_of(inputs), tuple(part["slot"])
            if not path:
                continue
            if tools.edits_file(inputs):
                files[path].edits.append(item)
            elif tools.writes_whole_file(inputs):
                files[path].copies.append(at)
            elif tools.reads_file(tool) and "pieces" not in part:
                files[path].views.append((item, slot, part["text"]))
                if _is_whole(part["text"], texts.get(slot, ""), inputs):
                    files[path].copies.append(item)
    return files


def _failed(result: Part) -> bool:
    return bool(result["error"]) or result["text"][:20].lower().startswith(_FAILED)


def _is_whole(text: str, original: str, inputs: Mapping[str, Any]) -> bool:
    """True if a read shows all of a file, and every line of it is forwarded."""
    if tools.asks_for_part(inputs):
        return False
    lines = numbering.read(text)
    if len(lines.separators) != 1 or 1 not in lines.starts or len(lines.raw) >= MAX_LINES:
        return False  # a stub ("unchanged since the last read"), or a part
    return text == original or lines.bodies == numbering.read(original).bodies


def _is_notice(form: Form) -> bool:
    return any(edit.new.startswith(b'"' + _NOTICE.encode()) for edit in form.edits)


def _replaced(
    stale: Sequence[Stale], form: Form | None, canonical: bytes, target: Callable[[int], Target]
) -> Form:
    slots = {one.slot for one in stale}
    edits = [
        ProposedEdit(edit.slot, text, text)
        for edit in (form.edits if form else ())
        if edit.slot not in slots
        for text in [msgspec.json.decode(edit.new, type=str)]
    ]
    edits += [ProposedEdit(one.slot, one.notice, one.text, (one.by,)) for one in stale]
    saved = round(sum(one.saved for one in stale)) + (form.tokens_saved if form else 0)
    token = protocol.form_token((list(edit.slot), edit.text) for edit in edits)
    return decisions.build(canonical, token, edits, target, saved)
