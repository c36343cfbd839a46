"""Which forms belong to a part of a conversation."""

from __future__ import annotations

import pytest

from tsheadroom.conversations.forms import Edit, Form, of_items


def form(number: int) -> Form:
    return Form(b"%d" % number, (Edit(("content",), 0, 9, b'"x"'),), (), 1)


@pytest.mark.parametrize(("first", "end"), [(0, 0), (0, 100), (10, 12), (8, 80), (97, 100)])
def test_the_forms_of_some_items(first: int, end: int) -> None:
    """Whether the items are fewer or the forms, and in whatever order these came."""
    forms = {number: form(number) for number in (98, *range(0, 60, 3), 11)}
    wanted = {number: form(number) for number in forms if first <= number < end}
    assert of_items(forms, first, end) == wanted
