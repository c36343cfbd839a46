from __future__ import annotations

import re
from pathlib import Path

import pytest

from tsheadroom.providers.prices import AS_OF, HOUR_S, price_of

# provider, model: read, write, binds thinking; as in the providers' lists of November 2026
ROWS = [
    ("anthropic", "claude-sonnet-4-5-20250929", 0.1, 1.25, False),
    ("anthropic", "claude-fable-5-1", 0.025, 1.25, True),
    ("anthropic", "claude-mythos-5.1", 0.025, 1.25, True),
    ("anthropic", "claude-opus-5-5", 0.05, 1.25, True),
    ("anthropic", "claude-haiku-5-5", 0.1, 1.25, True),
    ("bedrock-eu", "eu.anthropic.claude-sonnet-5-5-v1:0", 0.05, 1.25, True),
    ("vertex", "claude-opus-4-1@20250805", 0.1, 1.25, False),
    ("vertex", "gemini-2.5-pro", 0.1, 1.0, False),
    ("OpenAI", "gpt-4o-mini", 0.5, 1.0, False),
    ("openai", "gpt-5.6", 0.1, 1.25, False),
    ("openai", "gpt-5-codex", 0.1, 1.0, False),
]


@pytest.mark.parametrize(("provider", "model", "read", "write", "binds"), ROWS)
def test_rows(provider: str, model: str, read: float, write: float, binds: bool) -> None:
    price = price_of(provider, model)
    assert price
    assert (price.read, price.write, price.binds_thinking) == (read, write, binds)
    assert price.explicit is ("claude" in model)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("", ""),
        ("anthropic", "gpt-5"),
        ("openai", "claude-opus-4"),
        ("groq", "llama-4"),
        ("", "claude"),
    ],
)
def test_what_is_not_known_has_no_price(provider: str, model: str) -> None:
    assert price_of(provider, model) is None


def test_without_breakpoints_nothing_is_cached() -> None:
    price = price_of("anthropic", "claude-opus-4")
    assert price
    bare = price.of_request(breakpoints=False, hour=False)
    assert (bare.read, bare.write) == (1.0, 1.0)
    assert price.of_request(breakpoints=True, hour=False) == price


def test_entries_may_be_asked_to_live_for_an_hour() -> None:
    price = price_of("anthropic", "claude-opus-4")
    assert price
    hour = price.of_request(breakpoints=True, hour=True)
    assert (hour.read, hour.write, hour.ttl_s) == (0.1, 2.0, HOUR_S)


def test_automatic_caches_do_not_depend_on_the_request() -> None:
    price = price_of("openai", "gpt-5")
    assert price
    assert price.of_request(breakpoints=False, hour=True) == price
    assert price.ttl_s == HOUR_S


def test_the_page_has_the_table_in_use() -> None:
    page = (Path(__file__).parents[2] / "docs" / "prompt-cache.md").read_text()
    assert f"as of **{AS_OF}**" in page
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in page.splitlines()
        if re.match(r"\| (?:Anthropic|OpenAI|Google), ", line)
    ]
    assert len(rows) == 10
    for provider, models, read, write, gone, cached, binds in rows:
        for model in models.split(", "):
            price = price_of(provider.split(",")[0], model)
            assert price, model
            assert (price.read, price.write) == (float(read), float(write)), model
            assert price.ttl_s == {"5 min": 300.0, "1 h": 3600.0}[gone]
            assert price.explicit is cached.startswith("breakpoints")
            assert price.binds_thinking is (binds == "yes")
