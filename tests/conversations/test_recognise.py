"""The table of the law of forms, row by row."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tsheadroom.aperture.digests import Names, digest, names_of
from tsheadroom.conversations.branches import Branch, Delivery
from tsheadroom.conversations.forms import Edit, Form, Target
from tsheadroom.conversations.prefixes import Prefixes, Request
from tsheadroom.conversations.recognise import (
    Status,
    edited,
    explains,
    gap,
    made_from_our_view,
    recognise,
)


def request(words: str, *, cached: bool = True, thinks: bool = True) -> Request:
    """A conversation in words: those in capitals are the model's."""
    items = words.split()
    return Request(
        scope=b"",
        digests=Names(names_of(item.encode() for item in items)),
        by_model=bytes(item.isupper() for item in items),
        has_prefix_cache=lambda: cached,
        binds_after=lambda _: thinks,
    )


def form(name: str) -> Form:
    return Form(name.encode().ljust(16), (Edit(("content",), 0, 9, b'"x"'),), (), 7)


def branch(words: str, requests: Sequence[int], forms: Sequence[int] = ()) -> Branch:
    """A line of growth whose requests ended at these lengths."""
    digests = request(words).digests.joined
    made = Branch(digests=bytearray(digests), forms={i: form(f"f{i}") for i in forms})
    made.requests.extend(requests)
    return made


def shared(one: Branch, words: str) -> int:
    return one.shared(Prefixes(request(words)).joined)


@pytest.mark.parametrize(
    ("words", "cached", "status", "undecided"),
    [
        ("a b", True, Status.NEW, (0, 1)),
        ("a B c D e f", True, Status.UNKNOWN, (4, 5)),
        ("a B c", False, Status.UNKNOWN, (0, 2)),
    ],
)
def test_nothing_is_known(
    words: str, cached: bool, status: Status, undecided: tuple[int, ...]
) -> None:
    found = recognise(request(words, cached=cached), None, 0)
    assert found
    assert (found.status, found.undecided, dict(found.forms)) == (status, undecided, {})
    assert found.branch is None


def test_all_of_it_was_asked_before() -> None:
    known = branch("a B c D e", [1, 3, 5], forms=[0, 2, 4])
    found = recognise(request("a B c"), known, 3)
    assert found
    assert (found.status, found.undecided) == (Status.REPEATED, ())
    assert set(found.forms) == {0, 2}  # and none of what came later


@pytest.mark.parametrize(
    ("known", "words", "undecided", "forms"),
    [
        (branch("a", [1], [0]), "a B c", (2,), {0}),  # the next turn
        (branch("a B c", [1, 3], [0, 2]), "a B c d", (3,), {0, 2}),  # no answer between
        (branch("a", [1], [0]), "a b", (1,), {0}),  # no answer yet at all
        (branch("a B c", [1, 3], [0, 2]), "a B d", (2,), {0}),  # back, and on another way
    ],
)
def test_it_goes_on_from_what_was_forwarded(
    known: Branch, words: str, undecided: tuple[int, ...], forms: set[int]
) -> None:
    found = recognise(request(words), known, shared(known, words))
    assert found
    assert (found.status, found.undecided) == (Status.CONTINUED, undecided)
    assert set(found.forms) == forms
    assert found.intact == found.shared


@pytest.mark.parametrize("end", ["lost", "under way", "never asked"])
def test_an_answer_that_was_not_made_from_our_view(end: str) -> None:
    known = branch("a B c", [1, 3], forms=[0, 2])
    if end == "lost":
        known.lost.add(3)
    elif end == "under way":
        known.under_way[3] = Delivery()
    else:
        known = branch("a B c", [1], forms=[0])
    assert recognise(request("a B c D e"), known, 3) is None


def test_an_answer_under_way_counts_as_soon_as_it_arrives() -> None:
    known = branch("a B c", [1, 3])
    known.under_way[3] = delivery = Delivery()
    assert not made_from_our_view(known, 3, 3)
    delivery.arrived = True
    assert made_from_our_view(known, 3, 3)
    assert not known.under_way


def test_a_branch_that_holds_the_answer_was_forwarded_with_it() -> None:
    known = branch("a B c D e", [1, 3, 5])
    known.lost.add(3)  # a repetition of the answered request, later
    assert made_from_our_view(known, 4, 3)


@pytest.mark.parametrize(
    ("thinks", "cached", "undecided"),
    [(True, True, (6,)), (False, True, (2, 6)), (True, False, (2, 6))],
)
def test_the_client_edited_an_item(thinks: bool, cached: bool, undecided: tuple[int, ...]) -> None:
    known = branch("a B c D e", [1, 3, 5], forms=[0, 2, 4])
    now = request("a B edited D e F g", thinks=thinks, cached=cached)
    found = edited(now, Prefixes(now), known)
    assert (found.status, found.shared, found.undecided) == (Status.EDITED, 2, undecided)
    assert set(found.forms) == {0, 4}  # the item behind the edit is the same


def pointing(name: str, item: int, word: str, form_of_target: Form | None) -> Form:
    token = form_of_target.token if form_of_target else b""
    edits = (Edit(("content",), 0, 9, b'"x"'),)
    return Form(name.encode().ljust(16), edits, (Target(item, digest(word.encode()), token),), 7)


def test_behind_an_edit_a_form_stays_only_if_what_it_points_at_does() -> None:
    known = branch("a B c D e F g H i J k", [1, 3, 5, 7, 9, 11])
    known.forms[0] = form("f0")
    known.forms[4] = pointing("f4", 2, "c", None)  # at what is edited
    known.forms[6] = pointing("f6", 4, "e", known.forms[4])  # at what changes for that reason
    known.forms[8] = pointing("f8", 0, "a", known.forms[0])
    known.forms[10] = pointing("f10", 8, "i", known.forms[8])
    now = request("a B edited D e F g H i J k L m", thinks=False)
    found = edited(now, Prefixes(now), known)
    assert {i: found.forms[i] for i in found.forms} == {i: known.forms[i] for i in (0, 8, 10)}
    assert found.undecided == (2, 4, 6, 12)


def test_what_a_form_behind_an_edit_points_at_stays_as_it_is() -> None:
    known = branch("a B c D e F g", [1, 3, 5, 7])
    known.forms[6] = pointing("f6", 4, "e", None)
    now = request("a B edited D e F g H i", thinks=False)
    found = edited(now, Prefixes(now), known)
    assert (set(found.forms), found.undecided) == ({6}, (2, 8))


def test_behind_an_answer_that_is_another_one_no_form_stays() -> None:
    """Pointers name calls, and these are now others."""
    known = branch("a B c D e F g H i", [1, 3, 5, 7, 9], forms=[0, 2, 4, 6, 8])
    now = request("a B edited D e OTHER g H i J k", thinks=False)
    found = edited(now, Prefixes(now), known)
    assert (set(found.forms), found.undecided) == ({0, 4}, (2, 6, 8, 10))


def test_what_moved_to_another_place_is_not_the_same_item() -> None:
    known = branch("a B c D e", [1, 3, 5], forms=[0, 2, 4])
    now = request("a B e D c F g", thinks=False)
    found = edited(now, Prefixes(now), known)
    assert (set(found.forms), found.undecided) == ({0}, (2, 4, 6))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a B edited D e F g", True),
        ("a B edited X e F g", True),  # whatever the older answers are
        ("a B edited D e OTHER g", False),  # another answer: made from another branch
        ("a X c D e F g", False),  # the model's items are not the client's to edit
    ],
)
def test_what_explains_an_answer_by_edits(words: str, expected: bool) -> None:
    known = branch("a B c D e F g", [1, 3, 5, 7])
    now = request(words)
    assert explains(known, now, Prefixes(now)) is expected


def test_a_branch_whose_answer_was_lost_explains_nothing() -> None:
    known = branch("a B c D e", [1, 3, 5])
    now = request("a B edited D e F g")
    assert explains(known, now, Prefixes(now))
    known.lost.add(5)
    assert not explains(known, now, Prefixes(now))


@pytest.mark.parametrize("forms", [[], [0]])
def test_unexplained_answers_are_a_gap(forms: list[int]) -> None:
    found = gap(request("a B c D e F g"), branch("a B c", [1, 3], forms))
    assert (found.status, found.branch, dict(found.forms)) == (Status.GAP, None, {})
    assert found.undecided == (6,)
    assert found.must_store
