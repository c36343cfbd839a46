"""A file's view is folded where its reader is not sent far for little, or to pieces."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.child.conftest import NewTalk
from tests.child.talk import Talk, numbered, source
from tsheadroom.child.compress import reach

FILE = source(60)
LONG = source(600)  # saves enough to be worth any way of these tests
WAY = int(reach.NEAR * reach.CHARS_PER_TOKEN)


def walk(t: Talk) -> None:
    """Let as much text go by as makes all that came before far."""
    t.run("make", "".join(f"{at:x}" for at in range(WAY)))


def pointers_in(text: str) -> int:
    return text.count(" above]")


@pytest.mark.parametrize(("file", "folded"), [(FILE, False), (LONG, True)], ids=["little", "much"])
def test_a_long_way_must_save_much(talk: NewTalk, file: list[str], folded: bool) -> None:
    t = talk()
    t.read("/srv/a.py", numbered(file))
    walk(t)
    assert bool(pointers_in(t.read("/srv/b.py", numbered(file)))) is folded


def test_as_long_as_it_is_near_any_fold_is_good(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/a.py", numbered(FILE))
    assert pointers_in(t.read("/srv/b.py", numbered(FILE))) == 1


def test_what_the_agent_said_itself_is_part_of_the_way(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/a.py", numbered(FILE))
    t.write("/srv/other.txt", "word " * WAY)
    assert not pointers_in(t.read("/srv/b.py", numbered(FILE)))


NEW = [f"    another_{at} = line({at})" for at in range(60)]


def test_nearly_all_of_a_view_is_folded_up_to_the_new_lines(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/a.py", numbered(FILE))
    sent = t.read("/srv/b.py", numbered([*FILE, *NEW[:3]]))
    assert sent.startswith("[lines 1-60 unchanged: see Read a.py above]\n61\t    another_0")


def test_of_half_a_view_the_lines_beside_the_new_ones_stay(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/a.py", numbered(FILE))
    sent = t.read("/srv/b.py", numbered([*FILE, *NEW]))
    assert sent.split("\n")[:2] == [
        f"[lines 1-{60 - reach.MARGIN} unchanged: see Read a.py above]",
        f"{61 - reach.MARGIN}\t{FILE[60 - reach.MARGIN]}",
    ]


def test_no_margin_is_left_beside_what_the_tool_says_itself(talk: NewTalk) -> None:
    said = "\n\n<system-reminder>\n" + "Consider the file above. " * 40 + "\n</system-reminder>"
    t = talk()
    t.read("/srv/a.py", numbered(FILE))
    sent = t.read("/srv/b.py", numbered(FILE) + said)
    assert sent == "[lines 1-60 unchanged: see Read a.py above]" + said


def test_a_small_rest_is_no_fold(talk: NewTalk) -> None:
    few = FILE[: reach.MARGIN + reach.MIN_PART - 1]
    t = talk()
    t.read("/srv/a.py", numbered(FILE))
    assert not pointers_in(t.read("/srv/b.py", numbered([*few, *NEW])))


def test_half_a_view_is_not_folded_far_away(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/a.py", numbered(LONG))
    walk(t)
    assert not pointers_in(t.read("/srv/b.py", numbered([*LONG, *map(str.upper, LONG)])))


def cat(t: Talk, path: str, text: str) -> str:
    return t.run(f"cat {path}", text)


def test_a_command_that_prints_a_file_shows_a_file(talk: NewTalk) -> None:
    t = talk()
    cat(t, "/srv/a.py", "\n".join(FILE))
    walk(t)
    assert not pointers_in(cat(t, "/srv/b.py", "\n".join(FILE)))


def test_an_output_of_a_command_may_lead_anywhere(talk: NewTalk) -> None:
    t = talk()
    t.run("tail server.log; date", "\n".join(FILE))
    walk(t)
    assert pointers_in(t.run("tail server.log; date", "\n".join(FILE)))


def read(t: Talk, path: str, text: str) -> str:
    return t.read(path, text)


@pytest.mark.parametrize("view", [read, cat])
@pytest.mark.parametrize(("setting", "folded"), [("all", True), ("never", False)])
def test_the_setting_can_say_all_or_never(
    talk: NewTalk, view: Callable[[Talk, str, str], str], setting: str, folded: bool
) -> None:
    t = talk(fold_files=setting)
    view(t, "/srv/a.py", "\n".join(FILE))
    walk(t)
    assert bool(pointers_in(view(t, "/srv/b.py", "\n".join([*FILE, *LONG])))) is folded


def test_where_files_are_never_folded_commands_are(talk: NewTalk) -> None:
    t = talk(fold_files="never")
    t.run("uname -a; date", "\n".join(FILE))
    assert pointers_in(t.run("uname -a; date", "\n".join(FILE)))
