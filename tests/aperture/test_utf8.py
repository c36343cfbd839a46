"""What is not UTF-8 goes out as a lenient reader reads it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.aperture import utf8

WINDOW = 1 << 20
BAD = "\N{REPLACEMENT CHARACTER}".encode()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"caf\xe9", b"caf" + BAD),
        (b"\xff\xfe\xc3", BAD * 3),
        (b"\xe2\x82", BAD * 2),  # what begins a character, and does not end it
        (b"\xc0\x80", BAD * 2),  # a NUL in two bytes
        (b"\xf4\x90\x80\x80", BAD * 4),  # above the last code point
        (b"\xed\xa0\x80", rb"\ud800"),
        (b"\xed\xbf\xbf.", rb"\udfff."),
        (b"\xed", BAD),
        (b"\xed\xa0", BAD * 2),
    ],
)
def test_each_byte_that_is_not_utf_8_has_a_stand_in(data: bytes, expected: bytes) -> None:
    assert not utf8.is_utf8(data)
    assert utf8.mended(data) == expected


@given(st.text())
def test_utf_8_stays_as_it_is(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    surrogates = any("\ud800" <= char <= "\udfff" for char in text)
    assert utf8.is_utf8(data) is not surrogates
    if not surrogates:
        assert utf8.mended(data) == data


@given(st.characters(categories=["Cs"]))
def test_half_of_a_pair_is_read_as_the_same_half(half: str) -> None:
    data = b'"a%bb"' % half.encode("utf-8", "surrogatepass")
    assert json.loads(utf8.mended(data) or b"") == f"a{half}b"


@pytest.mark.parametrize("before", range(WINDOW - 8, WINDOW + 1))
def test_steps_do_not_show(before: int) -> None:
    start = b"a" * before
    clean = start + "→🙂".encode()
    assert utf8.is_utf8(clean)
    assert not utf8.is_utf8(clean + b"\xe2")
    data = start + b"\xed\xa0\x80" + "→".encode() + b"\xff"
    assert utf8.mended(data) == start + rb"\ud800" + "→".encode() + BAD


def test_what_is_hardly_text_is_not_mended() -> None:
    assert utf8.mended(b"\xff" * utf8.MAX_MENDED) == BAD * utf8.MAX_MENDED
    assert utf8.mended(b"\xff" * (utf8.MAX_MENDED + 1)) is None
