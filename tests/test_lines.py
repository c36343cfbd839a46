"""What other programs print, taken apart into a bounded number of short lines."""

from __future__ import annotations

import pytest

from tsheadroom.lines import LINE_BYTES, LINES_A_WINDOW, WINDOW_SECONDS, PrintedLines


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_are_whole_however_they_arrive() -> None:
    lines = PrintedLines()
    assert lines.feed(b"one\ntw") == ["one"]
    assert lines.feed(b"o") == []
    assert lines.feed(b"\n\n  \nthree") == ["two"]
    assert lines.end() == ["three"]
    assert lines.end() == []
    assert lines.last == "three"
    assert lines.left_out(at_end=True) == 0


@pytest.mark.parametrize("step", [7, 4096, 1 << 20])
def test_a_line_without_an_end_is_cut(step: int) -> None:
    lines = PrintedLines()
    data = "é".encode() * 500_000
    for at in range(0, len(data), step):
        assert lines.feed(data[at : at + step]) == []
    (shown,) = lines.feed(b"\nnext")
    assert len(shown.encode()) <= LINE_BYTES + 2
    assert lines.end() == ["next"]


def test_only_so_many_are_shown_in_a_window() -> None:
    lines = PrintedLines(clock := Clock())
    assert len(lines.feed(b"line\n" * 1000)) == LINES_A_WINDOW
    assert lines.feed(b"more\nlast\n") == []
    assert lines.last == "last"
    assert lines.left_out() is None  # the window is not over
    clock.now = WINDOW_SECONDS + 1
    assert lines.left_out() == 1000 - LINES_A_WINDOW + 2
    assert lines.left_out() is None
    assert lines.feed(b"again\n") == ["again"]


def test_much_at_once_is_not_looked_at_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []

    def text(line: bytes) -> str:
        looked.append(line)
        return line.decode()

    monkeypatch.setattr("tsheadroom.lines._text", text)
    lines = PrintedLines()
    lines.feed(b"\n" * 1_000_000 + b"the end\n")
    lines.feed(b"x\n" * 1_000_000)
    assert len(looked) <= 2 * LINES_A_WINDOW + 2
    assert lines.last == "x"
