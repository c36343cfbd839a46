"""Real Headroom, lossless: less text that says the same, no marker, no runaway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.child.conftest import NewTalk
from tests.child.talk import numbered, source
from tsheadroom.child.compress import tokens
from tsheadroom.child.compress.compressor import Compressor
from tsheadroom.child.headroom import lossless, proofs
from tsheadroom.texts import listings
from tsheadroom.texts.tools import ToolCall

ROWS = [{"id": at, "name": f"service {at}", "state": "ok", "owner": None} for at in range(60)]


def test_json_becomes_a_table_and_says_the_same(talk: NewTalk) -> None:
    t = talk()
    text = json.dumps(ROWS, indent=2)
    sent = t.turn("mcp__api__list", {"query": "all"}, text)
    assert len(sent) < len(text) / 3
    assert proofs.same(text, sent)
    assert t.last.tokens_saved > tokens.count(text) / 2


def test_layout_goes_where_a_table_does_not_fit(talk: NewTalk) -> None:
    t = talk()
    text = json.dumps({"a": {"b": [1.0, {"c": "d  e"}]}, "z": "x" * 50}, indent=4)
    assert t.turn("mcp__api__get", {"id": "1"}, text) == json.dumps(
        json.loads(text), separators=(",", ":")
    )


@pytest.mark.parametrize("switch", ["json", "lossless"])
def test_each_has_a_switch(talk: NewTalk, switch: str) -> None:
    text = json.dumps(ROWS, indent=2)
    on = talk().turn("mcp__api__list", {"query": "all"}, text)
    off = talk(**{switch: False}).turn("mcp__api__list", {"query": "all"}, text)
    assert on != off


def test_a_files_text_keeps_every_word(talk: NewTalk) -> None:
    text = json.dumps(ROWS, indent=2)
    assert talk().run("cat package.json", text) == text
    assert talk().turn("mcp__fs__read_file", {"path": "/srv/package.json"}, text) == text


def test_a_file_is_no_repetition_of_what_became_a_table(talk: NewTalk) -> None:
    t, text = talk(), json.dumps(ROWS, indent=2)
    assert t.run("node list.js", text) != text
    assert t.run("node list.js", text).startswith("[same output as ")
    assert t.run("cat package.json", text) == text


def test_reads_keep_escapes_and_commands_do_not(talk: NewTalk) -> None:
    text = "\n".join(f"\x1b[32mok\x1b[0m {line}" for line in source(9))
    assert "\x1b" not in talk().run("npm test", text)
    assert "\x1b" in talk(terminal=False).run("npm test", text)
    assert "\x1b" in talk().read("/srv/log.txt", numbered(text.split("\n")))


def test_search_results_are_grouped(talk: NewTalk) -> None:
    hits = [f"src/module/{name}.py:    def method_{at}(self)" for name in "ab" for at in range(9)]
    sent = talk().run("grep -r 'def ' src", "\n".join(hits))
    assert listings.unfold(sent) == "\n".join(hits)
    assert sent.split("\n")[:2] == ["src/module/a.py", ":    def method_0(self)"]


@pytest.mark.parametrize("text", ["a/" * 500_000, "QmFzZTY0/+" * 100_000, "a.b:" + "/" * 500_000])
def test_a_long_line_is_no_trap_for_grouping(text: str) -> None:
    assert listings.fold(text) == text


@given(st.lists(st.text("ab/.:\n -", max_size=8), max_size=12).map("\n".join))
def test_grouping_can_be_undone(text: str) -> None:
    folded = listings.fold(text)
    assert folded == text or listings.unfold(folded) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.fixed_dictionaries({"id": st.integers(), "name": st.text(max_size=9), "x": JSON}))
)
def test_every_table_is_proven_or_not_used(compressor: Compressor, rows: list[Any]) -> None:
    text = json.dumps(rows * 6)
    call = ToolCall("c", "tool")
    shorter, names = compressor.lossless.compress(call, text)
    if names:
        assert proofs.same(text, shorter)


def test_a_table_that_lost_a_value_is_no_proof() -> None:
    text = json.dumps(ROWS)
    assert proofs.same(text, json.dumps(ROWS, indent=1))
    assert not proofs.same(text, json.dumps(ROWS[:-1]))
    assert not proofs.same('[{"a": 1, "a": 2}]', '[{"a": 2}]')
    assert not proofs.same("[1.0]", "[1]")


@pytest.mark.parametrize(
    "text", ["{\n" * 24_000, "[\n{\n" * 12_000 + "}\n]\n" * 12_000, "foo {\n" * 10_000]
)
def test_what_takes_a_minute_is_not_tried(talk: NewTalk, text: str) -> None:
    assert not lossless.worth_trying(text)
    talk().run("dump", text)


def test_ordinary_nesting_is_tried() -> None:
    code = "\n".join(
        f"func f{at}() {{\n\tif x[{at}] {{\n\t\treturn\n\t}}\n}}" for at in range(3000)
    )
    assert lossless.worth_trying(code)


def test_a_form_that_no_line_can_carry_is_not_made(talk: NewTalk) -> None:
    line = "a {} line of a log that repeats itself here"
    assert len(talk().run("npm test", "\n".join([line.format("long")] * 40))) < 200
    text = "\n".join([line.format("\ud800")] * 40)
    assert talk().run("npm test", text) == text


DIFF = """diff --git a/x.py b/x.py
index 83db48f..bf269f4 100644
--- a/x.py
+++ b/x.py
@@ -1,3 +1,3 @@
 import a
-import b
+import c
"""


def test_a_diff_below_other_lines_keeps_all_of_its_lines(talk: NewTalk) -> None:
    text = "Checking the formatting ...\n" + DIFF * 12
    assert "index 83db48f..bf269f4 100644" in talk().turn("mcp__ci__check", {"id": 1}, text)
    assert not proofs.same(text, text.replace("index 83db48f..bf269f4 100644\n", ""))


def test_colours_that_no_terminal_shows_stay(talk: NewTalk) -> None:
    text = "\n".join(f"2026-01-01 00:00:00 \x1b[32mINFO\x1b[0m job {at}" for at in range(40))
    assert talk().turn("mcp__app__get", {"id": 1}, text) == text


@pytest.mark.parametrize("began", ["INFO ", "[worker-1] 2026-01-01 ", "", "20260618T"])
def test_a_time_is_not_cut_in_two(talk: NewTalk, began: str) -> None:
    text = "\n".join(f"{began}12:30:{at:02}Z did thing {at * 77}" for at in range(40))
    assert talk().turn("mcp__app__get", {"id": 1}, text) == text


def test_results_below_their_path_are_search_results(talk: NewTalk) -> None:
    text = "\n".join(f"{name}:{at}:x = {at}" for name in ("a/b.py", "Makefile") for at in range(40))
    sent = talk().turn("mcp__fs__search", {"regex": "x"}, text).split("\n")
    assert [sent[0], sent[41]] == ["a/b.py", "Makefile"]


def test_blocks_are_not_quoted_by_how_far_back_they_stand(talk: NewTalk) -> None:
    stanza = "  image: repo/image\n  port: 80\n  name: n\n  env: x"
    text = "\n".join(f"service_{at}:\n{stanza}" for at in range(20))
    assert "lines back)" not in talk().turn("mcp__k8s__get", {"id": 1}, text)


@pytest.mark.parametrize(
    "line",
    [
        "... (repeated 2000000000 times)",
        "... (repeats 9999 lines from 9999 lines back)",
    ],
)
def test_nothing_is_made_of_what_a_text_says_of_itself(line: str) -> None:
    """Headroom would make as many lines as that, to see if its own fold can be undone."""
    log = "".join(f"2026-01-01 00:00:{at:02} INFO worker {at} did its job\n" for at in range(40))
    text = f"{log}{'ok' * 30}\n{line}\n"
    assert not lossless.worth_trying(text)
    assert not lossless.worth_trying(json.dumps({"log": text}))
