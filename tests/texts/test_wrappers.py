"""What clients put around outputs comes off and goes on again, exactly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsheadroom.texts import wrappers

TEXT = 'first line\n\tsecond "line" <&> é\nlast line\n'
CODEX = (
    "Chunk ID: ab023d\nWall time: 0.0 seconds\nProcess exited with code 0\n"
    "Original token count: 335\nOutput:\n"
)
OLD_CODEX = "Exit code: 0\nWall time: 0.1 seconds\nOutput:\n"
REPORT = "Command: cd /srv && ls\nDirectory: (root)\nOutput: "
ENDED = (
    "\nError: (none)\nExit Code: 0\nSignal: 0\nBackground PIDs: (none)\nProcess Group PGID: 116507"
)
MARKED = "<untrusted_context>\n"
MARKED_END = "\n</untrusted_context>"
VIEW = "<path>/srv/a.ts</path>\n<type>file</type>\n<content>\n"
VIEW_END = "\n\n(End of file - total 80 lines)\n</content>"

FORMS = {
    "codex": CODEX + TEXT,
    "codex, older": OLD_CODEX + TEXT,
    "gemini": REPORT + TEXT + ENDED,
    "gemini, a command of several lines": "Command: cat <<EOF\nx\nEOF\nDirectory: /a\nOutput: "
    + TEXT,
    "gemini, marked": MARKED + "Output: " + TEXT + "\nProcess Group PGID: 7152" + MARKED_END,
    "a marked file": MARKED + TEXT + MARKED_END,
    "a view": VIEW + TEXT.rstrip("\n") + VIEW_END,
    "json": json.dumps({"output": TEXT, "metadata": {"exit_code": 0, "duration_seconds": 0.1}}),
    "json, member last": json.dumps({"exit": {"code": [1]}, "stdout": TEXT}, ensure_ascii=False),
    "json, laid out": json.dumps({"output": TEXT, "n": None}, indent=2),
    "a string": json.dumps(TEXT),
    "a string as Go writes it": '"a\\n\\u003cb\\u003e \\u0026 c\\n"',
    "codex around json": CODEX + json.dumps({"output": TEXT}),
}


@pytest.mark.parametrize("name", FORMS)
def test_it_comes_off_and_goes_on(name: str) -> None:
    text = FORMS[name]
    wrapped = wrappers.opened(text)
    assert wrapped.payload != text
    assert wrapped.close(wrapped.payload) == text
    another = "another\npayload <é>"  # the spelling of a string shows in such characters only
    again = wrappers.opened(wrapped.close(another))
    assert again.payload == another
    assert again.close(wrapped.payload) == text


@pytest.mark.parametrize(
    "name", [n for n in FORMS if n not in ("a view", "a string as Go writes it")]
)
def test_equal_payloads_are_equal(name: str) -> None:
    assert wrappers.opened(FORMS[name]).payload == TEXT


def test_header_and_trailer_are_no_part_of_the_payload() -> None:
    wrapped = wrappers.opened(REPORT + "out" + ENDED)
    assert (wrapped.head, wrapped.payload, wrapped.tail) == (REPORT, "out", ENDED)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain text\nof two lines",
        "Output of the program:\nx",
        "Wall time: 3 s\nand something else\nOutput:\n",
        '{"output": "one line"}',
        '{"output": "a\\nb", "output": "c\\nd"}',
        '{"name": "a\\nb"}',
        '{"output": "a\\nb"} trailing',
        '{"output": "a\\nb"',
        '{"output": "a\\u002fb\\n"}',
        "[" * 5000,
        '{"a": ' + "[" * 100_000,
        '"',
        "{",
        '"a" "b\\nc"',
        "<untrusted_context>\n</untrusted_context>",
    ],
)
def test_what_is_no_wrapper_is_all_payload(text: str) -> None:
    assert wrappers.opened(text).payload == text


def test_wrappers_inside_of_each_other_are_bounded() -> None:
    text = "x"
    for _ in range(wrappers.MAX_DEPTH + 2):
        text = MARKED + text + MARKED_END
    wrapped = wrappers.opened(text)
    assert wrapped.payload == MARKED * 2 + "x" + MARKED_END * 2
    assert wrapped.close(wrapped.payload) == text


# Pieces that wrappers are made of, so that random texts look like them more often than not.
_PIECES = st.sampled_from(
    [CODEX, OLD_CODEX, REPORT, ENDED, MARKED, MARKED_END, VIEW, VIEW_END, '{"output": "', '"}', '"',
     "\\n", "\n", "Output: ", "Output:\n", "x", "é\ud800", '{"a": 1, "text": "b\\n"}']
)  # fmt: skip


@given(st.lists(_PIECES | st.text(max_size=20), max_size=12).map("".join))
def test_whatever_comes_goes_on_again(text: str) -> None:
    wrapped = wrappers.opened(text)
    assert wrapped.close(wrapped.payload) == text


def test_the_texts_of_an_output_are_one() -> None:
    part = {
        "slot": ["output", 0, "text"],
        "text": f"{CODEX}one\ntwo\nthree",
        "pieces": [[["output", 0, "text"], len(CODEX) + 3], [["output", 2, "text"], 9]],
    }
    assert [text for _, text in wrappers.pieces(part)] == [CODEX + "one", "two\nthree"]
    assert wrappers.payload_of(part) == "one\ntwo\nthree"
    assert wrappers.payload_of({"slot": [0], "text": CODEX + "one"}) == "one"


@pytest.mark.parametrize(
    ("text", "header", "failed"),
    [
        ("Script completed\nWall time 0.1 seconds\nOutput:\n", True, False),
        ("Script completed\nWall time 12 seconds\nOutput:", True, False),
        ("Script completed\nOutput:\n", True, False),
        ("Script failed\nWall time 0.1 seconds\nOutput:\n", True, True),
        ("Script terminated\nWall time 0.1 seconds\nOutput:\n", True, False),
        ("Script running with cell ID 66\nWall time 10.0 seconds\nOutput:\n", True, False),
        ("Script completed\nWall time 0.1 seconds\nOutput:\nx", False, False),
        ("Script completed\n", False, False),
        ("Script running with cell ID \nOutput:\n", False, False),
        ("Wall time 0.1 seconds\nOutput:\n", False, False),
        ("script completed\nOutput:\n", False, False),
        ("", False, False),
    ],
)
def test_the_header_of_a_script(text: str, header: bool, failed: bool) -> None:
    assert wrappers.is_header(text) is header
    assert wrappers.says_failed(text) is failed


def test_a_pointer_in_the_place_of_all_lines_is_a_payload() -> None:
    pointer = '[same output as exec "cat a.py" above]'
    text = json.dumps({"exit_code": 0, "output": pointer})
    assert wrappers.opened(text).payload == pointer
    one_line = json.dumps({"exit_code": 0, "output": "done"})
    assert wrappers.opened(one_line).payload == one_line
