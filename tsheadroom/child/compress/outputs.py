"""The form of one tool output: the steps that make it shorter, in order, and the checks on it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from tsheadroom.child.compress import reach
from tsheadroom.child.compress.folds import SAME_CHARS, Folder, FoldTarget, Index, Run
from tsheadroom.child.compress.memo import Memo
from tsheadroom.child.compress.settings import TextSettings
from tsheadroom.child.headroom.lossless import Lossless
from tsheadroom.child.headroom.lossy import Lossy
from tsheadroom.texts import columns, listings, numbering, pointers, repeats, steps, terminal, tools
from tsheadroom.texts.naming import ToolCalls
from tsheadroom.texts.numbering import Lines
from tsheadroom.texts.tools import ToolCall
from tsheadroom.texts.wrappers import Wrapped

# If so little is left of an output whose lines come again, nobody makes it shorter in another way,
# and to let Headroom try takes longer than all the rest of a turn.
ENOUGH = 0.5


@dataclass(frozen=True, slots=True)
class Kind:
    """What an output is, as far as it decides what may be done to it."""

    printed: bool  # a process printed it
    as_shown: bool  # a terminal shows it in the same way, whatever is wrapped around it
    is_file: bool  # the text of a file: an agent edits by its exact words
    by_line: bool  # a diff or a log, of which people read every line
    confirms: bool  # it only says whether something worked, and keeps its words

    @classmethod
    def of(cls, wrapped: Wrapped, call: ToolCall) -> Kind:
        """The kind of this output of a call."""
        text = wrapped.payload
        return cls(
            printed=tools.runs_commands(call),
            as_shown=_looks_the_same(wrapped),
            is_file=tools.prints_file(call),
            by_line=tools.read_line_by_line(call) or tools.is_diff(text),
            confirms=tools.confirms(call, text),
        )


def _looks_the_same(wrapped: Wrapped) -> bool:
    """False if a terminal would move between the payload and what stands beside it.

    It would not move in a JSON string either, where a control character is spelled in letters.
    """
    text = wrapped.payload
    if "\x1b" not in text and "\r" not in text:
        return True
    return terminal.screen(wrapped.close(text)) == wrapped.close(terminal.screen(text))


@dataclass(slots=True)
class Draft:
    """A text on its way to its form, and what was done to it so far.

    `pointers` are as in the protocol; `lossy` is true once something was removed from the text, and
    `arranged` once its lines are no longer those that it came with.
    """

    text: str
    transforms: list[str] = field(default_factory=list)
    original: str = ""  # the text as it came
    pointers: list[dict[str, Any]] = field(default_factory=list)
    lossy: bool = False
    arranged: bool = False

    def copy(self) -> Draft:
        """Another draft of the same output, as far as this one has come."""
        return replace(self, transforms=list(self.transforms), pointers=list(self.pointers))

    def become(self, other: Draft) -> None:
        """Go on with what another draft of the same output has come to."""
        self.text, self.transforms, self.pointers = other.text, other.transforms, other.pointers

    def take(self, text: str, name: str) -> None:
        """Go on with a shorter text, made by the transform `name`; a longer one is passed over."""
        if len(text) < len(self.text):
            self.text = text
            self.transforms.append(name)


def tidy(text: str, kind: Kind, settings: TextSettings, memo: Memo) -> Draft:
    """Apply the steps of `texts/steps.py` that suit this kind of output and are on.

    They look at nothing but the output itself, and the daemon can repeat them.
    """
    wanted = {
        "terminal": settings.terminal and kind.printed and kind.as_shown,
        "json": settings.json and not kind.is_file,
        "gutter": bool(settings.gutter),
        "repeat": settings.lossless
        and kind.printed
        and not (kind.is_file or kind.by_line or kind.confirms),
        "sparse": settings.gutter == "sparse" and kind.is_file,
    }
    names = tuple(name for name in steps.STEPS if wanted[name])

    def make() -> tuple[str | None, list[str]]:
        draft = Draft(text)
        for name in names:
            draft.take(steps.STEPS[name].apply(draft.text), name)
        return (draft.text if draft.transforms else None), draft.transforms

    shorter, transforms = memo.get(names, text, make, lambda made: len(made[0] or ""))
    return Draft(text if shorter is None else shorter, list(transforms), original=text)


@dataclass(slots=True)
class Earlier:
    """What stands before an output in the conversation, as forwarded: calls, texts, and how much.

    `chars` are the characters of all texts.
    """

    calls: ToolCalls = field(default_factory=ToolCalls)
    index: Index = field(default_factory=Index)
    chars: int = 0


def fold(
    draft: Draft, kind: Kind, call: ToolCall, earlier: Earlier, settings: TextSettings
) -> None:
    """Replace lines that stand earlier in the conversation by pointers to them."""
    if len(draft.text) < SAME_CHARS or kind.confirms:
        return
    if kind.is_file and settings.fold_files == "never":
        return
    # What stands as a table keeps its values, not its words: that is not enough for a file.
    same = None if kind.is_file else earlier.index.arranged(draft.original)
    if same is not None:
        _point_at_arranged(draft, same, call, earlier)
        return
    drafts = [draft.copy()]
    if "repeat" in draft.transforms:
        # Lines that come again may stand earlier, too; and where they do not come again there, only
        # as they came.
        drafts.append(_without_repeats(draft))
    for one in drafts:
        here = numbering.read(one.text)
        runs = _runs(one.text, here, call, earlier.index, settings)
        if kind.is_file and settings.fold_files == "careful":
            runs = reach.worthwhile(runs, here, earlier.chars)
        if runs:
            _point(one, here, runs, call, earlier)
    best = min(drafts, key=lambda one: len(one.text) if one.pointers else len(draft.text))
    if best.pointers:
        draft.become(best)


def _without_repeats(draft: Draft) -> Draft:
    """The draft with the lines that come again in their places."""
    plain = draft.copy()
    plain.text = repeats.unfold(draft.text)
    plain.transforms.remove("repeat")
    return plain


def _runs(
    text: str, here: Lines, call: ToolCall, index: Index, settings: TextSettings
) -> list[Run]:
    """The lines that stand earlier, by runs: all of the text, or as much of it as is found."""
    same = index.whole(text)
    if same is not None and not same.written:
        return [Run(0, len(here.raw), same, 0)]

    def allowed(target: FoldTarget) -> bool:
        return bool(target.written) or not tools.compared(call, target.call)

    return Folder(index, text, here, call, allowed, settings.fold_min_lines).runs()


def _point(draft: Draft, here: Lines, runs: list[Run], call: ToolCall, earlier: Earlier) -> None:
    """Put pointers in the place of runs, if the result can be undone."""
    is_sparse, repeated = ("sparse" in draft.transforms, "repeat" in draft.transforms)
    meant = pointers.meanings(here) if repeated else []

    def piece(start: int, end: int) -> list[str]:
        if is_sparse:
            return here.framed(start, end)
        return list(chain.from_iterable(meant[start:end])) if repeated else here.raw[start:end]

    targets = {target: earlier.index.lines(target) for target in {run.target for run in runs}}
    out, back, found = [], [], []
    at = 0
    for run in runs:
        there = targets[run.target]
        pointer = _pointer(here, run, there, call, earlier)
        if pointer is None:
            continue
        between = piece(at, run.of)
        out += [*between, pointers.render(pointer)]
        back += [*between, *pointers.lines(pointer, there)]
        at = run.end
        found.append(
            {
                "item": run.target.item,
                "slot": run.target.slot,
                "call": run.target.call.id,
                "first": run.first,
                "count": run.count,
                "of": run.of,
                "name": pointer.name,
            }
        )
    last = piece(at, len(here.raw))
    # Lines come back with all their numbers, and what follows these says how they were written.
    written = [name for name in draft.transforms if name in ("gutter", "sparse")]
    plain = "\n".join(piece(0, len(here.raw))) if repeated else draft.text
    restored, text = (steps.undo(t, written) for t in ("\n".join(back + last), plain))
    padded = restored != text
    if not found or (padded and numbering.add_padding(restored) != text):
        return
    if numbering.dense(text) != text:
        return  # the client's own numbers have gaps: who restores it would fill them
    shorter = "\n".join(out + last)
    draft.text = repeats.fold(shorter) if repeated else shorter
    draft.pointers = found
    draft.transforms += ["fold", pointers.PADDED] if padded else ["fold"]


def _point_at_arranged(draft: Draft, same: FoldTarget, call: ToolCall, earlier: Earlier) -> None:
    """Put one pointer in the place of an output that said what an earlier one did.

    That one was a table or a grouped listing when it went out, so that no line of it is found.
    """
    name = earlier.calls.name(same.call, call, 0)
    pointer = pointers.Pointer(None, None, None, name)
    line = pointers.render(pointer)
    named = earlier.calls.find(name, call) == (same.call, 0)
    if named and pointers.parse(line) == pointer and len(line) < len(draft.text):
        place = {"item": same.item, "slot": same.slot, "call": same.call.id}
        draft.text = line
        draft.pointers = [{**place, "name": name, "arranged": True}]
        draft.transforms.append("fold")


def _pointer(
    here: Lines, run: Run, there: Lines, call: ToolCall, earlier: Earlier
) -> pointers.Pointer | None:
    """What the pointer for a run says; None if it would not lead a reader there."""
    target = run.target
    name = earlier.calls.name(target.call, call, target.written)
    pointer = pointers.describe(here, run.of, there, run.first, run.count, name)
    if pointers.parse(pointers.render(pointer)) != pointer:
        return None
    if earlier.calls.find(name, call) != (target.call, target.written):
        return None
    if not pointers.same_repeats(here, run.of, there, run.first, run.count):
        return None
    return pointer if pointers.place(there, pointer) == run.first else None


def shorten(draft: Draft, call: ToolCall, lossy: Lossy, settings: TextSettings, asked: str) -> None:
    """Headroom's removing compressors; only where nothing was folded, or pointers could be hit."""
    if draft.pointers:
        return
    text, names = lossy.compress_output(call, draft.text, settings, asked)
    if names and len(text) < len(draft.text):
        draft.text, draft.lossy = text, True
        draft.transforms += names


def arrange(draft: Draft, kind: Kind, call: ToolCall, lossless: Lossless, memo: Memo) -> None:
    """Write an output in another way that says the same: tables, and what comes again said once.

    Not the text of a file, of which every character counts, nor where Headroom would take colours
    off that a terminal does not show. No line of a diff or a log is touched.
    """
    if draft.pointers or kind.is_file or kind.confirms or not kind.as_shown:
        return
    # Headroom would not see through our own line for lines that come again: one or the other.
    text = repeats.unfold(draft.text) if "repeat" in draft.transforms else draft.text
    if len(draft.text) < ENOUGH * len(text):
        return

    def make() -> tuple[str | None, list[str]]:
        if kind.by_line:
            shorter, names = columns.fold(text), ["columns"]
        else:
            shorter, names = lossless.compress(call, text)
            if not names:
                shorter, names = listings.fold(text), ["listing"]
        return (shorter, names) if len(shorter) < len(text) else (None, [])

    told = ("arrange", kind.by_line, call.tool, call.command)
    shorter, names = memo.get(told, text, make, lambda made: len(made[0] or ""))
    if shorter is not None and len(shorter) < len(draft.text):
        draft.text, draft.arranged = shorter, True
        draft.transforms = [name for name in draft.transforms if name != "repeat"] + names
