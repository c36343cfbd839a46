"""Replays recorded conversations through the daemon's own parts, without sockets, and prices them.

usage: scripts/simulate TRACE... [--policy NAME ...] [--modern] [--ttl S] [--plot FILE.svg] [--json]

A trace is JSON lines: a header object, then messages with role and content (Anthropic Messages).
Each turn is sent as Claude Code would (breakpoints on the system prompt and the last two user
messages), forwarded as the policy says, and billed by a model of the provider's prompt cache.
Prices are relative to forwarding every conversation as it is. Tokens are bytes/4, and o200k
beside it for what is sent in the last request of each conversation.

Every turn finds the cache warm, unless --ttl gives its entries' life: then the traces' own times
count (`at` of an assistant message), and only then has "rewrite cold" anything to do.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from scripts.lab import prompt_cache, traffic
from scripts.lab.policies import POLICIES, USUAL
from scripts.lab.price_plot import plot
from scripts.lab.prompt_cache import TABLES, Bill, percent
from tsheadroom.child import environment


def simulate(arguments: argparse.Namespace) -> dict[str, dict[str, Bill]]:
    """Price all traces: policy -> trace -> bill. "as it is" is always there, to compare with."""
    names = list(dict.fromkeys(["as it is", *(arguments.policy or USUAL)]))
    results: dict[str, dict[str, Bill]] = {}
    for name in names:
        policy = POLICIES[name]()
        results[name] = {}
        for path in arguments.traces:
            results[name][path.stem] = prompt_cache.bill(
                path, policy, as_modern=arguments.modern, ttl=arguments.ttl
            )
            print(f"\r{name}: {path.stem}\033[K", end="", file=sys.stderr, flush=True)
    print("\r\033[K", end="", file=sys.stderr)
    return results


def table(results: dict[str, dict[str, Bill]]) -> list[dict[str, Any]]:
    """A row for each policy; prices and tokens in percent of forwarding as it is."""
    return [_row(name, bills, results["as it is"]) for name, bills in results.items()]


def _row(policy: str, bills: dict[str, Bill], base: dict[str, Bill]) -> dict[str, Any]:
    def share(what: Callable[[Bill], float]) -> float:
        return percent(sum(map(what, bills.values())), sum(map(what, base.values())))

    prices = {name: share(partial(_cost, name)) for name in TABLES}
    by_conversation = {
        trace: percent(bill.cost["anthropic"], base[trace].cost["anthropic"])
        for trace, bill in bills.items()
    }
    return {
        "policy": policy,
        **prices,
        "tokens": share(lambda bill: bill.tokens),
        "o200k": share(_last_o200k),
        "worst": max(by_conversation.values()),
        "broken": sum(bill.broken for bill in bills.values()),
        "dangling": sum(bill.dangling for bill in bills.values()),
        "by conversation": by_conversation,
    }


def _cost(table: str, bill: Bill) -> float:
    return bill.cost[table]


def _last_o200k(bill: Bill) -> int:
    """Real tokens of a conversation's last request."""
    texts = prompt_cache.blocks(bill.last) if bill.last else ()
    return sum(traffic.count_tokens(text) for text, _ in texts)


def show(rows: list[dict[str, Any]]) -> None:
    """The rows, for people."""
    columns = [name for name in rows[0] if name not in ("policy", "by conversation")]
    print(f"{'policy':32}" + "".join(f"{name:>12}" for name in columns))
    for row in rows:
        print(f"{row['policy']:32}" + "".join(f"{row[name]:>12}" for name in columns))
    print("\nby conversation, anthropic:")
    traces = list(rows[0]["by conversation"])
    print(f"{'':32}" + "".join(f"{trace[:14]:>16}" for trace in traces))
    for row in rows:
        print(f"{row['policy']:32}" + "".join(f"{row['by conversation'][t]:>16}" for t in traces))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("traces", nargs="+", type=Path)
    names = f"one of: {', '.join(POLICIES)}\n(default: {', '.join(USUAL)})"
    parser.add_argument("--policy", action="append", choices=POLICIES, metavar="NAME", help=names)
    fewer = "as newer clients send it: fewer echoes"
    parser.add_argument("--modern", action="store_true", help=fewer)
    life = "seconds after which an unused cache entry is gone (default: never)"
    parser.add_argument("--ttl", type=float, default=0.0, metavar="S", help=life)
    parser.add_argument("--plot", type=Path, help="write the cumulative price by turn as SVG")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    return parser.parse_args()


def main() -> None:
    """Run the command."""
    arguments = parse()
    environment.apply()
    results = simulate(arguments)
    rows = table(results)
    if arguments.json:
        print(json.dumps(rows, indent=1))
    else:
        show(rows)
    if arguments.plot:
        arguments.plot.write_text(plot(results), "utf-8")
