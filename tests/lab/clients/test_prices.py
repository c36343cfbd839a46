"""The bill of a few requests, worked out by hand. The cache's rules are those of the simulation."""

from __future__ import annotations

from scripts.lab.clients import prices
from scripts.lab.clients.apis.parts import Body
from scripts.lab.clients.prefixes import Prefixes
from scripts.lab.clients.prices import READ, Bill
from tests.lab.clients.looping import api

ONE, TWO = "one " * 50, "two " * 90


def prefixes(name: str, *texts: str, marked: bool = False) -> Prefixes:
    """A conversation of these texts, with a breakpoint on the last or none."""
    messages: list[Body] = [
        {"role": "user", "content": [{"type": "text", "text": text}]} for text in texts
    ]
    if marked:
        messages[-1]["content"][0]["cache_control"] = {"type": "ephemeral"}
    return Prefixes(api(name), {"messages": messages})


def size(name: str, text: str) -> int:
    return prices._blocks(prefixes(name, text))[0].tokens


def test_a_text_costs_about_a_token_a_word() -> None:
    assert 50 <= size("anthropic", ONE) <= 60


def test_what_ends_at_a_breakpoint_is_written_and_then_read() -> None:
    bill, one, two = Bill(), size("anthropic", ONE), size("anthropic", TWO)
    bill.add(api("anthropic"), "m", prefixes("anthropic", ONE, marked=True))
    assert bill.price == 1.25 * one
    bill.add(api("anthropic"), "m", prefixes("anthropic", ONE, TWO))
    assert bill.price == 2.25 * one + two  # without a breakpoint nothing is looked for
    before = bill.price
    bill.add(api("anthropic"), "m", prefixes("anthropic", ONE, TWO, marked=True))
    assert bill.price == before + READ * one + 1.25 * two
    assert bill.tokens == 3 * one + 2 * two


def test_another_model_has_another_cache() -> None:
    bill, one = Bill(), size("anthropic", ONE)
    for model in ("m", "another"):
        bill.add(api("anthropic"), model, prefixes("anthropic", ONE, marked=True))
    assert bill.price == 2 * 1.25 * one


def test_elsewhere_any_prefix_is_read() -> None:
    bill, one, two = Bill(), size("chat", ONE), size("chat", TWO)
    bill.add(api("chat"), "m", prefixes("chat", ONE))
    bill.add(api("chat"), "m", prefixes("chat", ONE, TWO))
    assert bill.price == one + READ * one + two
