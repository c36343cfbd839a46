from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.aperture.test_slices import is_clean, json_values, spell, spellings
from tsheadroom.aperture import walk as walks
from tsheadroom.aperture.walk import MAX_DEPTH, SplitError, Walk

RAW = msgspec.json.Decoder(msgspec.Raw)


def goes_through(data: bytes) -> bool:
    try:
        walk = Walk(data)
        walk.skip()
        walk.finish()
    except SplitError:
        return False
    return True


@given(json_values.filter(is_clean), spellings)
def test_any_value_is_walked_past(value: object, how: dict[str, object]) -> None:
    data = spell(value, how)
    walk = Walk(b" " + data + b" ,")
    start, end = walk.skip()
    assert walk.data[start:end] == data


@given(
    st.lists(st.sampled_from([*'{}[]:, "\\u0x1e-.tfn', "true", '"a"', '\\"', "\n"]), max_size=12)
)
def test_it_takes_what_msgspec_takes(pieces: list[str]) -> None:
    data = "".join(pieces).encode()
    try:
        RAW.decode(data)
    except msgspec.MsgspecError:
        assert not goes_through(data)
    else:
        assert goes_through(data)


@pytest.mark.parametrize("text", [b"\xff", rb"\ud800", b"\xed\xa0\x80"])
def test_it_takes_text_that_is_no_utf_8(text: bytes) -> None:
    assert goes_through(b'{"' + text + b'":["' + text + b'"]}')


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_it_goes_as_deep_as_aperture_does(opening: bytes) -> None:
    closing = {b"[": b"]"}.get(opening, b"}")

    def deep(levels: int) -> bytes:
        return opening * levels + b"1" + closing * levels

    assert goes_through(deep(MAX_DEPTH))
    assert not goes_through(deep(MAX_DEPTH + 2))


def test_what_is_longer_than_a_window_is_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "WINDOW", 7)
    value = {"key that is longer": ["text\n" * 9, " ", 12, {"a": [[], {}]}], "b": None}
    for data in (json.dumps(value).encode(), json.dumps(value, indent=9).encode()):
        assert goes_through(data)
        assert not goes_through(data[:-1])


def test_the_number_of_values_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "MAX_STEPS", 50)
    assert goes_through(b"[" + b"[[]]," * 20 + b"1]")
    assert not goes_through(b"[" + b"[[]]," * 40 + b"1]")
