"""Who calls, and whether the request is to be left alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.aperture import slices
from tsheadroom.aperture.metadata import (
    MAX_TEXT,
    MAX_URL,
    Metadata,
    read_metadata,
    without_lone_surrogates,
)


def read(metadata: object) -> Metadata:
    data = json.dumps({"metadata": metadata}).encode()
    return read_metadata(data, slices.members(data))


def test_nulls_and_what_is_missing_are_empty() -> None:
    assert read(None) == Metadata()
    assert read({}) == Metadata()
    assert read({"provider": None, "new": {"fields": []}}).provider is None
    assert read_metadata(b"{}", {}) == Metadata()


@pytest.mark.parametrize(
    "raw",
    [
        b'{"metadata":[]}',
        b'{"metadata":{"model":7}}',
        b'{"metadata":{"provider":"\xff"}}',
    ],
)
def test_what_is_no_metadata_is_refused_in_one_way(raw: bytes) -> None:
    where = (raw.index(b":") + 1, len(raw) - 1)
    with pytest.raises(slices.SplitError, match="metadata"):
        read_metadata(raw, {"metadata": where})


@pytest.mark.parametrize(
    ("url", "bypassed"),
    [
        (None, False),
        ("", False),
        ("/v1/messages?tsheadroom=off", True),
        ("/v1/messages?x=1&tsheadroom=BYPASS#tsheadroom", True),
        ("http://ai.example.ts.net/v1/messages?tsheadroom=0", True),
        ("/v1/messages?x=1", False),
        ("/v1/messages?tsheadroom=on", False),
        ("/tsheadroom=off", False),
        ("/v1/messages#?tsheadroom=off", False),
        ("http://[?tsheadroom=off", True),
        ("?tsheadroom=%ff%00&tsheadroom", False),
    ],
)
def test_a_caller_can_bypass_one_request_if_the_query_arrives(
    url: str | None, bypassed: bool
) -> None:
    assert read({"url": url}).bypassed is bypassed


def test_long_texts_are_cut_and_stay_apart() -> None:
    long = "\u00e9" * 1_000_000
    names = ("provider", "model", "session_id", "request_id", "login_name")
    one, other = (read(dict.fromkeys(names, long + end)) for end in ("1", "2"))
    for name in names:
        kept = getattr(one, name)
        assert len(kept) <= MAX_TEXT
        assert long.startswith(kept[:64])
        assert kept != getattr(other, name)
    assert read(dict.fromkeys(names, long + "1")) == one
    as_long_as_may_be = "x" * MAX_TEXT
    assert read({"model": as_long_as_may_be}).model == as_long_as_may_be


def test_a_long_url_is_cut() -> None:
    url = "/v1?tsheadroom=off&" + "&" * 1_000_000
    read_url = read({"url": url})
    assert read_url.url == url[:MAX_URL]
    assert read_url.bypassed


def test_no_field_of_the_metadata_bypasses() -> None:
    assert not read({"tsheadroom": "off"}).bypassed


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (rb'"\ud800"', rb'"\u003f"'),
        (rb'"\uDC00x"', rb'"\u003fx"'),
        (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
        (rb'"\\ud800"', rb'"\\ud800"'),
        (rb'"\\\ud800"', rb'"\\\u003f"'),
        (rb'"\ud83d\ud83d\ude00"', rb'"\u003f\ud83d\ude00"'),
    ],
)
def test_only_lone_surrogates_get_a_stand_in_of_their_length(data: bytes, expected: bytes) -> None:
    assert without_lone_surrogates(data) == expected


@given(st.text(st.characters(codec=None, categories=["Cs", "Ll", "So"]), max_size=30))
def test_no_lone_surrogate_is_left(text: str) -> None:
    data = json.dumps(text).encode()
    fixed = without_lone_surrogates(data)
    assert len(fixed) == len(data)
    json.loads(fixed).encode("utf-8")
