"""The files that Landlock leaves to a process, in processes of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tsheadroom.child import landlock


def missing() -> bool:
    """True if this kernel has no Landlock."""
    try:
        return landlock.version() < 1
    except OSError:
        return True


needs_landlock = pytest.mark.skipif(
    sys.platform != "linux" or missing(), reason="this kernel has no Landlock"
)

RESTRICTED = """
import os, sys, threading
from pathlib import Path
from tsheadroom.child import landlock
open_, closed = map(Path, sys.argv[1:])
landlock.restrict([str(open_), str(open_ / "missing"), "/dev/null"])
def refused(attempt):
    try:
        attempt()
    except PermissionError:
        return
    raise SystemExit(f"not refused: {attempt}")
"""


def restricted(script: str, folder: Path) -> None:
    """Run a script that may read what is in `folder / "open"`."""
    for name in ("open", "closed"):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name)
    (folder / "open" / "link").symlink_to(folder / "closed" / "file")
    done = subprocess.run(
        [sys.executable, "-c", RESTRICTED + script, str(folder / "open"), str(folder / "closed")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@needs_landlock
def test_what_is_named_is_read_and_nothing_else(tmp_path: Path) -> None:
    restricted(
        """
assert (open_ / "file").read_text() == "open"
assert sorted(os.listdir(open_)) == ["file", "link"]
assert Path("/dev/null").read_bytes() == b""
refused((closed / "file").read_text)
refused((open_ / "link").read_text)
refused(lambda: os.listdir(closed))
refused(lambda: (open_ / "file").write_text("x"))
refused(lambda: (open_ / "new").touch())
refused(lambda: os.unlink(open_ / "file"))
refused(lambda: os.mkdir(open_ / "folder"))
""",
        tmp_path,
    )


@needs_landlock
def test_other_processes_are_out_of_sight_and_threads_are_under_it_too(tmp_path: Path) -> None:
    restricted(
        """
refused(lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes())
refused(lambda: os.listdir(f"/proc/{os.getppid()}/fd"))
said = []
def attempt():
    refused((closed / "file").read_text)
    said.append(True)
thread = threading.Thread(target=attempt)
thread.start()
thread.join()
assert said
""",
        tmp_path,
    )
