from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.aperture import slices as split

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
spellings: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"separators": (",", ":")},
        {"separators": (" , ", " :\t"), "ensure_ascii": True},
        {"indent": 2},
        {"indent": "\t", "sort_keys": True},
    ]
)


def spell(value: object, how: dict[str, Any]) -> bytes:
    return json.dumps(value, **{"ensure_ascii": False, **how}).encode("utf-8", "surrogatepass")


def is_clean(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@given(st.dictionaries(st.text(), json_values, max_size=6).filter(is_clean), spellings)
def test_members_finds_every_value_of_any_object(
    value: dict[str, object], how: dict[str, Any]
) -> None:
    data = b" " + spell(value, how) + b"\n"
    found = split.members(data)
    assert {name: json.loads(data[a:b]) for name, (a, b) in found.items()} == value


@given(st.lists(json_values, max_size=6).filter(is_clean), spellings)
def test_elements_finds_every_value_of_any_array(value: list[object], how: dict[str, Any]) -> None:
    data = spell(value, how)
    assert [json.loads(data[a:b]) for a, b in split.elements(data)] == value


def test_spans_are_offsets_into_the_whole_data() -> None:
    data = b'{"a": [1, {"b" : "x"}]}'
    inner = split.elements(data, split.members(data)["a"])[1]
    start, end = split.members(data, inner)["b"]
    assert data[start:end] == b'"x"'


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"b":2,"a":3}',
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b"{",
        b"[1]",
        b'{"a":NaN}',
        b'{"a":1}x',
        b"",
        b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ],
)
def test_members_refuses_what_has_more_than_one_reading(data: bytes) -> None:
    with pytest.raises(split.SplitError):
        split.members(data)


def test_a_value_is_found_by_its_path() -> None:
    data = b'{"role":"user","content":[{"x":1},{"content":[{"type":"text","text":"hi"}]}]}'
    places = split.Places(data)
    span = places.find(("content", 1, "content", 0, "text"))
    assert span is not None
    assert data[slice(*span)] == b'"hi"'
    for nowhere in (("content", 2, "text"), ("nothing",), ("content", "x"), ("role", 0), (0,)):
        assert places.find(nowhere) is None
    span = places.find(("content", 0, "x"))
    assert span is not None
    assert data[slice(*span)] == b"1"
