"""Loading the library: what is wrong with one is said in a sentence."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tsheadroom.tailnet import native

if TYPE_CHECKING:
    from pathlib import Path


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(native.LIBRARY_VARIABLE, str(tmp_path / "none.so"))
    with pytest.raises(native.LibraryUnusable, match=r"none\.so does not exist; correct"):
        native.load_library()


def test_something_else_is_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("no library")
    monkeypatch.setenv(native.LIBRARY_VARIABLE, str(text))
    with pytest.raises(native.LibraryUnusable, match="cannot be loaded"):
        native.load_library()


def test_an_old_library_is_told_by_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = shutil.which("cc")
    assert compiler, "building the package needs a C compiler, and so does this test"
    source, library = tmp_path / "old.c", tmp_path / "old.so"
    calls = [name for name in native._CALLS if name != "tailscale_loopback"]
    source.write_text("".join(f"int {name}(void) {{ return 0; }}\n" for name in calls))
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    monkeypatch.setenv(native.LIBRARY_VARIABLE, str(library))
    with pytest.raises(native.LibraryUnusable, match=r"too old.*lacks tailscale_loopback$"):
        native.load_library()


def test_refused_calls_give_the_librarys_reason() -> None:
    node = native.NativeNode(native.load_library())
    with pytest.raises(native.NodeFailed, match="has not been started"):
        node.loopback()
    with pytest.raises(native.NodeFailed, match="has not been started"):
        node.listen(":80")
    node.close()
    with pytest.raises(native.NodeFailed, match="Bad file descriptor"):
        node.start()
    with pytest.raises(native.NodeFailed):
        node.close()


def test_a_port_is_set_where_the_library_can() -> None:
    library = native.load_library()
    node = native.NativeNode(library)
    assert node.set_port(41641)
    with pytest.raises(native.NodeFailed):
        node.set_port(70000)
    node.close()

    class Upstream:
        """A libtailscale that is not this project's own."""

        def __getattr__(self, name: str) -> object:
            if name.startswith("tsheadroom_"):
                raise AttributeError(name)
            return getattr(library, name)

    upstream = native.NativeNode(Upstream())  # type: ignore[arg-type]
    assert not upstream.set_port(41641)
    upstream.close()


async def test_in_thread_passes_results_and_errors_on() -> None:
    assert await native.in_thread(lambda: threading.current_thread().daemon) is True

    def fail() -> None:
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await native.in_thread(fail)


async def test_a_call_that_hangs_can_be_left_behind() -> None:
    release = threading.Event()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(native.in_thread(release.wait), 0.05)
    release.set()
