"""What kind of output it is decides what may be done to it."""

from __future__ import annotations

import json

import pytest

from tests.child.conftest import NewTalk
from tests.child.talk import source
from tests.texts.test_columns import LOG

UPDATED = "The file /srv/app/engine.go has been updated successfully. " * 3
DIFF = "diff --git a/a.py b/a.py\nindex 1..2 100644\n--- a/a.py\n+++ b/a.py\n@@ -1,30 +1,30 @@\n"
BLOCK = "\n".join(f" the same line number {at} of several" for at in range(8))
AGAIN = DIFF + BLOCK + "\n-old\n+new\n" + BLOCK


def test_a_confirmation_keeps_its_words(talk: NewTalk) -> None:
    t = talk()
    for new in ("one", "two"):
        inputs = {"file_path": "/srv/app/engine.go", "old_string": "x", "new_string": new}
        assert t.turn("Edit", inputs, UPDATED) == UPDATED


@pytest.mark.parametrize("command", ["git diff", "gh pr diff 12", "git show HEAD"])
def test_no_line_of_a_diff_is_left_out(talk: NewTalk, command: str) -> None:
    assert talk().run(command, AGAIN) == AGAIN


def test_a_diff_is_known_by_its_text_too(talk: NewTalk) -> None:
    assert talk().run("./review.sh", AGAIN) == AGAIN


def test_the_same_lines_in_another_output_are_folded(talk: NewTalk) -> None:
    sent = talk().run("make", AGAIN.removeprefix(DIFF))
    assert '[8 lines again, from "the same line number 0 of several"]' in sent


def test_a_log_keeps_every_time_stamp(talk: NewTalk) -> None:
    stamped = "\n".join(
        f"build\tRun tests\t2026-06-18T04:46:{at:02}.5004954Z test number {at} passed"
        for at in range(60)
    )
    sent = talk().run("gh run view 17 --log", stamped)
    assert sent == "build\tRun tests\n" + stamped.replace("build\tRun tests", "")


def test_a_short_log_too(talk: NewTalk) -> None:
    sent = talk().run("gh run view 17 --log-failed | tail -7", LOG)
    assert sent.startswith("build\tSet up job\n\t2026-06-18T04:45:19.1Z Current")


ROWS = json.dumps([{"id": at, "name": f"service {at}", "state": "ok"} for at in range(60)])


def test_what_became_a_table_and_comes_again_is_the_same_output(talk: NewTalk) -> None:
    t = talk()
    table = t.run("./services.py --json", ROWS)
    assert len(table) < len(ROWS) / 2
    assert t.run("./other.py", ROWS) == '[same output as Bash "./services.py --json" above]'


def test_and_so_is_a_grouped_listing(talk: NewTalk) -> None:
    hits = "\n".join(f"src/lib/module.erl: {line.strip()}" for line in source(60))
    t = talk()
    assert t.run("./list.sh", hits) != hits
    assert t.run("./list.sh", hits) == '[same output as Bash "./list.sh" above]'


def test_another_table_is_another_output(talk: NewTalk) -> None:
    t = talk()
    t.run("./services.py --json", ROWS)
    other = t.run("./services.py --json", ROWS.replace("service 7", "service seven"))
    assert "same output" not in other
    assert "service seven" in other


BAR = "".join(f"\rDownloading {at} of 9" for at in range(10)) + "\ndone\n" + "word " * 30
COLOURED = "\n".join(f"\x1b[32mok\x1b[0m test {at}" for at in range(30))


@pytest.mark.parametrize(
    ("head", "tail"), [("", ""), ("Exit code: 0\nWall time: 0.1 seconds\nOutput:\n", "")]
)
def test_of_a_bar_stays_what_a_terminal_shows(talk: NewTalk, head: str, tail: str) -> None:
    sent = talk().run("./get.sh", head + BAR + tail)
    assert sent == f"{head}Downloading 9 of 9\ndone\n{'word ' * 30}{tail}"


def test_a_bar_does_not_run_over_its_wrapper(talk: NewTalk) -> None:
    text = f"Output: {BAR}\nExit Code: 0"
    assert talk().run("./get.sh", text) == text


def test_colours_go_inside_of_a_wrapper(talk: NewTalk) -> None:
    sent = talk().run("./check.sh", f"Output: {COLOURED}\nExit Code: 0")
    assert sent.startswith("Output: ok test 0\nok test 1\n")


def test_what_is_spelled_in_json_is_on_no_terminal(talk: NewTalk) -> None:
    text = json.dumps({"output": COLOURED, "exit": 0})
    assert talk().run("./check.sh", text) == text


@pytest.mark.parametrize("text", ["downloading\r\x1b[K" * 20, "\x1b[31m \x1b[0m" * 40])
def test_a_text_that_shows_nothing_stays(talk: NewTalk, text: str) -> None:
    """Providers refuse a block without text."""
    assert talk().run("./fetch", text) == text


def test_smaller_is_what_takes_fewer_bytes_in_a_request(talk: NewTalk) -> None:
    """Headroom takes two blanks out of this and puts a line break in, which JSON spells in two."""
    said = json.dumps("\n".join(f"line {at} of it" for at in range(32)))
    text = f'{{"output": {said}, "is_error":true}}\n(End of file)'
    t = talk()
    assert t.turn("search", {"pattern": "foo"}, text) == text
    assert t.last.notes == {"not_smaller": 1}
