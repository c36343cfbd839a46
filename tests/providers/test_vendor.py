"""Whose model a call goes to: by its name, and by what bills tell."""

from __future__ import annotations

import pytest

from tsheadroom.providers import vendor as module
from tsheadroom.providers.vendor import KnownModel, Vendor, Vendors

SONNET = KnownModel(Vendor.ANTHROPIC, "claude-sonnet-4-6")


@pytest.mark.parametrize("provider", ["corp", "private", "claude-prod", "openai", ""])
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-sonnet-5-5", Vendor.ANTHROPIC),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Vendor.ANTHROPIC),
        ("anthropic/claude-opus-5.5", Vendor.ANTHROPIC),
        ("publishers/anthropic/models/claude-opus-4-1@20250805", Vendor.ANTHROPIC),
        ("Claude-Opus", Vendor.ANTHROPIC),
        ("sonnet-5-5", Vendor.ANTHROPIC),
        ("gpt-5.6", Vendor.OPENAI),
        ("openai/gpt-6", Vendor.OPENAI),
        ("chatgpt-4o-latest", Vendor.OPENAI),
        ("o3-mini", Vendor.OPENAI),
        ("codex-mini-latest", Vendor.OPENAI),
        ("prod-gpt-4o", Vendor.OPENAI),
        ("ft:gpt-4o:acme:claude-like", Vendor.OPENAI),
        ("gemini-3-pro", Vendor.GOOGLE),
        ("models/gemini-2.5", Vendor.GOOGLE),
        ("gpt-oss-120b", Vendor.UNKNOWN),  # anybody may serve it
        ("llama-4", Vendor.UNKNOWN),
        ("kilo3", Vendor.UNKNOWN),
        ("house-model", Vendor.UNKNOWN),
        ("", Vendor.UNKNOWN),
    ],
)
def test_a_models_name_tells_its_vendor_and_the_providers_does_not(
    provider: str, model: str, expected: Vendor
) -> None:
    known = Vendors().of(provider, model, "messages")
    assert known == KnownModel(expected, model.lower())
    assert known.by_anthropic is (expected is Vendor.ANTHROPIC)


def test_a_familys_name_alone_counts_in_a_body_of_that_vendors_shape_only() -> None:
    assert Vendors().of("corp", "opus-5-5", "messages").by_anthropic
    assert not Vendors().of("corp", "opus-5-5", "input").by_anthropic
    assert not Vendors().of("corp", "opus-mt", "messages").by_anthropic


@pytest.mark.parametrize(
    ("basis", "expected"),
    [
        ("anthropic/claude-sonnet-4-6", SONNET),
        ("bedrock-us/claude-sonnet-4-6", SONNET),
        ("vertex/claude-sonnet-4-6", SONNET),
        ("corp/claude-sonnet-4-6", SONNET),
        ("claude-sonnet-4-6", SONNET),
        (
            "openrouter/Anthropic/Claude-Sonnet-4.6",
            KnownModel(Vendor.ANTHROPIC, "anthropic/claude-sonnet-4.6"),
        ),
        ("azure/gpt-5.6", KnownModel(Vendor.OPENAI, "gpt-5.6")),
        ("google/text-9", KnownModel(Vendor.GOOGLE, "text-9")),
        ("groq/llama-4", KnownModel(Vendor.UNKNOWN, "fast")),
        ("", KnownModel(Vendor.UNKNOWN, "fast")),
        ("/", KnownModel(Vendor.UNKNOWN, "fast")),
    ],
)
def test_a_bill_tells_what_an_alias_stands_for(basis: str, expected: KnownModel) -> None:
    vendors = Vendors()
    vendors.learn("corp", "fast", basis)
    assert vendors.of("corp", "fast", "messages") == expected
    assert vendors.of("other", "fast", "messages").vendor is Vendor.UNKNOWN


def test_a_provider_that_is_one_vendors_tells_of_its_other_models() -> None:
    vendors = Vendors()
    vendors.learn("corp", "fast", "anthropic/claude-haiku-5-5")
    assert vendors.of("corp", "new", "messages") == KnownModel(Vendor.ANTHROPIC, "new")
    assert vendors.of("corp", "gpt-5", "messages").vendor is Vendor.OPENAI


@pytest.mark.parametrize("second", ["openai/gpt-5", "openrouter/x/y", "bedrock/claude-opus-5"])
def test_a_provider_of_several_vendors_tells_nothing(second: str) -> None:
    vendors = Vendors()
    for basis in ("anthropic/claude-haiku-5-5", second, "anthropic/claude-haiku-5-5"):
        vendors.learn("corp", "fast", basis)
    assert vendors.of("corp", "new", "messages").vendor is Vendor.UNKNOWN
    assert vendors.of("corp", "fast", "messages").by_anthropic


def test_what_is_learnt_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LEARNT", 3)
    vendors = Vendors()
    for number in range(9):
        vendors.learn(f"{number}" + "p" * 10_000, "m" * 10_000, "anthropic/" + "x" * 10_000)
    assert (len(vendors._models), len(vendors._providers)) == (3, 3)
    known = vendors.of("8" + "p" * 10_000, "m" * 10_000, "messages")
    assert known.by_anthropic
    assert len(known.name) < 300
