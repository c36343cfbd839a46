"""A provider's bill, worked out by hand for a few requests."""

from __future__ import annotations

from scripts.lab.clients import prices
from scripts.lab.clients.apis.parts import Body
from scripts.lab.clients.prefixes import Prefixes
from scripts.lab.clients.prices import READ, Bill
from tests.lab.clients.looping import api

MARK = {"cache_control": {"type": "ephemeral"}}


def message(text: str, **members: object) -> Body:
    return {"role": "user", "content": [{"type": "text", "text": text, **members}]}


def prefixes(name: str, *messages: Body) -> Prefixes:
    return Prefixes(api(name), {"messages": list(messages)})


def size(one: Body) -> int:
    return prices._tokens(prefixes("anthropic", one).units[0])


def test_what_ends_at_a_breakpoint_is_written_and_then_read() -> None:
    bill, one, two = Bill(), message("one " * 50, **MARK), message("two " * 90)
    bill.add(api("anthropic"), "m", prefixes("anthropic", one, two))
    assert bill.price == 1.25 * size(one) + size(two)
    bill.add(api("anthropic"), "m", prefixes("anthropic", message("one " * 50), two))
    # Without a breakpoint nothing is looked for.
    assert bill.price == 2.25 * size(one) + 2 * size(two)
    before = bill.price
    bill.add(
        api("anthropic"), "m", prefixes("anthropic", message("one " * 50), message("x", **MARK))
    )
    assert bill.price == before + READ * size(one) + 1.25 * size(message("x"))


def test_an_hour_costs_more_and_another_model_has_another_cache() -> None:
    hour = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    bill, one = Bill(), message("one " * 50, **hour)
    bill.add(api("anthropic"), "m", prefixes("anthropic", one))
    assert bill.price == 2 * size(one)
    bill.add(api("anthropic"), "another", prefixes("anthropic", one))
    assert bill.price == 4 * size(one)


def test_a_breakpoint_looks_back_only_so_far() -> None:
    bill = Bill()
    first = [message("first", **MARK)]
    bill.add(api("anthropic"), "m", prefixes("anthropic", *first))
    paid = bill.price
    near = [message("first"), *(message(str(n)) for n in range(prices.LOOKBACK - 1))]
    bill.add(api("anthropic"), "m", prefixes("anthropic", *near, message("last", **MARK)))
    read = READ * size(first[0])
    assert bill.price - paid < 1.25 * sum(map(size, [*near, message("last")])) - 1 + read
    far = Bill()
    far.add(api("anthropic"), "m", prefixes("anthropic", *first))
    far.add(
        api("anthropic"),
        "m",
        prefixes("anthropic", *near, message("one more"), message("last", **MARK)),
    )
    everything = [*first, *near, message("one more"), message("last")]
    assert far.price == 1.25 * sum(map(size, everything))


def test_elsewhere_any_prefix_is_read() -> None:
    bill, one, two = Bill(), message("one " * 50), message("two " * 90)
    bill.add(api("chat"), "m", prefixes("chat", one))
    bill.add(api("chat"), "m", prefixes("chat", one, two))
    sizes = [prices._tokens(unit) for unit in prefixes("chat", one, two).units]
    assert bill.price == sizes[0] + READ * sizes[0] + sizes[1]
    assert bill.tokens == 2 * sizes[0] + sizes[1]
