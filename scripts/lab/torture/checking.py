"""Checks each answer of the hook against what it promises.

`Checker` is for one answer alone. `Provider` has what the provider of one conversation was sent,
and finds what is sent otherwise the next time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from scripts.lab import traffic
from scripts.lab.clients import restoring
from scripts.lab.clients.restoring import Restored
from scripts.lab.torture import bodies
from scripts.lab.torture.bodies import Differs, Edit
from scripts.lab.torture.conversations import MARK, Item, Request, parsed
from tsheadroom.providers.shapes import shape_of
from tsheadroom.texts import wrappers

ALLOW = b'{"action":"allow"}\n'
_NUMBER = re.compile(r"^ *(\d+)(?:→|\t)", re.MULTILINE)
_MODEL = ("assistant", "model")
_MODEL_TYPES = ("function_call", "custom_tool_call", "reasoning")


class Break(StrEnum):
    """A promise that was broken."""

    STATUS = "a status that is not documented"
    NO_ANSWER = "no answer"
    NO_START = "the daemon does not start again"
    LATE = "an answer after its caller has gone on"
    ACTION = "an answer that is neither allow nor modify"
    BODY = "something else than texts of the conversation differs"
    NOT_A_TOOLS = "a text that is not a tool's output differs"
    LONGER = "a text that got longer"
    MARKER = "a marker that nobody can resolve"
    DANGLING = "a pointer that leads nowhere"
    LOST = "a text that cannot be restored"
    LEAKED = "words of another caller"
    PREFIX = "what was forwarded before is forwarded otherwise"
    FORM_AFTER_GAP = "a form where the provider has the original"


class Excuse(StrEnum):
    """Why the provider got something else than before, where that is no break."""

    DOWN = "the daemon was down"
    NOT_TAKEN = "the caller did not take the answer"
    UNHEARD = "an answer on its way when its reader or the daemon ended counts as taken"
    FORGOTTEN = "what was not on disk was lost with the memory"
    UNREADABLE = "what was on disk alone could not be read by the deadline"
    REWRITTEN = "a view was rewritten, as the settings allow"


@dataclass(frozen=True, slots=True)
class Finding:
    """A break, and what can be said about it."""

    kind: Break
    detail: str = ""


@dataclass(slots=True)
class Forwarded:
    """What an answer makes of a request: its items as the provider gets them, and the breaks."""

    items: Sequence[Item]
    edits: Sequence[Edit] = ()
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Checker:
    """What an answer may do under the settings of the daemon.

    `lossy` lets it leave something out, also of what users wrote; `rewrites` lets it change what
    was forwarded.
    """

    lossy: bool = False
    rewrites: bool = False

    def forwarded(self, request: Request, body: bytes, own: bytes) -> Forwarded:
        """Check one answer's body. `own` is the mark of the conversation."""
        marks = set(MARK.findall(body)) - {own} - set(MARK.findall(request.call))
        leaked = [Finding(Break.LEAKED, repr(sorted(marks)))] if marks else []
        if body == ALLOW:
            return Forwarded(request.items, (), leaked)
        action, forwarded = bodies.member(body, b"action"), bodies.member(body, b"request_body")
        if action != b'"modify"' or forwarded is None:
            found = Finding(Break.ACTION, repr(body[:80]))
            return Forwarded(request.items, (), [*leaked, found])
        try:
            edits = bodies.edits(request.body, forwarded)
            items = parsed(forwarded)[request.key]
        except (Differs, ValueError, LookupError, TypeError) as error:
            return Forwarded(request.items, (), [*leaked, Finding(Break.BODY, str(error))])
        except RecursionError:  # too deep for this parser; its bytes are right
            return Forwarded(request.items, (), leaked)
        wrong = [found for edit in edits for found in self._edit(request, edit)]
        return Forwarded(items, edits, [*leaked, *wrong])

    def _edit(self, request: Request, edit: Edit) -> Iterator[Finding]:
        where = "/".join(map(str, edit.path))
        if edit.path[0] != request.key or len(edit.path) < 3:
            yield Finding(Break.BODY, where)
            return
        item = request.items[int(edit.path[1])]
        if by_model(item) or not (self.lossy or _of_a_tool(item, edit.path)):
            yield Finding(Break.NOT_A_TOOLS, where)
        if _size(edit.new) >= _size(edit.old):
            yield Finding(Break.LONGER, where)
        if any(edit.new.count(mark) > edit.old.count(mark) for mark in traffic.MARKERS):
            yield Finding(Break.MARKER, where)

    def restored(
        self, request: Request, sent: Forwarded, places: Iterable[int]
    ) -> Iterator[Finding]:
        """Yield what is lost of the outputs in items at these places, and pointers to nothing."""
        wanted = set(places)
        edited = {int(edit.path[1]) for edit in sent.edits} & wanted
        if not edited:
            return
        before = restoring.Conversation({request.key: request.items})
        after = restoring.Conversation({request.key: sent.items})
        for index in sorted(edited):
            for call, old, new in _outputs(request, sent, index):
                if old == new:
                    continue
                how = after.restored(index, call, before)
                if how is Restored.DANGLING:
                    yield Finding(Break.DANGLING, f"item {index}, call {call}")
                elif how is Restored.LOST and not self.lossy and _bare(old) != _bare(new):
                    yield Finding(Break.LOST, f"item {index}, call {call}")


class Provider:
    """The provider's view of one conversation, whose requests come one after the other."""

    def __init__(self, checker: Checker, own: bytes) -> None:
        """`own` is the conversation's mark."""
        self._checker = checker
        self._own = own
        self._view: list[bytes] = []
        # What the daemon may rightly believe that the provider has instead.
        self._believed: list[bytes] | None = None
        self._forgotten = False
        self._fates: list[str] = []
        self.excuses: Counter[Excuse] = Counter()
        self.changed = 0  # items that went out in a form
        self.broken = 0  # prefixes that a missed answer has broken

    def missed(self, request: Request, excuse: Excuse) -> None:
        """The provider got the originals, because the caller has not got an answer."""
        now = _plain(request.items)
        if now[: len(self._view)] != self._view:
            self.broken += 1
        self._count(excuse)
        self._fates.append(f"{len(now)} items: {excuse}")
        self._believed = None
        self._view = now

    def unsure(self, request: Request, excuse: Excuse) -> None:
        """As `missed`, where the daemon may rightly believe that the answer was taken."""
        then = self._view if self._believed is None else self._believed
        self.missed(request, excuse)
        self._believed = then

    def forget(self) -> None:
        """The daemon has lost what it knew: it may take the conversation for an unknown one."""
        self._forgotten = True

    def answered(self, request: Request, body: bytes, *, unreadable: bool = False) -> list[Finding]:
        """The caller took an answer: what is wrong with it, and with what the provider gets.

        `unreadable` says that the daemon may not have known what it had sent.
        """
        sent = self._checker.forwarded(request, body, self._own)
        now = _plain(sent.items)
        seen = min(len(self._view), len(now))
        differing = [at for at in range(seen) if now[at] != self._view[at]]
        findings = sent.findings
        if differing and not self._excused(request, now, differing, unreadable=unreadable):
            findings.append(self._broken(request, now, differing))
        fresh = [*([] if self._checker.rewrites else differing), *range(seen, len(now))]
        findings += self._checker.restored(request, sent, fresh)
        self.changed += len({int(edit.path[1]) for edit in sent.edits if int(edit.path[1]) >= seen})
        self._fates.append(f"{len(now)} items: {len(sent.edits)} edits")
        self._view, self._believed, self._forgotten = now, None, False
        return findings

    def _excused(
        self, request: Request, now: list[bytes], differing: list[int], *, unreadable: bool
    ) -> bool:
        believed = self._believed
        if believed is not None and now[: len(believed)] == believed:
            self._count(Excuse.UNHEARD)
            return True
        originals = _plain(request.items)
        if (self._forgotten or unreadable) and all(now[at] == originals[at] for at in differing):
            self._count(Excuse.FORGOTTEN if self._forgotten else Excuse.UNREADABLE)
            return True
        if self._checker.rewrites and all(now[at] != originals[at] for at in differing):
            self._count(Excuse.REWRITTEN)
            return True
        return False

    def _broken(self, request: Request, now: list[bytes], differing: list[int]) -> Finding:
        [original] = _plain([request.items[differing[0]]])
        was_original = self._view[differing[0]] == original
        kind = Break.FORM_AFTER_GAP if was_original else Break.PREFIX
        before = "; ".join(self._fates[-4:])
        return Finding(kind, f"items {differing[:5]} of {len(now)}; before: {before}")

    def _count(self, excuse: Excuse) -> None:
        self.excuses[excuse] += 1


def by_model(item: Any) -> bool:
    """True if the model made this item."""
    if not isinstance(item, dict):
        return False
    return item.get("role") in _MODEL or item.get("type") in _MODEL_TYPES


def _of_a_tool(item: Any, path: bodies.Path) -> bool:
    """True if a text in this item, at a path of the body, is a tool's output."""
    if not isinstance(item, dict):
        return False
    if item.get("role") == "tool" or str(item.get("type")).endswith("_output"):
        return True
    if "functionResponse" in path or "toolResult" in path:
        return True
    inside: Any = item
    for step in path[2:]:
        if isinstance(inside, dict) and inside.get("type") == "tool_result":
            return True
        try:
            inside = inside[step]
        except (KeyError, IndexError, TypeError):
            return False
    return False


def _outputs(request: Request, sent: Forwarded, index: int) -> Iterator[tuple[str, str, str]]:
    """Yield each output of an item: its call, its text as sent by the client and as forwarded."""
    shape = shape_of({request.key: ()})
    if shape is None:
        return
    before = [part for part in shape.parts(request.items[index]) if part["kind"] == "tool_result"]
    after = [part for part in shape.parts(sent.items[index]) if part["kind"] == "tool_result"]
    for old, new in zip(before, after, strict=False):
        yield str(old.get("call")), _joined(old), _joined(new)


def _bare(text: str) -> str:
    """A text without the layout of its line numbers: what is told by them, not how."""
    return _NUMBER.sub(r"\1\t", text)


def _joined(part: Item) -> str:
    return wrappers.joined(text for _, text in wrappers.pieces(part))


def _plain(items: Sequence[Item]) -> list[bytes]:
    """Each item as a prompt cache sees it."""
    return [traffic.dumps(traffic.plain(item)) for item in items]


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
