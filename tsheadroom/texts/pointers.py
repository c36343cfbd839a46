"""The grammar of fold pointers: one line that stands for lines which stand earlier, verbatim.

    [lines 51-120 unchanged: see lines 49-118 of Read #2 lib/foo.ex above]
    [lines 51-120 unchanged: see Read lib/foo.ex above]      the same numbers there
    [lines 51 to 120 unchanged: see Read lib/foo.ex above]   a tab after the numbers, not an arrow
    [70 lines unchanged: see lines 1-70 of your Write foo.ex above]    no numbers here
    [same output as Bash "npm test" above]                   the whole of it

Line numbers are those that the text shows, or count from 1 where it shows none. Of an output in a
wrapper (`wrappers.py`) only the payload counts, and the texts of one output count as one.
A line there that says that others come again (`repeats.py`) counts as one, and means those there.
The child renders by this, the daemon verifies by it, the tests expand by it. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from tsheadroom.texts import numbering, repeats, steps, wrappers
from tsheadroom.texts.naming import ToolCalls
from tsheadroom.texts.numbering import ARROW, Lines
from tsheadroom.texts.tools import ToolCall, written_texts

_UNCHANGED = re.compile(r"(?:\d lines|\[lines \d+(?:-| to |\.\.|:|\|)\d+) unchanged: see ")
_SAME = "[same output as "
_ABOVE = " above]"

_LINE = re.compile(
    r"\[(?:same output as|(?:"
    r"lines (?P<here>\d{1,9})(?P<dash>-| to |\.\.|:|\|)(?P<last>\d{1,9})|(?P<count>\d{1,9}) lines"
    r") unchanged: see)(?: lines (?P<first>\d{1,9})-(?P<to>\d{1,9}) of)? (?P<name>.+) above\]"
)
# What sets off the numbers here from their lines cannot be seen from a text that is folded whole.
_DASHES = {ARROW: "-", "\t": " to ", ": ": "..", ":": ":", "| ": "|"}
_SEPARATORS = {dash: separator for separator, dash in _DASHES.items()}
PADDED = "padded"  # with the gutter left as it is: folded lines were right-aligned, too
Lookup = Callable[[int, list[Any], str], str | None]


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a pointer line says. `here`, `there`: first numbers as shown; None: none is said."""

    count: int | None
    here: int | None
    there: int | None
    name: str
    separator: str = ARROW


def render(pointer: Pointer) -> str:
    """The pointer as the line that stands in the text."""
    if pointer.count is None:
        return f"[same output as {pointer.name} above]"
    lines = f"{pointer.count} lines"
    if pointer.here is not None:
        dash = _DASHES[pointer.separator]
        lines = f"lines {pointer.here}{dash}{pointer.here + pointer.count - 1}"
    where = ""
    if pointer.there is not None:
        where = f"lines {pointer.there}-{pointer.there + pointer.count - 1} of "
    return f"[{lines} unchanged: see {where}{pointer.name} above]"


def parse(line: str) -> Pointer | None:
    """What a line says if it is a pointer."""
    match = _LINE.fullmatch(line) if line.startswith("[") else None
    if match is None:
        return None
    here = int(match["here"]) if match["here"] else None
    there = int(match["first"]) if match["first"] else None
    count = int(match["count"]) if match["count"] else None
    if here is not None:
        count = int(match["last"]) - here + 1
    if there is not None and (count is None or count != int(match["to"]) - there + 1):
        return None
    separator = _SEPARATORS[match["dash"]] if here is not None else ARROW
    pointer = Pointer(count, here, there, match["name"], separator)
    return pointer if (count is None or count > 0) and render(pointer) == line else None


def imitated(text: str) -> bool:
    """True if a text that we did not write holds something that looks like a line of ours."""
    return looks_folded(text) or repeats.imitated(text)


def looks_folded(text: str) -> bool:
    """True if a text holds something that looks like a pointer.

    An imitation by a client, or one that an agent copied into a file. This is looser than the
    grammar on purpose.
    """
    if " unchanged: see " in text and _UNCHANGED.search(text) is not None:
        return True
    at = text.find(_SAME)
    while at >= 0:
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        if text.rfind(_ABOVE, at + len(_SAME) + 1, end) >= 0:
            return True
        at = text.find(_SAME, end)
    return False


def describe(here: Lines, of: int, there: Lines, first: int, count: int, name: str) -> Pointer:
    """The pointer for lines [of, of+count) here that equal lines [first, first+count) there."""
    if of == 0 and count == len(here.raw) == len(there.raw) and here.raw == there.raw:
        return Pointer(None, None, None, name)
    number = here.numbers[of] or None
    separator = here.separators[here.segments[of]] if number else ARROW
    target = there.numbers[first] or first + 1
    if number is not None and there.numbers[first] == number:
        return Pointer(count, number, None, name, separator)
    return Pointer(count, number, target, name, separator)


def run_ok(lines: Lines, first: int, count: int) -> bool:
    """True if lines can be named by their first number and their count.

    They can if all are in one segment, or if the text shows no numbers.
    """
    if first < 0 or count < 1 or first + count > len(lines.raw):
        return False
    if not lines.numbered:
        return True
    segment = lines.segments[first]
    same = segment >= 0 and lines.segments[first + count - 1] == segment
    return same and lines.starts[lines.numbers[first]] == first


def place(lines: Lines, pointer: Pointer) -> int | None:
    """The first target line (0-based) that a pointer means in a target text."""
    number = pointer.there if pointer.there is not None else pointer.here
    if pointer.count is None:
        return 0
    if number is None:
        return None
    first = lines.starts.get(number) if lines.numbered else number - 1
    return first if first is not None and run_ok(lines, first, pointer.count) else None


def verify(
    edit: Mapping[str, Any], original: str, lookup: Lookup, as_sent: Lookup | None = None
) -> bool:
    """True if each pointer of an edit is in its new text, and stands for the original's lines.

    That is so if its target lines stand in the outgoing text, and are the original's lines there,
    whatever their numbers. An output that goes out arranged in another way has none of these lines.
    What tells that it says the same is that the client sent the same.

    `lookup(item, slot, call)` gives an earlier text as it goes out, of an output its payload;
    `as_sent` gives it as the client sent it. Both give None if there is no such text.
    """
    payload = wrappers.opened(original).payload
    here = numbering.read(steps.repeat(payload, edit.get("transforms") or ()))
    new = set(wrappers.opened(str(edit.get("text", ""))).payload.split("\n"))
    targets: dict[str, Lines] = {}
    expected = set()
    for pointer in edit.get("pointers") or ():
        slot, call = list(pointer["slot"]), str(pointer.get("call") or "")
        if pointer.get("arranged"):
            sent = as_sent and as_sent(pointer["item"], slot, call)
            if sent is None or sent != payload:
                return False
            line = render(Pointer(None, None, None, pointer["name"]))
        else:
            key = repr((pointer["item"], slot, call))
            if key not in targets:
                text = lookup(pointer["item"], slot, call)
                if text is None:
                    return False
                targets[key] = numbering.read(text)
            there, of = targets[key], pointer["of"]
            first, count = pointer["first"], pointer["count"]
            if not _equal(here, of, there, first, count):
                return False
            line = render(describe(here, of, there, first, count, pointer["name"]))
        if line not in new:
            return False
        expected.add(line)
    return all(line in expected for line in new if parse(line) is not None)


def shown(original: str, transforms: Iterable[str]) -> str:
    """The original after those of the steps that can be repeated, in its wrapper."""
    wrapped = wrappers.opened(original)
    return wrapped.close(steps.repeat(wrapped.payload, transforms))


def _equal(here: Lines, of: int, there: Lines, first: int, count: int) -> bool:
    if of < 0 or not 0 < count <= len(here.raw) - of or not 0 <= first <= len(there.raw) - count:
        return False
    whole = of == 0 and count == len(here.raw) == len(there.raw)
    target = there.bodies[first : first + count]
    if whole and here.raw == there.raw:
        return not any(parse(line) for line in there.raw)
    if here.bodies[of : of + count] != target or any(map(parse, target)):
        return False
    if here.segments[of] != here.segments[of + count - 1] or not run_ok(there, first, count):
        return False
    return same_repeats(here, of, there, first, count)


def same_repeats(here: Lines, of: int, there: Lines, first: int, count: int) -> bool:
    """True if equal lines that say that others come again stand for the same lines, too.

    They quote the beginning of a line of their own text. Beside a number here none may stand,
    because more lines than one would have it.
    """
    if not any(map(repeats.is_fold, there.raw[first : first + count])):
        return True
    meant = meanings(here)[of : of + count]
    return not here.numbers[of] and meant == meanings(there)[first : first + count]


def meanings(lines: Lines) -> list[list[str]]:
    """For each line what it stands for, as `repeats.meanings` has it; worked out once a text."""
    if lines.meant is None:
        lines.meant = repeats.meanings(lines.raw)
    return lines.meant


def expand(
    items: Sequence[Mapping[str, Any]], item: int, call: str, transforms: Iterable[str] = ()
) -> str | None:
    """Restore a tool output from the outgoing conversation alone: what its pointers say is enough.

    `items` are neutral items as forwarded. `transforms`, of the form, say whether lines of the
    output itself come again, and whether its tool right-aligns its numbers; what "terminal" and
    "json" took off stays off. That numbers were thinned out is seen from the text. None: a pointer
    leads nowhere.
    """
    seen = _Seen()
    for earlier in items[:item]:
        seen.add(earlier)
    own = seen.calls.by_id.get(call)
    parts = items[item]["parts"] if item < len(items) else ()
    part = next((p for p in parts if p["kind"] == "tool_result" and p.get("call") == call), None)
    if own is None or part is None:
        return None
    seen.add(items[item])
    taken = {*transforms, "sparse"}
    if PADDED in taken:
        taken.add("gutter")  # folded lines come back without padding, whoever took it off
    restored = []
    for _, text in wrappers.pieces(part):
        wrapped = wrappers.opened(text)
        # Lines that come again were looked for among those that were not folded.
        payload = _expanded(steps.undo(wrapped.payload, taken & {"repeat"}), seen, own)
        if payload is None:
            return None
        restored.append(wrapped.close(steps.undo(payload, taken - {"repeat"})))
    return wrappers.joined(restored)


class _Seen:
    """What stands in a conversation so far: its calls, what they wrote, and their outputs.

    An output answers the call that had its id last, and pointers lead to the first output of an id.
    """

    def __init__(self) -> None:
        self.calls = ToolCalls()
        self._inputs: dict[ToolCall, Any] = {}
        self._outputs: dict[ToolCall, Mapping[str, Any]] = {}
        self._answered: set[str] = set()
        self._split: dict[tuple[ToolCall, int], Lines | None] = {}

    def add(self, item: Mapping[str, Any]) -> None:
        for part in item["parts"]:
            if part["kind"] == "tool_use":
                self._inputs[self.calls.add(part)] = part.get("input")
            elif part["kind"] == "tool_result":
                call = self.calls.by_id.get(part.get("call", ""))
                if call is not None and call.id not in self._answered:
                    self._answered.add(call.id)
                    self._outputs[call] = part

    def lines(self, call: ToolCall, written: int) -> Lines | None:
        """The call's output (0), or the n-th text that it writes; None if there is none."""
        if (call, written) not in self._split:
            text = self._text(call, written)
            self._split[call, written] = None if text is None else numbering.read(text)
        return self._split[call, written]

    def _text(self, call: ToolCall, written: int) -> str | None:
        if not written:
            part = self._outputs.get(call)
            return None if part is None else wrappers.payload_of(part)
        texts = list(written_texts(self._inputs[call]))
        return texts[written - 1][1] if written <= len(texts) else None


def _expanded(payload: str, seen: _Seen, own: ToolCall) -> str | None:
    """A payload with the lines that its pointers stand for; None if one leads nowhere."""
    out: list[str] = []
    for line in payload.split("\n"):
        pointer = parse(line)
        if pointer is None:
            out.append(line)
            continue
        found = seen.calls.find(pointer.name, own)
        target = seen.lines(*found) if found else None
        meant = lines(pointer, target) if target is not None else []
        if not meant:
            return None
        out += meant
    return "\n".join(out)


def lines(pointer: Pointer, there: Lines) -> list[str]:
    """The lines that a pointer stands for, as they would stand here; none if it leads nowhere."""
    first = place(there, pointer)
    if first is None:
        return []
    count = len(there.raw) if pointer.count is None else pointer.count
    bodies = there.raw if pointer.count is None else there.bodies[first : first + count]
    if any(map(repeats.is_fold, bodies)):
        meant = meanings(there)[first : first + count]
        return list(chain.from_iterable(meant))
    if pointer.here is None:
        return bodies
    separator = pointer.separator
    return [
        f"{numbering.label(number, separator)}{separator}{body}"
        for number, body in enumerate(bodies, pointer.here)
    ]
