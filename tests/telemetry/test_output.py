"""Lines to stdout and stderr, when somebody reads them, when nobody does, and in between."""

from __future__ import annotations

import fcntl
import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.served import until
from tsheadroom.telemetry.output import LINE_BYTES, LineOutput, standard

PATIENCE = 60.0
LINE = "x" * 200 + "\n"


Make = Callable[..., LineOutput]


@pytest.fixture(params=["pipe", "socket", "terminal"])
def ends(request: pytest.FixtureRequest) -> tuple[int, int]:
    """A reading and a writing end of something that takes little without a reader."""
    if request.param == "pipe":
        reads, writes = os.pipe()
    elif request.param == "socket":
        reads, writes = (end.detach() for end in socket.socketpair())
    else:
        reads, writes = os.openpty()
    return reads, writes


@pytest.fixture
def make(ends: tuple[int, int]) -> Iterator[Make]:
    """Makes an output to the writing end. In the end the reader goes, so that nothing waits."""
    made: list[LineOutput] = []

    def output(name: str = "stdout", **options: int) -> LineOutput:
        made.append(LineOutput(ends[1], name, **options))
        return made[-1]

    yield output
    os.close(ends[0])
    for one in made:
        one.close(PATIENCE)
        one._thread.join(PATIENCE)
        assert not one._thread.is_alive()
    os.close(ends[1])


def fill(descriptor: int) -> int:
    """Write until nothing more is taken. Returns how many bytes were."""
    os.set_blocking(descriptor, False)
    taken = 0
    try:
        while True:
            taken += os.write(descriptor, b"x" * 10)
    except BlockingIOError:
        os.set_blocking(descriptor, True)
    return taken


def read_all(descriptor: int, output: LineOutput) -> bytes:
    """What arrives until all is written."""
    parts: list[bytes] = []

    def read() -> None:
        while b"the end" not in b"".join(parts[-2:]):
            parts.append(os.read(descriptor, 1 << 16))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert output.flush(PATIENCE)
    output.write("the end\n")
    reader.join(PATIENCE)
    return b"".join(parts).replace(b"\r\n", b"\n")


def test_a_line_arrives(ends: tuple[int, int], make: Make) -> None:
    reads, _ = ends
    output = make()
    output.write("request → modify \ud800\n")
    assert os.read(reads, 100).strip() == "request → modify \\ud800".encode()


def test_a_stalled_reader_costs_lines_and_no_time(
    ends: tuple[int, int], make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    reads, writes = ends
    filled = fill(writes)
    output = make(room=10_000)
    for number in range(1000):
        output.write(f"{number:03} {LINE}")
    assert not output.flush(0.01)
    taken = 10_000 // (4 + len(LINE))
    assert output.dropped == 1000 - taken
    lines = read_all(reads, output)[filled:].splitlines()
    # All that were taken come, whole and in their order.
    expected = [f"{number:03} {LINE}".strip().encode() for number in range(taken)]
    assert lines == [*expected, b"the end"]
    until(lambda: bool(caplog.records))
    assert [record.getMessage() for record in caplog.records] == [
        f"{output.dropped} lines were dropped because stdout was not read"
    ]


def test_the_end_waits_for_a_stalled_reader_for_a_bounded_time(
    ends: tuple[int, int], make: Make
) -> None:
    output = make("stderr")
    for _ in range(3000):
        output.write(LINE)
    output.close(0.01)
    dropped = output.dropped
    output.write("too late\n")
    assert output.dropped == dropped + 1


def test_what_is_shared_stays_blocking(ends: tuple[int, int], make: Make) -> None:
    _, writes = ends
    output = make()
    output.write(LINE)
    assert output.flush(PATIENCE)
    assert not fcntl.fcntl(writes, fcntl.F_GETFL) & os.O_NONBLOCK


def test_another_process_may_have_made_it_non_blocking(ends: tuple[int, int], make: Make) -> None:
    reads, writes = ends
    os.set_blocking(writes, False)
    output = make()
    for _ in range(3000):
        output.write(LINE)
    assert len(read_all(reads, output).splitlines()) == 3001
    assert output.dropped == 0


def test_a_reader_that_has_gone_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    output = LineOutput(writes, "stdout")
    for _ in range(3):
        output.write(LINE)
    assert output.flush(PATIENCE)
    until(lambda: output.dropped == 3 and bool(caplog.records))
    output.close()
    os.close(writes)
    assert [record.getMessage() for record in caplog.records] == [
        "stdout takes no lines; they are dropped reason=Broken pipe"
    ]


def test_a_file_takes_everything(tmp_path: Path) -> None:
    with (tmp_path / "lines").open("wb") as file:
        output = LineOutput(file.fileno(), "stdout")
        for number in range(5000):
            output.write(f"{number}\n")
        output.close(PATIENCE)
    assert (tmp_path / "lines").read_text().splitlines() == [str(n) for n in range(5000)]


def test_a_line_that_a_full_disk_tore_does_not_spoil_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[bytes] = []
    room = [3, -1, 100]

    def write(_: int, data: bytes) -> int:
        taken = room.pop(0)
        if taken < 0:
            raise OSError(28, "No space left on device")
        written.append(bytes(data[:taken]))
        return min(taken, len(data))

    monkeypatch.setattr("tsheadroom.telemetry.output.os.write", write)
    output = LineOutput(-1, "stderr")
    output.write("first\n")
    output.flush(PATIENCE)
    output.write("second\n")
    output.close(PATIENCE)
    assert b"".join(written) == b"fir\nsecond\n"
    assert output.dropped == 1


@pytest.mark.parametrize("text", ["é" * 5000, "é" * 5000 + "\n", "x\ny" * 3000 + "\n\n"])
def test_a_line_is_one_line_and_not_too_long(text: str, tmp_path: Path) -> None:
    with (tmp_path / "lines").open("wb") as file:
        output = LineOutput(file.fileno(), "stdout")
        output.write(text)
        output.close(PATIENCE)
    data = (tmp_path / "lines").read_bytes()
    assert len(data) <= LINE_BYTES
    assert data.count(b"\n") == 1
    assert data.decode().endswith("\n")


def test_without_the_stream_lines_go_nowhere() -> None:
    output = standard(None, "stderr")
    output.write(LINE)
    output.close(PATIENCE)
    assert output.dropped == 0
    with pytest.raises(io.UnsupportedOperation):
        standard(io.StringIO(), "stderr")
