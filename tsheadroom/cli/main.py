"""The commands: `tsheadroom serve` and `tsheadroom status`, one thin function each."""

from __future__ import annotations

import asyncio
import logging
import sys
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tsheadroom import __version__
from tsheadroom.child import system
from tsheadroom.cli.ask import ask
from tsheadroom.cli.options import (
    GoSpellings,
    address,
    default_body_memory,
    default_state_dir,
    duration,
    option,
    size,
    take_authkey,
    timeout,
)
from tsheadroom.errors import TsheadroomError
from tsheadroom.telemetry import logs
from tsheadroom.web.access import DEFAULT_CAPABILITY

if TYPE_CHECKING:
    from tsheadroom.daemon import Options

log = logging.getLogger(__name__)

_state_dir = option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state_dir,
    show_default="$STATE_DIRECTORY or ~/.local/state/tsheadroom",
    help="Directory of the node's keys and of what was forwarded; one daemon a directory.",
)


def _version() -> str:
    try:
        return f"{__version__} (headroom-ai {metadata.version('headroom-ai')})"
    except metadata.PackageNotFoundError:
        return f"{__version__} (no headroom-ai beside it)"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(_version(), message="tsheadroom %(version)s")
def main() -> None:
    """Compress LLM conversations for Aperture, as a node of the tailnet."""


@main.command(cls=GoSpellings, short_help="Serve the hook.")
@option("--hostname", default="tsheadroom", help="Name of the node on the tailnet.")
@option("--addr", type=address, default=":80", help="Address to listen on, on the tailnet.")
@_state_dir
@option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="tsheadroom.config.json",
    help="The settings file. It is read at start and on SIGHUP.",
)
@option(
    "--local-addr",
    type=address,
    help="Serve plain HTTP on this address instead of the tailnet, for tests.",
)
@option("-v", "--verbose", is_flag=True, help="Print a line for each request on stdout.")
@option("--pool-size", type=click.IntRange(1, 256), default=8, help="Number of workers.")
@option(
    "--max-compress",
    type=timeout,
    default="60s",
    help="Kill a worker when a call takes longer than this.",
)
@option(
    "--deadline",
    type=timeout,
    default="4s",
    help="Answer after this time even if the worker has not replied. Keep it below the hook's"
    " timeout in Aperture.",
)
@option(
    "--drain",
    type=duration,
    default="5s",
    help="On SIGTERM, how long to wait for open requests.",
)
@option(
    "--python",
    default=sys.executable,
    show_default="this one",
    help="Python interpreter of the workers. It needs headroom-ai and nothing else.",
)
@option("--no-affinity", is_flag=True, help="Give a conversation to any worker, not to its own.")
@option(
    "--gzip-response/--no-gzip-response",
    default=True,
    help="Compress answers for callers that accept gzip.",
)
@option(
    "--accept-compressed/--no-accept-compressed",
    default=True,
    help="Tell Aperture that it may compress requests (zstd, gzip).",
)
@option(
    "--unsupported-encoding",
    type=click.Choice(["reject", "allow"]),
    default="reject",
    help="What to answer to a request in another coding: 415, or 200 and allow.",
)
@option("--control-url", help="URL of the control server, if it is not Tailscale's.")
@option(
    "--decision-memory",
    type=size,
    default="256MiB",
    help="Memory for conversations. Older ones are read back from the state directory.",
)
@option(
    "--body-memory",
    type=size,
    default=default_body_memory,
    show_default="a quarter of the memory, 128MiB to 512MiB",
    help="Memory for all request bodies and answers in flight. Who finds none waits, and is let"
    " through as it came at the deadline.",
)
@option(
    "--no-history",
    is_flag=True,
    help="Keep what was forwarded in memory only. A restart then breaks the prompt cache of every"
    " open conversation.",
)
@option(
    "--config-capability",
    default=DEFAULT_CAPABILITY,
    help="Application capability that allows a caller to change settings at /config.",
)
@option(
    "--max-connections",
    type=click.IntRange(1),
    default=1024,
    help="Number of open tailnet connections. When all are taken, silent ones make room.",
)
@option(
    "--allow",
    multiple=True,
    metavar="NAME",
    help="A peer whose connections may take all places: the full name of its node, a tag, or a"
    " login. May be given several times; then all other peers share a quarter of the places.",
)
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="that of the last start",
    help="UDP port for WireGuard. If it is taken, another one is used.",
)
def serve(**options: Any) -> None:
    """Serve the hook on the tailnet until SIGTERM or SIGINT.

    With an auth key in TS_AUTHKEY the node logs in by itself. Without a key and without a stored
    login, the log shows the URL to open. Logs go to stderr, the lines of -v to stdout.
    """
    authkey = take_authkey()
    output = logs.configure()
    try:
        system.hide()  # everybody's conversations are in this process's memory
    except OSError as error:
        log.warning("other processes of this user can read this one's memory err=%s", error)
    from tsheadroom.daemon import Daemon  # all the parts, and --help needs none of them

    try:
        asyncio.run(Daemon(_daemon_options(options, authkey), output).run())
    except TsheadroomError as error:
        # As click would say it, but behind the log lines, and without waiting for a stalled reader.
        output.write(f"Error: {error}\n")
        sys.exit(1)


@main.command(short_help="Ask a running daemon how it is.")
@_state_dir
@click.option("--live", is_flag=True, help="Ask only whether it answers, not whether it is ready.")
def status(state_dir: Path, live: bool) -> None:
    """Say whether the daemon of this state directory is ready, and if not, what is missing.

    The exit code is 0 if it is ready, else 1, so that health checks can run this command.
    """
    try:
        code, text = ask(state_dir, "/livez" if live else "/readyz")
    except TsheadroomError as error:
        raise click.ClickException(str(error)) from None
    click.echo(text, nl=False)
    sys.exit(0 if code == HTTPStatus.OK else 1)


@main.command(short_help="Price recorded conversations, without a daemon.")
@click.argument("traces", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--policy",
    multiple=True,
    metavar="NAME",
    help="What is done with the requests, such as ours or reference; may be given several times.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE[,...]",
    help="A policy of its own: the defaults with these settings. May be given several times.",
)
@click.option("--members", metavar="JSON", help="An object of members to add to every body.")
@click.option(
    "--ttl",
    type=duration,
    default="0",
    help="The life of an unused cache entry, by the recorded times. 0: for ever.",
)
@click.option(
    "--edits",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a line of JSON for each located edit to this file.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw price against harm, as SVG.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the rows as Markdown.")
def simulate(**arguments: Any) -> None:
    """Say what recorded conversations would cost, and where the old texts of edits would stand.

    TRACES are JSON lines, or folders of such files: a header, then the items as a client sends
    them. Nothing is sent anywhere.
    """
    from tsheadroom.simulate.command import Arguments, run  # Headroom, which `serve` must not load

    try:
        run(Arguments(**arguments))
    except TsheadroomError as error:
        raise click.ClickException(str(error)) from None


def _daemon_options(given: dict[str, Any], authkey: str | None) -> Options:
    """The daemon's options: click's, without double negations, and the auth key."""
    from tsheadroom.daemon import Options

    given = dict(given)
    return Options(
        affinity=not given.pop("no_affinity"),
        history=not given.pop("no_history"),
        authkey=authkey,
        **given,
    )
