"""What a terminal would show at the end, and nothing that is not certain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.texts import jsontext, terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ntext", "plain\ntext"),
        ("\x1b[1;32mok\x1b[0m\n\x1b[38;2;1;2;3mred\x1b[m", "ok\nred"),
        (" 10%\r 50%\r100%\ndone", "100%\ndone"),
        ("downloading 10%\rdone", "doneloading 10%"),
        ("downloading\r\x1b[2Kdone", "done"),
        ("downloading 10%\r\x1b[Kdone", "done"),
        ("title\x1b]0;a title\x07s", "titles"),
        ("\x1b]8;;http://a/\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("dos\r\nlines\r\n", "dos\r\nlines\r\n"),
        ("up\x1b[1Aover", "up\x1b[1Aover"),
        ("back\b\bspace \x1b[0m", "back\b\bspace \x1b[0m"),
    ],
)
def test_the_screen(text: str, shown: str) -> None:
    assert terminal.screen(text) == shown


@given(st.text("ab\r\n\x1b[0mK2", max_size=40))
def test_a_screen_shown_again_is_the_same(text: str) -> None:
    shown = terminal.screen(text)
    assert len(shown) <= len(text)
    assert terminal.screen(shown) == shown or "\x1b" in shown


@pytest.mark.parametrize(
    ("text", "small"),
    [
        (
            '{\n  "a": 1.0,\n  "a": 1E5,\n  "b": " x \\" y "\n}\n',
            '{"a":1.0,"a":1E5,"b":" x \\" y "}',
        ),
        ("[\n]", "[]"),
        ("{\n  a: 1\n}", "{\n  a: 1\n}"),
        ('{"a":\n1} trailing', '{"a":\n1} trailing'),
        ('{"a": 1}', '{"a": 1}'),
        ("", ""),
        ("{", "{"),
        ("[\n" * 100_000, "[\n" * 100_000),
    ],
)
def test_json_loses_its_layout_only(text: str, small: str) -> None:
    assert jsontext.minify(text) == small


@pytest.mark.parametrize(
    ("piece", "shown"),
    [("\rb", "b" + "a" * 499_999), ("a\x1b[K", "a" * 1_000_000), ("b\x1b[1K", None)],
)
def test_a_long_line_is_no_trap(piece: str, shown: str | None) -> None:
    """Each piece moves, or erases, where a megabyte stands already."""
    text = "a" * 500_000 + piece * 500_000
    assert terminal.screen(text) == (text if shown is None else shown)
