"""One daemon a state directory, and nothing in it is a trap."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.served import until
from tsheadroom.tailnet import statedir
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
    second = StateDirectory(tmp_path)
    second.open()
    second.close()


def opened(path: Path) -> None:
    directory = StateDirectory(path)
    directory.open()
    directory.close()


def test_it_is_the_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    opened(path)
    assert path.stat().st_mode & 0o777 == 0o700


def test_what_others_may_write_to_is_closed_to_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    opened(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(StateUnusable, match="belongs to user 12345"):
        opened(tmp_path)


def test_the_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    """systemd makes it so for a user that exists only while the service runs."""
    (tmp_path / "private").mkdir()
    (tmp_path / "state").symlink_to("private")
    opened(tmp_path / "state")
    assert (tmp_path / "private" / "tsheadroom.lock").is_file()


def test_no_link_in_it_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    state = tmp_path / "state"
    state.mkdir()
    (state / "tsheadroom.lock").symlink_to(victim)
    with pytest.raises(StateUnusable, match=r"tsheadroom\.lock is a symbolic link"):
        opened(state)
    assert victim.read_text() == "precious"


def test_a_fifo_in_the_place_of_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tsheadroom.lock")
    with pytest.raises(StateUnusable, match="is a FIFO"):
        opened(tmp_path)


def test_a_directory_that_is_deleted_in_use_is_locked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(statedir, "_LOOK_S", 0.01)
    first = StateDirectory(tmp_path / "state")
    first.open()
    shutil.rmtree(tmp_path / "state")
    until(lambda: "it is locked again" in caplog.text)
    with pytest.raises(StateUnusable, match=f"pid {os.getpid()}"):
        opened(tmp_path / "state")
    first.close()
    opened(tmp_path / "state")


def test_a_second_daemon_that_was_quicker_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "state"
    first, second = StateDirectory(state), StateDirectory(state)
    monkeypatch.setattr(statedir, "_LOOK_S", 0.1)
    first.open()
    with first._changing:  # it does not look just now
        shutil.rmtree(state)
        second.open()
    until(lambda: "in use by another tsheadroom" in caplog.text)
    first.close()
    with pytest.raises(StateUnusable):
        opened(state)  # the second one still has it
    second.close()


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnusable, match="--state-dir"):
        opened(tmp_path / "file" / "state")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_directory_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StateUnusable, match="cannot write to the state directory"):
        StateDirectory(tmp_path).open()
