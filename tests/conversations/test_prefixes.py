"""The names of a request's prefixes, beside names that are made one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.aperture.digests import DIGEST_BYTES, Names, names_of
from tsheadroom.conversations.prefixes import Prefixes, Request, name_of


def request(made: list[bool]) -> Request:
    names = names_of(str(at).encode() for at in range(len(made)))
    return Request(b"scope", Names(names), bytes(made))


@given(st.lists(st.booleans(), max_size=12), st.booleans())
def test_each_prefix_that_can_have_been_a_request_is_named(made: list[bool], all_now: bool) -> None:
    asked = request(made)
    prefixes = Prefixes(asked, all_now=all_now)
    answers = [at for at in range(1, len(made)) if made[at] and not made[at - 1]]
    last = max((at for at, by_model in enumerate(made) if by_model), default=0)
    lengths = sorted({*answers, *range(last + 1, len(made)), len(made)}, reverse=True)
    named = [(n, name_of(b"scope", asked.digests.joined[: n * DIGEST_BYTES])) for n in lengths]
    for _ in range(2):  # the earlier ones are made when they are first asked for
        assert list(prefixes.longest_first()) == named
    assert prefixes.whole == named[0][1]
    assert all(prefixes.of(length) == name for length, name in named)
    for length in range(len(made) + 1):
        assert prefixes.longer_than(length) == [name for n, name in named if n > length]
        before = [at for at in answers if at < length]
        assert prefixes.answer_before(length) == max(before, default=0)
    assert prefixes.first_answer == min(answers, default=0)
    assert prefixes.newest_answer == asked.newest_answer == max(answers, default=0)


def test_a_length_that_was_no_request_has_a_name_too() -> None:
    asked = request([False, True, True, False])
    prefixes = Prefixes(asked)
    assert prefixes.of(2) == name_of(b"scope", asked.digests.joined[: 2 * DIGEST_BYTES])
    assert [length for length, _ in prefixes.longest_first()] == [4, 3, 1]
