from __future__ import annotations

import re
from pathlib import Path

import pytest

from tsheadroom.providers.prices import AS_OF, HOUR_S, price_of
from tsheadroom.providers.vendor import Vendor

# vendor, model: read, write, binds thinking; as in the vendors' lists of November 2026
ROWS = [
    (Vendor.ANTHROPIC, "claude-sonnet-4-5-20250929", 0.1, 1.25, False),
    (Vendor.ANTHROPIC, "claude-fable-5-1", 0.025, 1.25, True),
    (Vendor.ANTHROPIC, "claude-mythos-5.1", 0.025, 1.25, True),
    (Vendor.ANTHROPIC, "claude-fable-5", 0.1, 1.25, False),
    (Vendor.ANTHROPIC, "claude-mythos-5-20260601", 0.1, 1.25, False),
    (Vendor.ANTHROPIC, "claude-fable-5-10", 0.1, 1.25, False),
    (Vendor.ANTHROPIC, "claude-opus-5-5", 0.05, 1.25, True),
    (Vendor.ANTHROPIC, "claude-opus-5", 0.1, 1.25, False),
    (Vendor.ANTHROPIC, "claude-haiku-5-5", 0.1, 1.25, True),
    (Vendor.ANTHROPIC, "eu.anthropic.claude-sonnet-5-5-v1:0", 0.05, 1.25, True),
    (Vendor.ANTHROPIC, "claude-opus-4-1@20250805", 0.1, 1.25, False),
    (Vendor.ANTHROPIC, "sonnet-5-5", 0.05, 1.25, True),
    (Vendor.GOOGLE, "gemini-2.5-pro", 0.1, 1.0, False),
    (Vendor.GOOGLE, "models/gemini-3-pro", 0.1, 1.0, False),
    (Vendor.GOOGLE, "gemini-1.5-flash", 0.25, 1.0, False),
    (Vendor.OPENAI, "gpt-4o-mini", 0.5, 1.0, False),
    (Vendor.OPENAI, "gpt-5.6", 0.1, 1.25, False),
    (Vendor.OPENAI, "openai/gpt-6.1-sol", 0.1, 1.25, False),
    (Vendor.OPENAI, "gpt-5-codex", 0.1, 1.0, False),
]


@pytest.mark.parametrize(("vendor", "model", "read", "write", "binds"), ROWS)
def test_rows(vendor: Vendor, model: str, read: float, write: float, binds: bool) -> None:
    price = price_of(vendor, model)
    assert price
    assert (price.read, price.write, price.binds_thinking) == (read, write, binds)
    assert price.explicit is (vendor is Vendor.ANTHROPIC)


@pytest.mark.parametrize(
    ("vendor", "model"),
    [
        (Vendor.UNKNOWN, ""),
        (Vendor.UNKNOWN, "claude-opus-4"),
        (Vendor.ANTHROPIC, "gpt-5"),
        (Vendor.ANTHROPIC, "house-model"),
        (Vendor.OPENAI, "claude-opus-4"),
        (Vendor.OPENAI, "gpt-4-1106-preview"),
        (Vendor.OPENAI, "pro1"),
    ],
)
def test_what_is_not_known_has_no_price(vendor: Vendor, model: str) -> None:
    assert price_of(vendor, model) is None


@pytest.mark.parametrize(
    ("model", "window"),
    [("claude-opus-4-6", 200_000), ("claude-opus-5", 1_000_000), ("claude-haiku-5-5", 1_000_000)],
)
def test_windows(model: str, window: int) -> None:
    price = price_of(Vendor.ANTHROPIC, model)
    assert price
    assert price.window == window


def test_without_breakpoints_nothing_is_cached() -> None:
    price = price_of(Vendor.ANTHROPIC, "claude-opus-4")
    assert price
    bare = price.of_request(breakpoints=False, hour=False)
    assert (bare.read, bare.write) == (1.0, 1.0)
    assert price.of_request(breakpoints=True, hour=False) == price


def test_entries_may_be_asked_to_live_for_an_hour() -> None:
    price = price_of(Vendor.ANTHROPIC, "claude-opus-4")
    assert price
    hour = price.of_request(breakpoints=True, hour=True)
    assert (hour.read, hour.write, hour.ttl_s) == (0.1, 2.0, HOUR_S)


def test_automatic_caches_do_not_depend_on_the_request() -> None:
    price = price_of(Vendor.OPENAI, "gpt-5")
    assert price
    assert price.of_request(breakpoints=False, hour=True) == price
    assert price.ttl_s == HOUR_S


def test_the_page_has_the_table_in_use() -> None:
    page = (Path(__file__).parents[2] / "docs" / "prompt-cache.md").read_text()
    assert f"as of **{AS_OF}**" in page
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in page.splitlines()
        if re.match(r"\| (?:Anthropic|OpenAI|Google) \|", line)
    ]
    assert len(rows) == 10
    for vendor, models, read, write, gone, cached, binds in rows:
        for model in models.split(", "):
            price = price_of(Vendor(vendor.lower()), model)
            assert price, model
            assert (price.read, price.write) == (float(read), float(write)), model
            assert price.ttl_s == {"5 min": 300.0, "1 h": 3600.0}[gone]
            assert price.explicit is cached.startswith("breakpoints")
            assert price.binds_thinking is (binds == "yes")
