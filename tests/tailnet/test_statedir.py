"""One daemon a state directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tsheadroom.tailnet.statedir import StateDirectory, StateUnusable

TAKE = """
import sys; from pathlib import Path
from tsheadroom.tailnet.statedir import StateDirectory
StateDirectory(Path(sys.argv[1])).open(); print("taken", flush=True); sys.stdin.read()
"""


def test_a_second_daemon_is_told_who_has_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKE, str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, text=True
    ) as first:
        assert first.stdin
        assert first.stdout
        assert first.stdout.readline() == "taken\n"
        with pytest.raises(StateUnusable, match=rf"in use by another tsheadroom \(pid {first.pid}"):
            StateDirectory(tmp_path).open()
        first.stdin.close()
        first.wait()
    second = StateDirectory(tmp_path)
    second.open()  # the first one's end released it
    second.close()


def test_close_releases_it(tmp_path: Path) -> None:
    first = StateDirectory(tmp_path)
    first.open()
    first.close()
    first.close()
    StateDirectory(tmp_path).open()


def test_it_is_the_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    StateDirectory(path).open()
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnusable, match="--state-dir"):
        StateDirectory(tmp_path / "file" / "state").open()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_directory_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StateUnusable, match="cannot write to the state directory"):
        StateDirectory(tmp_path).open()
