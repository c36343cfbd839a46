"""The packages of the clients, at the versions that the figures in docs/clients.md are from."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from scripts.lab.clients.errors import ClientsFailed
from scripts.lab.door import ROOT

DEFAULT = ROOT / ".build" / "clients"


@dataclass(frozen=True, slots=True)
class Package:
    """A package of npm. `setup` is the script in it that fetches its program into place."""

    name: str
    version: str
    setup: str = ""


PACKAGES = (
    Package("@anthropic-ai/claude-code", "2.1.330", "install.cjs"),
    Package("@openai/codex", "0.169.0"),
    Package("@google/gemini-cli", "0.61.0"),
    Package("opencode-ai", "1.18.33", "postinstall.mjs"),
    Package("@mariozechner/pi-coding-agent", "0.73.1"),
)


def install(directory: Path) -> None:
    """Install all of them into a directory. Raises ClientsFailed."""
    directory.mkdir(parents=True, exist_ok=True)
    # Without it npm would install into a folder further up that has one.
    (directory / "package.json").write_text(json.dumps({"private": True}))
    wanted = [f"{package.name}@{package.version}" for package in PACKAGES]
    # Of all the scripts in the packages only those are run that a client needs. The others would
    # compile what is not used here, such as a keyring.
    options = ["--ignore-scripts", "--save-exact", "--no-audit", "--no-fund"]
    _run(directory, "npm", "install", *options, *wanted)
    for package in PACKAGES:
        if package.setup:
            _run(directory / "node_modules" / package.name, "node", package.setup)


def _run(directory: Path, name: str, *words: str) -> None:
    found = shutil.which(name)
    if found is None:
        raise ClientsFailed(f"{name} is missing; it comes with Node.js 20 or later")
    if subprocess.run([found, *words], cwd=directory, check=False).returncode != 0:
        raise ClientsFailed(f"{name} {words[0]} failed in {directory}; what it said is above")


def program(directory: Path, name: str, package: str) -> Path:
    """The path of a client's program. Raises ClientsFailed if it is not there."""
    found = directory / "node_modules" / ".bin" / name
    if not found.exists():
        raise ClientsFailed(
            f"{package} is not in {directory}; scripts/clients --install {directory} gets it"
        )
    return found


def version(directory: Path, package: str) -> str:
    """The version of a package that is installed there; "" if it is not."""
    manifest = directory / "node_modules" / package / "package.json"
    if not manifest.exists():
        return ""
    return str(json.loads(manifest.read_text("utf-8"))["version"])
