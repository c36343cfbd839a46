"""The scripts in Python are seen by the tools, and say what to do before anything is set up."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts.lab.door import ROOT

DOORS = sorted(
    path.name
    for path in (ROOT / "scripts").iterdir()
    if path.is_file() and not path.suffix and "python" in path.read_text().partition("\n")[0]
)


def test_ruff_and_mypy_check_every_script_without_an_extension() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    names = {f"scripts/{name}" for name in DOORS}
    assert names
    assert names == set(tools["ruff"]["extend-include"])
    assert names <= set(tools["mypy"]["files"])


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The scripts of a clone that nothing was set up in."""
    return Path(shutil.copytree(ROOT / "scripts", tmp_path / "scripts"))


def run(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, script, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["agreement", "bench", "clients", "torture"])
def test_without_a_venv_a_script_names_setup(clone: Path, name: str) -> None:
    done = run(clone / name, "--help")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"scripts/{name}: run scripts/setup first\n"


def test_without_a_venv_the_demo_sets_up(clone: Path) -> None:
    (clone / "setup").write_text("#!/bin/sh\nexit 3\n")
    done = run(clone / "demo")
    assert done.returncode == 3
    assert done.stdout.startswith("[1/5] Setting up")
