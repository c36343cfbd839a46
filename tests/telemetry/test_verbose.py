"""The -v lines, when somebody reads them and when nobody does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tsheadroom.telemetry.verbose import LineOutput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            pass  # the test closed it


def test_a_line_is_there_at_once(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    assert LineOutput(writer).write("request → modify \ud800\n") == 19
    assert os.read(reader, 100) == "request → modify \\ud800\n".encode()


def test_a_stalled_reader_costs_lines_and_no_time(
    pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = pipe
    output = LineOutput(writer)
    line = "x" * 200 + "\n"
    for _ in range(1000):  # three times what a pipe holds; a plain write would never return
        output.write(line)
    assert [record.getMessage() for record in caplog.records] == [
        "stdout does not take lines reason=it is not read fast enough dropped=1"
    ]
    kept = os.read(reader, 1 << 20)
    assert kept == line.encode() * (len(kept) // len(line))
    output.write("again\n")
    assert os.read(reader, 1 << 20).endswith(b"again\n")


def test_a_reader_that_has_gone_is_no_error(
    pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = pipe
    os.close(reader)
    output = LineOutput(writer)
    output.write("one\n")
    output.write("two\n")
    assert len(caplog.records) == 1


def test_a_file_takes_everything(tmp_path: Path) -> None:
    with (tmp_path / "lines").open("wb") as file:
        output = LineOutput(file.fileno())
        for number in range(5000):
            output.write(f"{number}\n")
    assert (tmp_path / "lines").read_text().splitlines() == [str(n) for n in range(5000)]
