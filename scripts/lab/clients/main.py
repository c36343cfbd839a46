"""Runs real coding agents against the hook, judges what came out, and prints a table.

usage: scripts/clients --install [DIR]
       scripts/clients [--clients DIR] [--only NAME ...] [--record DIR] [--config FILE] [--json]
       scripts/clients --replay DIR [--only NAME ...] [--config FILE] [--json]

Each client follows the same plan: it looks around in a small project, changes it, runs its tools.
A provider whose model is a script answers, a gateway that stands in for Aperture asks the daemon,
all in a network namespace with nothing but a loopback device. This needs Linux, and root where
users may not make namespaces.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from scripts.lab.clients import installing, isolation, records, report
from scripts.lab.clients.agents import CLIENTS, Client
from scripts.lab.clients.errors import ClientsFailed
from scripts.lab.clients.judge import Judge, Verdict
from scripts.lab.clients.model import shows_file
from scripts.lab.clients.records import Record
from scripts.lab.clients.replaying import replay
from scripts.lab.clients.running import run
from scripts.lab.daemon import Daemon, short_directory
from tsheadroom.child import environment

_NAMES = [client.name for client in CLIENTS]


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/clients",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--install",
        nargs="?",
        const=installing.DEFAULT,
        type=Path,
        metavar="DIR",
        help="install the clients with npm (1.4 GB) and end (default: .build/clients)",
    )
    parser.add_argument(
        "--clients",
        type=Path,
        default=installing.DEFAULT,
        metavar="DIR",
        help="where they are installed",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=_NAMES,
        metavar="NAME",
        help=f"one of: {', '.join(_NAMES)} (default: all)",
    )
    parser.add_argument(
        "--record", type=Path, metavar="DIR", help="keep what was sent and forwarded there"
    )
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="DIR",
        help="send what --record kept through the hook again, without the clients",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the daemon's settings")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    return parser.parse_args(words)


def main() -> None:
    """Run the command."""
    arguments = parse()
    try:
        if arguments.install:
            installing.install(arguments.install.resolve())
            return
        chosen = [c for c in CLIENTS if c.name in (arguments.only or _NAMES)]
        if not arguments.replay:
            _check_installed(chosen, arguments.clients)
            isolation.enter()
        environment.apply()
        verdicts = asyncio.run(_measure(chosen, arguments))
    except ClientsFailed as error:
        sys.exit(f"scripts/clients: {error}")
    if arguments.json:
        print(json.dumps({name: verdict.row() for name, verdict in verdicts.items()}, indent=1))
    else:
        report.show(verdicts)
    sys.exit(any(verdict.wrong for verdict in verdicts.values()))


def _check_installed(chosen: list[Client], packages: Path) -> None:
    for client in chosen:
        installing.program(packages, client.program, client.package)


async def _measure(chosen: list[Client], arguments: argparse.Namespace) -> dict[str, Verdict]:
    """Run or replay the clients, one after the other, and judge each."""
    options = ["--config", str(arguments.config.resolve())] if arguments.config else []
    verdicts: dict[str, Verdict] = {}
    with Daemon(*options) as daemon:
        hook = f"http://{daemon.address}"
        for client in chosen:
            print(f"\r\033[K{client.name} ...", end="", file=sys.stderr, flush=True)
            kept = await _records(client, arguments, hook)
            if arguments.record:
                records.write(arguments.record / f"{client.name}{records.SUFFIX}", kept)
            verdicts[_title(client, arguments.clients)] = judged(kept)
    print("\r\033[K", end="", file=sys.stderr)
    return verdicts


async def _records(client: Client, arguments: argparse.Namespace, hook: str) -> list[Record]:
    if not arguments.replay:
        scratch = short_directory("clients-")
        with contextlib.ExitStack() as parts:
            parts.callback(shutil.rmtree, scratch, ignore_errors=True)
            return await run(client, arguments.clients.resolve(), hook, scratch)
    path = arguments.replay / f"{client.name}{records.SUFFIX}"
    try:
        return await replay(records.read(path), hook)
    except (OSError, TypeError, ValueError) as error:
        raise ClientsFailed(f"{path} cannot be replayed: {error}") from None


def judged(kept: Iterable[Record]) -> Verdict:
    """The verdict on the records of one client."""
    judge = Judge(shows_file)
    for record in kept:
        judge.take(record)
    return judge.verdict()


def _title(client: Client, packages: Path) -> str:
    """The client as the table names it."""
    version = installing.version(packages, client.package)
    return " ".join(word for word in (client.title, version, client.mode) if word)
