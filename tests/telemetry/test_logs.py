"""Log lines: one line each, in logfmt, whatever they hold."""

from __future__ import annotations

import io
import logging
import re
import sqlite3
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.errors import TsheadroomError
from tsheadroom.telemetry import logs
from tsheadroom.telemetry.output import LINE_BYTES


@pytest.fixture
def lines() -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.LogfmtFormatter())
    log = logging.getLogger("tsheadroom.test")
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


def test_a_traceback_is_a_field_of_types_and_places(
    lines: tuple[logging.Logger, io.StringIO],
) -> None:
    log, stream = lines
    try:
        try:
            dict[str, int]()["SECRET"]
        except KeyError as cause:
            raise ValueError("SECRET") from cause
    except ValueError:
        log.exception("unexpected slot=%d", 1)
    name = "test_a_traceback_is_a_field_of_types_and_places"
    place = rf"tests/telemetry/test_logs.py:\d+ {name}"
    way = f"ValueError at {place}; after KeyError at {place}"
    assert re.fullmatch(f'level=ERROR msg=unexpected slot=1 trace="{way}"', line(stream))


def test_an_endless_recursion_is_short(lines: tuple[logging.Logger, io.StringIO]) -> None:
    def recurse() -> None:
        recurse()

    log, stream = lines
    try:
        recurse()
    except RecursionError:
        log.exception("deep")
    assert line(stream).count("recurse") == logs._FRAMES


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (KeyError("SECRET"), "KeyError"),
        (UnicodeDecodeError("utf-8", b"SECRET", 0, 1, "SECRET"), "UnicodeDecodeError"),
        (msgspec.ValidationError("SECRET"), "ValidationError"),
        (ConnectionError("SECRET"), "ConnectionError"),
        (
            FileNotFoundError(2, "SECRET", "/a/path"),
            '"FileNotFoundError: No such file or directory: /a/path"',
        ),
        (sqlite3.DatabaseError("malformed"), '"DatabaseError: malformed"'),
        (TsheadroomError("a sentence"), '"a sentence"'),
    ],
    ids=str,
)
def test_of_an_exception_only_what_cannot_quote_is_shown(
    lines: tuple[logging.Logger, io.StringIO], error: Exception, shown: str
) -> None:
    log, stream = lines
    log.error("failed err=%s", error)
    assert line(stream) == f"level=ERROR msg=failed err={shown}"


@pytest.mark.parametrize(
    ("name", "template", "args", "shown"),
    [
        (
            "aiohttp.server",
            "Error handling request from %s",
            ("SECRET",),
            "Error handling request from",
        ),
        (
            "asyncio",
            "Task exception was never retrieved\nfuture: <Task SECRET>",
            (),
            "Task exception was never retrieved",
        ),
        ("asyncio", "Exception in callback work(b'SECRET')", (), "Exception in callback work"),
        ("other", "%s", ("SECRET",), ""),
    ],
)
def test_of_other_packages_messages_only_the_first_words_are_shown(
    name: str, template: str, args: tuple[object, ...], shown: str
) -> None:
    record = logging.LogRecord(name, logging.ERROR, "", 0, template, args, None)
    said = logs.LogfmtFormatter().format(record).partition("level=ERROR ")[2]
    assert said == f"msg={logs.quote(shown)} logger={name}"


@given(st.lists(st.text(max_size=3000), min_size=3, max_size=3))
def test_whatever_is_logged_is_one_short_printable_line(values: list[str]) -> None:
    values = [values[0] * 9, *values[1:]]
    record = logging.LogRecord("tsheadroom.x", 20, "", 0, "%s a=%s b=%s", tuple(values), None)
    said = logs.LogfmtFormatter().format(record)
    assert said.isprintable()
    assert len(said.encode()) < LINE_BYTES
    # Each value ends where its quotes end.
    assert re.fullmatch(r'(?: ?\w+=(?:[^\s"=]+|"(?:[^"\\]|\\.)*"))+', said)


PROGRAM = """
import gc, logging, threading, warnings
from tsheadroom.telemetry import logs
logs.configure()
class Odd:
    def __del__(self): raise KeyError("SECRET")
odd = Odd(); del odd; gc.collect()
def work(): raise KeyError("SECRET")
thread = threading.Thread(target=work); thread.start(); thread.join()
warnings.warn("SECRET")
logging.getLogger("tsheadroom.x").error("%d words", "SECRET")
raise KeyError("SECRET")
"""


def test_what_python_prints_itself_is_a_log_line_and_quotes_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    said = [entry.partition("msg=")[2].partition(" trace")[0] for entry in done.stderr.splitlines()]
    assert said == [
        '"an error was passed over"',
        '"a thread ended"',
        "warning kind=UserWarning place=<string>:10",
        '"bad log call" place=<string>:11',
        '"the process ends"',
    ]
    assert "SECRET" not in done.stderr
    assert (done.returncode, done.stdout) == (1, "")


STALLED = """
import logging
from tsheadroom.telemetry import logs
logs.configure()
for number in range(10_000):
    logging.getLogger("tsheadroom.x").warning("line number=%d text=%s", number, "x" * 500)
raise KeyError("SECRET")
"""


def test_a_process_ends_though_nobody_reads_its_log() -> None:
    process = subprocess.Popen([sys.executable, "-c", STALLED], stderr=subprocess.PIPE)
    assert process.wait(60) == 1
    assert process.stderr
    process.stderr.close()


def test_a_lone_surrogate_does_not_break_a_line(
    lines: tuple[logging.Logger, io.StringIO],
) -> None:
    log, stream = lines
    log.error("odd name=%s", "\ud800")
    assert line(stream) == 'level=ERROR msg=odd name="\\ud800"'
    stream.getvalue().encode()
