"""What a child gives up before it reads a word of anybody's conversation (Linux).

Tool outputs are written by strangers, and Headroom reads them with parsers in Rust and C. A worker
that was taken over by one should find nothing to take: no network, no program, no file but those it
loads, no other process. Where the system lacks one of the means, a worker runs without it, says so
on stderr, and its ready line names what holds. docs/security-of-workers.md has the table.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tsheadroom.child import environment, landlock, seccomp, system
from tsheadroom.child.headroom.kompress import hub_cache

SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system",
    "/sys/fs/cgroup",
)
"""What an interpreter and its libraries read anywhere: code, time zones, how many processors."""


class Confinement:
    """What holds of this process so far: `holds` names it, of undumpable, seccomp, unprivileged
    and landlock.

    A worker goes through all the steps. The process that forks workers takes the first two, and
    leaves it to its forks to go on.
    """

    def __init__(self, *, forks: bool) -> None:
        self.holds: list[str] = []
        self._forks = forks
        self._readable: list[str] = []

    def before_loading(self) -> None:
        """Give up what not even an import needs; to be called while there is one thread."""
        if not system.LINUX:
            environment.forbid_network()
            return
        self._try("undumpable", system.hide)
        self._try("seccomp", self._filter_calls)

    def after_loading(self) -> None:
        """Take down what may yet have to be opened; once a process that forks, for all forks."""
        if not system.LINUX:
            return
        try:
            self._readable = readable()
        except (OSError, RuntimeError) as error:  # no /proc, or no home directory
            print(f"what a worker has loaded is not known: {error}", file=sys.stderr)

    def before_serving(self) -> None:
        """Give up the rest, in a worker."""
        if not system.LINUX:
            return
        if self._forks:
            self._try("seccomp", lambda: seccomp.install(alone=True))
        self._try("unprivileged", system.renounce_privileges)
        if self._readable:
            self._try("landlock", lambda: landlock.restrict(self._readable))

    def _filter_calls(self) -> None:
        environment.forbid_network()
        if not self._forks:
            seccomp.install(alone=True)

    def _try(self, name: str, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            print(f"a worker has to do without {name}: {error}", file=sys.stderr)
        else:
            self.holds += [name] if name not in self.holds else []


def readable() -> list[str]:
    """The files and folders that a child may yet open, now that all is loaded.

    A library loads parts of itself when they are first used. So these are the places from which
    something was loaded, wherever that is, and need not be guessed.
    """
    found = list(SYSTEM)
    within = tuple(f"{place}/" for place in SYSTEM)
    for place in _loaded_from():
        folder = f"{os.path.realpath(place)}/"
        if folder != "//" and not folder.startswith(within):
            found.append(folder)
            within = (*within, folder)
    return found


def _loaded_from() -> Iterator[str]:
    yield from (sys.prefix, sys.base_prefix, sys.exec_prefix, str(hub_cache()))
    yield from (entry for entry in sys.path if entry)
    for name, module in list(sys.modules.items()):
        if "." not in name:
            yield from getattr(module, "__path__", ())
    # Of a mapped file the line ends with its path; all else in a line has no slash.
    for line in Path("/proc/self/maps").read_bytes().split(b"\n"):
        _, slash, path = line.partition(b" /")
        if slash:
            yield str(Path(f"/{os.fsdecode(path)}").parent)
