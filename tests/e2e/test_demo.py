"""The demo shows savings, ends by itself, and leaves nothing running however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.served import PATIENCE, until
from tests.tailnet import private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEMO = private.ROOT / "scripts" / "demo"


class Demo:
    """A demo in a session of its own, as in a terminal of its own; its processes are known."""

    def __init__(self, tmp_path: Path, directory: Path, *options: str) -> None:
        self.printed = tmp_path / "printed"
        self.temporary = directory
        with self.printed.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, DEMO, *options],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(self.temporary)},
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.printed.read_text()

    def wait(self) -> int:
        return self.process.wait(10 * PATIENCE)

    def left(self) -> list[str]:
        """What it has started and not ended: all of it has its TMPDIR, which is empty again."""
        mark = f"TMPDIR={self.temporary}".encode()
        found = [str(path) for path in self.temporary.iterdir()]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue  # it ended meanwhile, or is another user's
        return found


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    private.build()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    # Not below tmp_path: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="demo-") as short:
        yield lambda *options: Demo(tmp_path, Path(short), *options)
        subprocess.run([sys.executable, DEMO, "--stop"], check=True, capture_output=True)


def test_it_saves_and_ends(start: Callable[..., Demo]) -> None:
    demo = start()
    assert demo.wait() == 0, demo.text
    totals = re.findall(r"^all (\d+) .*?(\d+\.\d)%.*?(\d+\.\d)%$", demo.text, re.MULTILINE)
    assert [int(turns) for turns, _, _ in totals] == [58, 13]
    assert float(totals[0][2]) > 5
    assert float(totals[1][2]) >= 15
    assert demo.text.count("  request in_msgs=") == 58 + 13
    assert demo.text.count("-> modify") > 60
    for promise in ("prefixes changed", "markers that promise", "other fields"):
        assert f"\n  0 {promise}" in demo.text
    until(lambda: demo.left() == [])


@pytest.mark.parametrize("at", ["[2/5]", "[3/5]", "request in_msgs=21 "])
def test_interrupted(start: Callable[..., Demo], at: str) -> None:
    demo = start()
    until(lambda: at in demo.text or demo.process.poll() is not None)
    os.killpg(demo.process.pid, signal.SIGINT)  # what Ctrl-C in a terminal does
    assert demo.wait() == 130, demo.text
    assert "Traceback" not in demo.text
    until(lambda: demo.left() == [])


def test_killed(start: Callable[..., Demo]) -> None:
    demo = start()
    until(lambda: "request in_msgs=5 " in demo.text or demo.process.poll() is not None)
    demo.process.kill()
    demo.wait()
    until(lambda: all(name.startswith(str(demo.temporary)) for name in demo.left()))


def test_kept_and_stopped(start: Callable[..., Demo]) -> None:
    demo = start("--keep")
    assert demo.wait() == 0, demo.text
    assert any("tsheadroom serve" in name for name in demo.left())
    assert "curl -x socks5h://" in demo.text
    second = start("--keep")
    assert second.wait() == 1
    stop = subprocess.run([sys.executable, DEMO, "--stop"], capture_output=True, check=True)
    assert stop.stdout == b"stopped\n"
    until(lambda: demo.left() == [])
