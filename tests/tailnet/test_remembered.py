"""What is remembered from start to start, whatever stands at the file's place."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING

import pytest

from tsheadroom.tailnet import remembered as remembered_module
from tsheadroom.tailnet.remembered import Remembered, free_port

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / remembered_module._FILE_NAME


def loaded(directory: Path) -> tuple[int, list[str]]:
    """What the next start knows."""
    remembered = Remembered(directory)
    remembered.load()
    return remembered.port, remembered.callers


async def test_the_next_start_knows_the_port_and_the_callers(tmp_path: Path, file: Path) -> None:
    first = Remembered(tmp_path)
    first.load()
    assert (first.port, first.callers) == (0, [])
    first.note_port(41000)
    for caller in ("100.64.0.1", "fd7a::1", "100.64.0.1"):
        first.note_caller(caller)
    await first.close()
    assert loaded(tmp_path) == (41000, ["100.64.0.1", "fd7a::1"])
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


async def test_it_is_written_without_an_end(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered_module, "_WRITE_AFTER", 0.0)
    remembered = Remembered(tmp_path)
    remembered.note_caller("100.64.0.1")  # a kill may come at any time
    async with asyncio.timeout(60):
        while not file.exists():  # noqa: ASYNC110 (a thread writes it)
            await asyncio.sleep(0.01)
    assert loaded(tmp_path) == (0, ["100.64.0.1"])
    await remembered.close()


async def test_a_busy_caller_is_not_written_again(tmp_path: Path) -> None:
    remembered = Remembered(tmp_path)
    remembered.note_caller("100.64.0.1")
    remembered.note_caller("100.64.0.2")
    await remembered.close()
    for _ in range(100):
        remembered.note_caller("100.64.0.1")
        remembered.note_caller("100.64.0.2")
    assert remembered._timer is None


async def test_many_callers_push_out_who_has_not_called_for_longest(tmp_path: Path) -> None:
    remembered = Remembered(tmp_path)
    remembered.note_caller("100.64.0.1")
    for number in range(100):
        remembered.note_caller(f"100.64.1.{number}")
        remembered.note_caller("100.64.0.1")  # the gateway calls all the time
    await remembered.close()
    _, callers = loaded(tmp_path)
    assert len(callers) == remembered_module._CALLERS
    assert "100.64.0.1" in callers
    assert "100.64.1.0" not in callers


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no json",
        b"[]",
        b"null",
        b'{"port": "1"}',
        b'{"callers": [null]}',
        b"\xff\xfe",
        b"[" * 4000,
        b'{"port": 1, "callers": []}' + b" " * 5000,
    ],
)
def test_a_spoilt_file_is_nothing_remembered(
    tmp_path: Path, file: Path, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(text)
    assert loaded(tmp_path) == (0, [])
    assert "not known any more" in caplog.text


def test_odd_values_are_left_out(tmp_path: Path, file: Path) -> None:
    callers = ["", "x&type=disco", "100.64.0.1", *["100.64.0.2"] * 3, "fd7a:0::1"]
    file.write_text(json.dumps({"port": 70000, "callers": callers, "more": 1}))
    assert loaded(tmp_path) == (0, ["fd7a::1", "100.64.0.2", "100.64.0.1"])


async def test_a_link_is_neither_read_nor_written_through(tmp_path: Path, file: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text('{"port": 41000}')
    file.symlink_to(target)
    file.with_name(file.name + ".tmp").symlink_to(target)
    remembered = Remembered(tmp_path)
    remembered.load()
    assert remembered.port == 0
    remembered.note_port(41001)
    await remembered.close()
    assert target.read_text() == '{"port": 41000}'
    assert not file.is_symlink()
    assert loaded(tmp_path)[0] == 41001


def test_a_fifo_is_not_waited_for(tmp_path: Path, file: Path) -> None:
    os.mkfifo(file)
    assert loaded(tmp_path) == (0, [])


async def test_a_directory_that_has_gone_costs_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remembered = Remembered(tmp_path / "gone")
    remembered.note_port(41000)
    await remembered.close()
    assert "cannot be written" in caplog.text


def test_a_port_that_is_taken_is_not_chosen() -> None:
    free = free_port()
    assert free_port(free) == free
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", free))
        other = free_port(free)
        assert other not in (0, free)
        assert free_port(free, other) == other
        assert free_port(0, other) == other
