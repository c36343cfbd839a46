"""What a child gives up, in which order, and what happens where the system lacks a means."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tsheadroom.child import confinement, environment, landlock, seccomp, system
from tsheadroom.child.confinement import Confinement

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's means")


def under(place: str, places: list[str]) -> bool:
    return f"{os.path.realpath(place)}/".startswith(tuple(f"{p.rstrip('/')}/" for p in places))


def test_what_was_loaded_from_stays_readable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    found = confinement.readable()
    for place in (sys.prefix, os.__file__, confinement.__file__, tmp_path / "hub/x", "/usr/lib"):
        assert under(str(place), found)
    assert under(str(tmp_path / "modules"), found)
    assert not under(str(tmp_path / "state"), found)
    assert not under("/etc/passwd", found)
    assert not under("/proc/1", found)
    assert len(found) == len(set(found))


def test_the_root_of_all_files_is_never_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/", "", *sys.path])
    assert not under("/", confinement.readable())


def test_a_system_without_the_means_is_told_of_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise OSError(38, "not in this kernel")

    for module, name in (
        (system, "hide"),
        (environment, "forbid_network"),
        (system, "renounce_privileges"),
        (seccomp, "install"),
        (landlock, "restrict"),
    ):
        monkeypatch.setattr(module, name, lacking)
    child = Confinement(forks=True)
    child.before_loading()
    child.after_loading()
    child.before_serving()
    assert child.holds == []
    told = capsys.readouterr().err
    assert all(f"without {name}: " in told for name in ("undumpable", "seccomp", "landlock"))


def test_without_a_list_of_what_was_loaded_no_file_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def homeless() -> Path:
        raise RuntimeError("no home directory")

    monkeypatch.setattr(confinement, "hub_cache", homeless)
    monkeypatch.setattr(system, "renounce_privileges", lambda: None)
    monkeypatch.setattr(landlock, "restrict", None)
    child = Confinement(forks=False)
    child.after_loading()
    child.before_serving()
    assert child.holds == ["unprivileged"]
    assert "no home directory" in capsys.readouterr().err


def test_elsewhere_than_on_linux_nothing_but_python_s_network_is_taken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system, "LINUX", False)
    monkeypatch.setattr(system, "prctl", None)
    forbidden: list[bool] = []
    monkeypatch.setattr(environment, "forbid_network", lambda: forbidden.append(True))
    child = Confinement(forks=False)
    child.before_loading()
    child.after_loading()
    child.before_serving()
    assert (child.holds, capsys.readouterr().err) == ([], "")
    assert forbidden  # to Python code


def test_a_hidden_process_leaves_no_core_and_has_no_way_back() -> None:
    script = """
import ctypes, os, resource
from pathlib import Path
from tsheadroom.child import system
system.hide()
system.renounce_privileges()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0  # PR_GET_DUMPABLE
status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
assert status["CapEff"].strip() == status["CapPrm"].strip() == "0" * 16
assert status["NoNewPrivs"] == "1"
assert system.OwnMemory().resident() > 1 << 20
try:
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
except (ValueError, PermissionError):
    os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
