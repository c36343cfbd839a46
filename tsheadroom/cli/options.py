"""What the command line decides: how an option is declared, spelled and read."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tsheadroom.child import system
from tsheadroom.memory import memory_limit

if TYPE_CHECKING:
    from collections.abc import Callable

# As Go's time.ParseDuration has them: https://pkg.go.dev/time#ParseDuration
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]i?b?|b?)", re.IGNORECASE)
_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

_MAX_PORT = 65535

# Tailscale's names for the key, in the order in which its own library looks for them.
_AUTHKEY_VARIABLES = ("TS_AUTHKEY", "TS_AUTH_KEY")
_OAUTH_PREFIX = "tskey-client-"


def option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    """Declare an option as `click.option` does, with an environment variable of the same name.

    `--pool-size` is also TSHEADROOM_POOL_SIZE. --help shows the variable and the default.
    """
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    variable = f"TSHEADROOM_{long.removeprefix('--').upper().replace('-', '_')}"
    given = {"envvar": variable, "show_envvar": True, "show_default": True, **settings}
    return click.option(*names, **given)


# click shows the names of the next four functions in --help, as what an option takes.


def duration(text: str) -> float:
    """Read a duration as Go writes it, such as 1m30s. Returns seconds; raises BadParameter."""
    parts = _DURATION_PART.findall(text.strip())
    if text.strip() == "0":
        return 0.0
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise click.BadParameter(f"{text!r} is not a duration such as 60s, 1m30s or 500ms.")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def timeout(text: str) -> float:
    """Read a duration over 0. Returns seconds; raises BadParameter."""
    seconds = duration(text)
    if seconds <= 0:
        raise click.BadParameter(f"{text!r} leaves no time at all.")
    return seconds


def size(text: str) -> int:
    """Read a size such as 256MiB. Returns bytes; raises BadParameter.

    The unit is KiB, MiB, GiB or none. KB, MB and GB mean the same: a KB has 1,024 bytes here, too.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise click.BadParameter(f"{text!r} is not a size such as 256MiB.")
    unit = found[2].lower().removesuffix("b").removesuffix("i")
    return int(float(found[1]) * _BYTES[unit])


def address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, [HOST]:PORT or :PORT. Returns host and port; raises BadParameter.

    Without a host, as in :80, the host is "", which means every address of the machine or node.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise click.BadParameter(f"{text!r} has an IPv6 address without brackets.")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise click.BadParameter(f"{text!r} is not an address such as 127.0.0.1:8080 or :80.")
    return host, int(port)


class GoSpellings(click.Command):
    """A command that also takes its options as Go's flag package spells them.

    `-pool-size 4`, `-pool-size=4`, `-gzip-response=false`: the service files and scripts that
    start the Go daemon are full of these, and go on working.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Translate each word to click's spelling, then let click read the words."""
        return super().parse_args(ctx, [word for arg in args for word in self._translate(arg)])

    def _translate(self, arg: str) -> list[str]:
        """The word as click spells it; none for a switch that is set to what it is anyway."""
        name, equals, value = arg.partition("=")
        bare = name.lstrip("-")
        if not name.startswith("-") or not bare:
            return [arg]
        if bare == "worker":
            raise click.UsageError(
                f"{name} has no meaning here: the worker's program is part of tsheadroom."
                " Name another interpreter with --python."
            )
        known = self._options().get(f"-{bare}" if len(bare) == 1 else f"--{bare}")
        if known is None:
            # No option has this name (-h is click's own). With two dashes, click suggests one.
            return [f"--{bare}{equals}{value}"] if bare[:1].isalpha() and bare != "h" else [arg]
        if not known.is_flag:
            return [f"--{bare}{equals}{value}"] if len(bare) > 1 else [arg]
        return self._switch(known, f"--{bare}" if len(bare) > 1 else f"-{bare}", equals, value)

    @staticmethod
    def _switch(switch: click.Option, name: str, equals: str, value: str) -> list[str]:
        """A switch takes no value in click: `-name=false` becomes its opposite, or no word."""
        if not equals:
            return [name]
        try:
            wanted = click.BOOL.convert(value, switch, None)
        except click.BadParameter:
            raise click.UsageError(f"{name} takes true or false, not {value!r}") from None
        if name in switch.secondary_opts:
            wanted, name = not wanted, switch.opts[-1]
        if wanted:
            return [name]
        return [switch.secondary_opts[-1]] if switch.secondary_opts else []

    def _options(self) -> dict[str, click.Option]:
        options = [param for param in self.params if isinstance(param, click.Option)]
        return {name: o for o in options for name in (*o.opts, *o.secondary_opts)}


def default_body_memory() -> str:
    """Return a quarter of the memory that this process may have, 128 to 512 MiB, as an option."""
    return str(min(max(memory_limit() // 4, 128 << 20), 512 << 20))


def default_state_dir() -> Path:
    """Return the state directory that systemd gives, else the usual place for a user's state."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "tsheadroom"


def take_authkey() -> str | None:
    """Return Tailscale's auth key from the environment, or None if there is none.

    It is taken out of the environment, and out of the memory that /proc/PID/environ shows. An OAuth
    client secret in its place raises ClickException, because the node cannot log in with one.
    """
    if system.LINUX:
        _wipe(_AUTHKEY_VARIABLES)
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


def _wipe(names: tuple[str, ...]) -> None:
    """Overwrite variables where the process was given them; os.environ has copies of its own.

    The kernel shows that memory to every process of the same user, however long ago the variable
    was deleted.
    """
    libc = ctypes.CDLL(None)
    entries = ctypes.POINTER(ctypes.c_void_p).in_dll(libc, "environ")
    prefixes = tuple(f"{name}=".encode() for name in names)
    at = 0
    while (address := entries[at]) is not None:
        entry = ctypes.string_at(address)
        if entry.startswith(prefixes):
            ctypes.memset(address, 0, len(entry))
        at += 1
