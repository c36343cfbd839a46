"""How a request relates to what is known of its conversation: the table of the law of forms.

| what the request shares with its branch | status | forms replayed | may be decided |
|---|---|---|---|
| nothing; no answer in it / an answer in it | new / unknown | none | after the last answer |
| all of it, asked before | repeated | all | nothing |
| up to the last answer, which was made from our view | continued | the shared part | after it |
| less, and a sibling explains the answer by edits | edited | of what is the same | the rest |
| less, unexplained | gap | none | after the last answer |

Each row is a function without side effects. `docs/prompt-cache.md` says why the rows are as they
are. Where nothing at the provider depends on old items, "new" and "edited" may decide all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tsheadroom.conversations.branches import Branch
from tsheadroom.conversations.forms import Form, stands
from tsheadroom.conversations.prefixes import Prefixes, Request


class Status(StrEnum):
    """How a request relates to what is known."""

    NEW = "new"  # nothing is known, and there is no answer yet: a conversation begins
    CONTINUED = "continued"  # it goes on from what was forwarded
    REPEATED = "repeated"  # the same request again
    EDITED = "edited"  # the client changed an item that had been forwarded
    GAP = "gap"  # the model's last answer was made from the originals
    UNKNOWN = "unknown"  # the conversation is older than this daemon, or was forgotten


@dataclass(frozen=True, slots=True)
class Recognised:
    """One row's answer. Indexes are of the request's items."""

    status: Status
    branch: Branch | None = None  # the request goes on from this one
    shared: int = 0  # how many first items it has in common with the branch
    forms: Mapping[int, Form] = field(default_factory=dict)  # in force
    undecided: tuple[int, ...] = ()  # items that may get a form now
    intact: int = 0  # how many first items the provider has seen as they are forwarded now
    must_store: bool = False  # True if the turn has to be on disk even without forms
    beside: Branch | None = None  # a gap: the branch that the newest answer was not made from


def recognise(
    request: Request, branch: Branch | None, shared: int, *, arrived: bool = False
) -> Recognised | None:
    """Apply the first three rows; None if the newest answer was not made from this branch.

    Then it was made from a sibling (`edited`), or the request is a `gap`. With `arrived` it is
    known of this very session that the request before arrived.
    """
    newest = request.newest_answer
    if branch is None or not shared:
        return unknown(request)
    if branch.request_within(len(request)) == len(request) <= shared:
        return repeated(request, branch)
    if not newest or made_from_our_view(branch, shared, newest, arrived=arrived):
        return continued(request, branch, shared)
    return None


def unknown(request: Request) -> Recognised:
    """Nothing is known. Old items went out as the client sent them, and stay so."""
    newest = request.newest_answer
    return Recognised(
        Status.UNKNOWN if newest else Status.NEW,
        undecided=_after(request, newest if request.has_prefix_cache() else 0),
        intact=newest,
        must_store=newest > 0,  # as a gap
    )


def repeated(request: Request, branch: Branch) -> Recognised:
    """It is the same request again, and gets the same bytes again."""
    length = len(request)
    forms = _forms_within(branch, length)
    return Recognised(Status.REPEATED, branch, length, forms, intact=length)


def continued(request: Request, branch: Branch, shared: int) -> Recognised:
    """What was forwarded is replayed, and what follows it is new."""
    first = max(shared, request.newest_answer)
    return Recognised(
        Status.CONTINUED,
        branch,
        shared,
        _forms_within(branch, shared),
        _after(request, first),
        shared,
    )


def edited(request: Request, prefixes: Prefixes, branch: Branch) -> Recognised:
    """The client changed an item itself. The provider's prefix ends there, whatever we do.

    Items that it left as they were keep their forms, behind the edit as well, and what these point
    at stays as it is. The others that follow may be decided again, unless a signature there is
    still bound to what comes before.
    """
    shared = branch.shared(prefixes.joined)
    kept = _forms_left(branch, request, shared)
    bound = request.has_prefix_cache() and request.binds_after(shared)
    first = max(shared, request.newest_answer) if bound else shared
    stays = {*kept, *(target.item for form in kept.values() for target in form.targets)}
    return Recognised(
        Status.EDITED,
        branch,
        shared,
        kept,
        tuple(index for index in _after(request, first) if index not in stays),
        shared,
        # After a restart the unedited branch would explain the next answer, too.
        must_store=bool(branch.forms or branch.stored),
    )


def gap(request: Request, branch: Branch) -> Recognised:
    """The originals went out instead of forms. They are what the provider saw last, and stay.

    The gap must be on disk, or after a restart the forms of another branch would be used again.
    """
    newest = request.newest_answer
    return Recognised(
        Status.GAP,
        undecided=_after(request, newest),
        intact=newest,
        must_store=True,
        beside=branch,
    )


def made_from_our_view(branch: Branch, shared: int, newest: int, *, arrived: bool = False) -> bool:
    """True if the model's last answer was made from what was forwarded along this branch.

    A branch that holds the answer itself has been forwarded with the answer in it. Then the answer
    was made from this view, even if a repetition of its request was lost later.
    """
    if shared == newest and arrived and branch.request_within(newest) == newest:
        return True
    return shared > newest or (shared == newest and branch.answered(newest))


def explains(branch: Branch, request: Request, prefixes: Prefixes) -> bool:
    """True if the newest answer was made from this branch, and the client edited items of it.

    Another branch may have more in common with the request: the edited item may have been sent
    before, by a client that then went on otherwise.
    """
    newest = request.newest_answer
    common = branch.shared(prefixes.joined)
    if not branch.answered(newest) or len(branch) <= common:
        return False
    # Other conversations may begin with the same words, and be as long. Answers are their own.
    earlier = {prefixes.first_answer, prefixes.answer_before(newest)} - {0, newest}
    if earlier and not any(branch.holds(index, request.digests[index]) for index in earlier):
        return False
    # If an answer is different, it was made from another branch, unless there were several.
    same_answer = (
        len(branch) <= newest
        or newest in branch.asked_again
        or branch.holds(newest, request.digests[newest])
    )
    return same_answer and not request.by_model[common]


def best_explanation(
    branches: Iterable[Branch], request: Request, prefixes: Prefixes
) -> Branch | None:
    """The branch that explains the newest answer best; None if none does.

    That is one that holds this answer, else the one that has most items in common with the request
    before and behind what the client edited.
    """
    newest = request.newest_answer
    branches = list(branches)
    if any(one.shared(prefixes.joined) >= newest == one.request_within(newest) for one in branches):
        return None  # its own request is known, unedited, and its answer was lost

    def likeness(branch: Branch) -> tuple[bool, int]:
        alike = branch.shared(prefixes.joined) + branch.shared_before(newest, prefixes.joined)
        return branch.holds(newest, request.digests[newest]), alike

    explaining = (one for one in branches if explains(one, request, prefixes))
    return max(explaining, key=likeness, default=None)


def _forms_within(branch: Branch, length: int) -> dict[int, Form]:
    if length >= len(branch):
        return branch.forms.copy()
    return {i: form for i, form in branch.forms.items() if i < length}


def _forms_left(branch: Branch, request: Request, shared: int) -> dict[int, Form]:
    """The forms of the shared part, and of all later items that are the same and can keep theirs.

    A form behind the edit is given up if it points at something that is no longer what it was, and
    behind an answer that is another one: the calls in it may be the ones that a pointer names now.
    """

    def same(index: int) -> bool:
        return branch.holds(index, request.digests[index])

    end = shared
    while end < len(request) and (same(end) or not request.by_model[end]):
        end += 1
    forms = {i: form for i, form in branch.forms.items() if i < shared or (i < end and same(i))}
    behind = sorted(index for index in forms if index >= shared)
    while lost := [i for i in behind if not stands(forms[i], request.digests, forms)]:
        for index in lost:
            del forms[index]
        behind = [index for index in behind if index in forms]
    return forms


def _after(request: Request, first: int) -> tuple[int, ...]:
    """The items from `first` on that the model did not make."""
    return tuple(i for i in range(first, len(request)) if not request.by_model[i])
