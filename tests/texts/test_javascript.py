"""What scripts of code mode run."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.texts import javascript

SCRIPTS = {
    'const r = await tools.exec_command({"cmd":"cat a.py"}); text(r.output);': ["cat a.py"],
    "// @exec: {}\nconst r = await tools.exec_command({workdir: \"/a\", cmd: 'ls'});": ["ls"],
    "await exec_command({ cmd: `sed -n '1,5p' \\`a\\``, yield_time_ms: 100 })": [
        "sed -n '1,5p' `a`"
    ],
    "tools.exec_command({cmd: 'a', env: {cmd: 'b', x: [1, {}]}, max: f(1, 2)})": ["a"],
    'tools.exec_command({cmd: String.raw`rg "\\d+"`})': ['rg "\\d+"'],
    "text(`exit ${r.exit_code} ${r.ok ? `{` : '}'}\\n`); tools.exec_command({cmd: 'a'})": ["a"],
    # Neither comments nor strings nor patterns call anything.
    "// tools.exec_command({cmd: 'b'})\ntools.exec_command({cmd: 'a'})": ["a"],
    "/* tools.apply_patch() */ tools.exec_command({cmd: 'a'})": ["a"],
    "text('tools.exec_command({})'); tools.exec_command({cmd: 'a'})": ["a"],
    "x.match(/[\"'`/]tools/g); y = a / b / c; tools.exec_command({cmd: 'a'})": ["a"],
    # A template's inner code does.
    "text(`${(await tools.exec_command({cmd: 'a'})).output}`)": ["a"],
    "const [a, b] = await Promise.all([tools.exec_command({cmd: 'a'}), "
    "tools.exec_command({cmd: 'b'})])": ["a", "b"],
    "text('nothing')": [],
    "": [],
}
UNKNOWN = [
    "tools.exec_command({cmd: `cat ${file}`})",
    "tools.exec_command({cmd: 'cat ' + file})",
    "tools.exec_command({cmd: ['a', 'b'].join(' ')})",
    "tools.exec_command({cmd: command})",
    "tools.exec_command({cmd})",
    "tools.exec_command({...options, cmd: 'a'})",
    "tools.exec_command({['cmd']: 'a'})",
    "tools.exec_command({cmd: 'a', cmd: 'b'})",
    "tools.exec_command({workdir: '/a'})",
    "tools.exec_command(options)",
    "tools.exec_command({cmd: 'a'",
    "tools['exec_command']({cmd: 'a'})",
    "const run = tools.exec_command; run({cmd: 'a'})",
    "const {exec_command} = tools; exec_command({cmd: 'a'})",
    "tools.exec_command({cmd: 'a'}); tools.apply_patch('x')",
    "tools.write_stdin({session_id: 1, chars: 'cat a\\n'})",
    "tools.exec_command({cmd: 'a'});" * 100,
    "tools.exec_command({cmd: 'a'});" + " " * javascript.MAX_CHARS,
]


@pytest.mark.parametrize("source", SCRIPTS)
def test_literal_commands(source: str) -> None:
    assert javascript.commands(source) == SCRIPTS[source]


@pytest.mark.parametrize("source", UNKNOWN)
def test_what_cannot_be_told(source: str) -> None:
    assert javascript.commands(source) is None


@given(st.text())
def test_any_command_is_read_as_it_is_spelled(command: str) -> None:
    for ascii_only in (True, False):
        literal = json.dumps(command, ensure_ascii=ascii_only)
        assert javascript.commands(f"tools.exec_command({{cmd: {literal}}})") == [command]


def test_escapes() -> None:
    source = r"""text('\x41\u0042\u{1f600}\ud83d\ude00\n\'\q' + "\
goes on\u{110000}")"""
    assert list(javascript.literals(source)) == ["AB😀😀\n'qgoes on\\u{110000}"]
    assert list(javascript.literals(r"text('\ud83d')")) == ["\ud83d"]


def test_texts_in_pieces() -> None:
    assert list(javascript.literals("f(['a', 'b'].join('\\n'), x); 'c\\n' + `d`")) == [
        "a\nb",
        "\n",
        "c\nd",
    ]


PIECES = ["'", '"', "`", "${", "}", "{", "(", ")", "/", "*", "\\", "\n", ":", ",", "cmd", "x", ".",
          "tools", "exec_command", "[", "]", " ", "1", "return"]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_anything_is_read(source: str) -> None:
    javascript.commands(source)
    assert all(isinstance(text, str) for text in javascript.literals(source))
