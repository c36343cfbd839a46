"""Log lines: one line each, in logfmt, whatever they hold."""

from __future__ import annotations

import io
import logging
import re

import pytest

from tsheadroom.telemetry import logs


@pytest.fixture
def lines() -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.LogfmtFormatter())
    log = logging.getLogger("test")
    log.addHandler(handler)
    return log, stream


def line(stream: io.StringIO) -> str:
    text = stream.getvalue()
    assert text.count("\n") == 1
    stamp, rest = text.rstrip("\n").split(" ", 1)
    assert re.fullmatch(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", stamp)
    return rest


def test_pairs_at_the_templates_end_are_fields(lines: tuple[logging.Logger, io.StringIO]) -> None:
    log, stream = lines
    log.warning("worker %s died; replaced slot=%d err=%s", "two", 3, 'it said "no" = never')
    assert line(stream) == (
        'level=WARN msg="worker two died; replaced" slot=3 err="it said \\"no\\" = never"'
    )


@pytest.mark.parametrize(
    ("template", "args", "text"),
    [
        ("ready", (), "msg=ready"),
        ("plain words", (), 'msg="plain words"'),
        ("100%% sure slot=%d", (1,), 'msg="100% sure" slot=1'),
        ("no pair %s", ("a=b",), 'msg="no pair a=b"'),
        ("fixed key=value", (), 'msg="fixed key=value"'),
        ("took ms=%.1f", (1.25,), "msg=took ms=1.2"),
        ("empty err=%s", ("",), 'msg=empty err=""'),
        (
            "two\nlines err=%s",
            ("a\r\n\x1b[31m\x00",),
            'msg="two\\nlines" err="a\\r\\n\\x1b[31m\\x00"',
        ),
        ("arrow %s", ("→",), 'msg="arrow →"'),
        ("surrogate err=%r", ("\ud800",), "msg=surrogate err='\\ud800'"),
    ],
)
def test_messages(
    lines: tuple[logging.Logger, io.StringIO], template: str, args: tuple[object, ...], text: str
) -> None:
    log, stream = lines
    log.error(template, *args)
    assert line(stream) == f"level=ERROR {text}"


def test_a_traceback_is_a_field(lines: tuple[logging.Logger, io.StringIO]) -> None:
    log, stream = lines
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("unexpected slot=%d", 1)
    assert line(stream).startswith('level=ERROR msg=unexpected slot=1 trace="Traceback (most')
    assert "ValueError: broken" in stream.getvalue()


def test_a_lone_surrogate_does_not_break_a_line(
    lines: tuple[logging.Logger, io.StringIO],
) -> None:
    log, stream = lines
    log.error("odd name=%s", "\ud800")
    assert line(stream) == 'level=ERROR msg=odd name="\\ud800"'
    stream.getvalue().encode()
