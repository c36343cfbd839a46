"""The command line: one thin function a command, each option declared once."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tsheadroom import __version__
from tsheadroom.cli import ask as daemon_status
from tsheadroom.errors import TsheadroomError
from tsheadroom.telemetry import logs
from tsheadroom.web.access import DEFAULT_CAPABILITY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tsheadroom.daemon import Options

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]i?b?|b?)", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

MAX_PORT = 65535

# tailscale's names for the key, in the order in which its own library looks for them.
_AUTHKEY_VARIABLES = ("TS_AUTHKEY", "TS_AUTH_KEY")
_OAUTH_PREFIX = "tskey-client-"


def duration(text: str) -> float:
    """Seconds, from Go's way to write a duration."""
    parts = _DURATION_PART.findall(text.strip())
    if text.strip() == "0":
        return 0.0
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise click.BadParameter(f"{text!r} is not a duration such as 60s, 1m30s or 500ms.")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def timeout(text: str) -> float:
    """A duration that leaves some time."""
    seconds = duration(text)
    if seconds <= 0:
        raise click.BadParameter(f"{text!r} leaves no time at all.")
    return seconds


def size(text: str) -> int:
    """Bytes; KiB, MiB and GiB (KB, MB, GB mean the same) may follow the number."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise click.BadParameter(f"{text!r} is not a size such as 256MiB.")
    unit = found[2].lower().removesuffix("b").removesuffix("i")
    return int(float(found[1]) * _SIZE_UNITS[unit])


def address(text: str) -> tuple[str, int]:
    """Host and port from HOST:PORT, [HOST]:PORT or :PORT (every address)."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise click.BadParameter(f"{text!r} has an IPv6 address without brackets.")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > MAX_PORT:
        raise click.BadParameter(f"{text!r} is not an address such as 127.0.0.1:8080 or :80.")
    return host, int(port)


class GoSpellings(click.Command):
    """A command that also takes its options as Go's flag package spells them.

    `-pool-size 4`, `-pool-size=4`, `-gzip-response=false`: the service files and scripts that
    start the Go daemon have them.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [word for arg in args for word in self._translate(arg)])

    def _translate(self, arg: str) -> list[str]:
        name, equals, value = arg.partition("=")
        bare = name.lstrip("-")
        if not name.startswith("-") or not bare:
            return [arg]
        if bare == "worker":
            raise click.UsageError(
                f"{name} has no meaning here: the worker's program is part of tsheadroom."
                " Name another interpreter with --python."
            )
        option = self._options().get(f"-{bare}" if len(bare) == 1 else f"--{bare}")
        if option is None:
            # Not in Go's spelling, or wrong in both: then click finds the name that was meant.
            return [f"--{bare}{equals}{value}"] if bare[:1].isalpha() and bare != "h" else [arg]
        if not option.is_flag:
            return [f"--{bare}{equals}{value}"] if len(bare) > 1 else [arg]
        return self._flag(option, f"--{bare}" if len(bare) > 1 else f"-{bare}", equals, value)

    @staticmethod
    def _flag(option: click.Option, name: str, equals: str, value: str) -> list[str]:
        """A switch: Go's `-name=false` becomes this command line's opposite, or nothing."""
        if not equals:
            return [name]
        try:
            wanted = click.BOOL.convert(value, option, None)
        except click.BadParameter:
            raise click.UsageError(f"{name} takes true or false, not {value!r}") from None
        if name in option.secondary_opts:
            wanted, name = not wanted, option.opts[-1]
        if wanted:
            return [name]
        return [option.secondary_opts[-1]] if option.secondary_opts else []

    def _options(self) -> dict[str, click.Option]:
        options = [param for param in self.params if isinstance(param, click.Option)]
        return {name: o for o in options for name in (*o.opts, *o.secondary_opts)}


def _option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    """An option that an environment variable sets, too; --help shows its name and default."""
    variable = next(name for name in names if name.startswith("--")).split("/")[0].lstrip("-")
    settings.setdefault("envvar", f"TSHEADROOM_{variable.upper().replace('-', '_')}")
    return click.option(*names, show_envvar=True, **{"show_default": True, **settings})


def _default_state_dir() -> Path:
    """systemd's directory, else the place for a user's state."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "tsheadroom"


_state_dir = _option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=_default_state_dir,
    show_default="$STATE_DIRECTORY or ~/.local/state/tsheadroom",
    help="The node's keys and the forwarded forms; one daemon a directory.",
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
@_option("--hostname", default="tsheadroom", help="Name of the node on the tailnet.")
@_option("--addr", type=address, default=":80", help="Where the node listens on the tailnet.")
@_state_dir
@_option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="tsheadroom.config.json",
    help="The settings file; SIGHUP reads it again.",
)
@_option(
    "--local-addr",
    type=address,
    help="Serve plain HTTP here instead of on the tailnet, for tests.",
)
@_option("-v", "--verbose", is_flag=True, help="Print a line for each request on stdout.")
@_option("--pool-size", type=click.IntRange(1, 256), default=8, help="Workers.")
@_option(
    "--max-compress",
    type=timeout,
    default="60s",
    help="Kill a worker whose call takes longer.",
)
@_option(
    "--deadline",
    type=timeout,
    default="4s",
    help="Answer without a worker's reply after this; stay below the hook's timeout in Aperture.",
)
@_option("--drain", type=duration, default="5s", help="On SIGTERM, time for open requests.")
@_option(
    "--python",
    default=sys.executable,
    show_default="this one",
    help="The workers' interpreter; it needs headroom-ai, nothing else.",
)
@_option("--no-affinity", is_flag=True, help="Give a conversation to any worker, not to its own.")
@_option(
    "--gzip-response/--no-gzip-response", default=True, help="Compress answers for whom asks so."
)
@_option(
    "--accept-compressed/--no-accept-compressed",
    default=True,
    help="Tell Aperture that it may compress requests.",
)
@_option("--control-url", help="Control server, if not Tailscale's.")
@_option(
    "--decision-memory",
    type=size,
    default="256MiB",
    help="Memory for conversations; older ones are read from the state directory.",
)
@_option(
    "--no-history",
    is_flag=True,
    help="Keep forwarded forms in memory only: a restart then breaks the prompt caches of all"
    " conversations that are open.",
)
@_option(
    "--config-capability",
    default=DEFAULT_CAPABILITY,
    help="Application capability whose holders may write /config.",
)
@_option(
    "--max-connections",
    type=click.IntRange(1),
    default=1024,
    help="Open tailnet connections; more are closed at once.",
)
def serve(**options: Any) -> None:
    """Serve the hook on the tailnet until SIGTERM or SIGINT.

    TS_AUTHKEY in the environment logs the node in unattended; without a key and without a stored
    login the URL to open is logged. Logs go to stderr, the -v lines to stdout.
    """
    from tsheadroom.daemon import Daemon  # --help needs none of its parts

    logs.configure()
    try:
        asyncio.run(Daemon(_daemon_options(options)).run())
    except TsheadroomError as error:
        raise click.ClickException(str(error)) from None


@main.command(short_help="Ask a running daemon how it is.")
@_state_dir
@click.option("--live", is_flag=True, help="Ask only whether it answers, not whether it is ready.")
def status(state_dir: Path, live: bool) -> None:
    """Say whether the daemon of this state directory is ready, and what it waits for.

    The exit code is 0 when it is, for health checks.
    """
    try:
        code, text = daemon_status.ask(state_dir, "/livez" if live else "/readyz")
    except TsheadroomError as error:
        raise click.ClickException(str(error)) from None
    click.echo(text, nl=False)
    sys.exit(0 if code == HTTPStatus.OK else 1)


def _daemon_options(given: dict[str, Any]) -> Options:
    from tsheadroom.daemon import Options

    given = dict(given)
    return Options(
        affinity=not given.pop("no_affinity"),
        history=not given.pop("no_history"),
        authkey=_take_authkey(),
        **given,
    )


def _take_authkey() -> str | None:
    """The auth key, taken out of the environment so that no worker inherits it."""
    keys = [key for name in _AUTHKEY_VARIABLES if (key := os.environ.pop(name, "").strip())]
    if not keys:
        return None
    if keys[0].startswith(_OAUTH_PREFIX):
        raise click.ClickException(
            f"{_AUTHKEY_VARIABLES[0]} holds an OAuth client secret ({_OAUTH_PREFIX}...), which"
            " cannot log in a node. Create an auth key (tskey-auth-...) in the admin console under"
            " Settings > Keys, or with that client through the API, or start without a key and"
            " open the login URL."
        )
    return keys[0]
