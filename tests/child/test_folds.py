"""Lines that stand earlier become a pointer, and everything that must not, does not."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.child.conftest import NewTalk
from tests.child.talk import numbered, source
from tests.texts.test_numbering import STYLES, view
from tsheadroom.texts import pointers

FILE = source(60)


def pointer_lines(text: str) -> list[str]:
    return re.findall(r"^\[.* above\]$", text, re.MULTILINE)


def test_a_file_that_was_written_is_not_read_back(talk: NewTalk) -> None:
    t = talk()
    t.write("/srv/app/main.py", "\n".join(FILE))
    sent = t.read("/srv/app/main.py", numbered(FILE))
    assert sent == "[lines 1-60 unchanged: see lines 1-60 of your Write main.py above]"


def test_an_edited_file_read_again_shows_what_changed(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/app/main.py", numbered(FILE))
    edited = [*FILE[:25], "    something = new", *FILE[26:40], "    more = new", *FILE[40:]]
    t.turn(
        "Edit",
        {"file_path": "/srv/app/main.py", "old_string": FILE[25], "new_string": edited[25]},
        "The file has been updated.",
    )
    assert t.read("/srv/app/main.py", numbered(edited)).split("\n") == [
        "[lines 1-25 unchanged: see Read main.py above]",
        "26\t    something = new",
        "[lines 27-40 unchanged: see Read main.py above]",
        "41\t    more = new",
        "[lines 42-61 unchanged: see lines 41-60 of Read main.py above]",
    ]


def test_the_minimum_is_what_the_settings_say(talk: NewTalk) -> None:
    short = ["".join(line.split())[:20] for line in FILE]
    for count, folded in ((19, False), (20, True)):
        t = talk(gutter=False, fold_min_lines=20)
        t.read("/srv/a.py", "\n".join(short))
        sent = t.read("/srv/b.py", "\n".join(["x", *short[:count], "y"]))
        assert bool(pointer_lines(sent)) is folded
    t = talk(fold_min_lines=41)
    t.read("/srv/a.py", "\n".join(short))
    assert not pointer_lines(t.read("/srv/b.py", "\n".join(["x", *short[:40], "y"])))


def test_a_path_read_again_after_a_fold_comes_in_full(talk: NewTalk) -> None:
    t = talk()
    text = numbered(FILE)
    t.read("/srv/main.py", text)
    assert pointer_lines(t.read("/srv/main.py", text))
    assert not pointer_lines(t.read("/srv/main.py", text))
    assert pointer_lines(t.read("/srv/main.py", text))


def test_after_an_edit_reading_again_is_no_sign_of_a_miss(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/main.py", numbered(FILE))
    assert pointer_lines(t.read("/srv/main.py", numbered([*FILE, "a = 1"])))
    inputs = {"file_path": "/srv/main.py", "old_string": "a = 1", "new_string": "a = 2"}
    t.turn("Edit", inputs, "Done.")
    assert pointer_lines(t.read("/srv/main.py", numbered([*FILE, "a = 2"])))


def test_after_a_patch_what_a_command_prints_may_be_folded_again(talk: NewTalk) -> None:
    t = talk()
    text = "\n".join(FILE)
    t.run("cat main.py", text)
    assert pointer_lines(t.run("cat main.py", text))
    patch = "*** Begin Patch\n*** Update File: main.py\n@@\n-a\n+b\n*** End Patch"
    t.turn("apply_patch", {"input": patch}, "Success. Updated the following files:\nM main.py")
    assert pointer_lines(t.run("cat main.py", text))
    assert not pointer_lines(t.run("cat main.py", text))


def test_a_failed_call_is_no_target(talk: NewTalk) -> None:
    t = talk()
    t.write("/srv/main.py", "\n".join(FILE), error=True)
    t.turn("Bash", {"command": "cat /srv/main.py"}, "\n".join(FILE), error=True)
    assert not pointer_lines(t.read("/srv/main.py", numbered(FILE)))


def test_an_unflagged_failure_is_no_target_either(talk: NewTalk) -> None:
    t = talk()
    failure = "<tool_use_error>File has not been read yet.</tool_use_error>"
    t.turn("Write", {"file_path": "/srv/main.py", "content": "\n".join(FILE)}, failure)
    assert not pointer_lines(t.read("/srv/main.py", numbered(FILE)))


def test_an_old_string_is_no_target(talk: NewTalk) -> None:
    t = talk()
    inputs = {"file_path": "/srv/main.py", "old_string": "\n".join(FILE), "new_string": "pass"}
    t.turn("Edit", inputs, "Done.")
    assert not pointer_lines(t.read("/srv/copy.py", numbered(FILE)))


def test_every_edit_of_a_multi_edit_is_found(talk: NewTalk) -> None:
    t = talk()
    edits = [
        {"old_string": "a", "new_string": "b"},
        {"old_string": "c", "new_string": "\n".join(FILE)},
    ]
    t.turn("MultiEdit", {"file_path": "/srv/main.py", "edits": edits}, "Done.")
    sent = t.read("/srv/main.py", numbered(FILE, 5))
    assert (
        sent == "[lines 5-64 unchanged: see lines 1-60 of edit 2 of your MultiEdit main.py above]"
    )


def test_a_pointer_leads_to_text_and_never_to_a_pointer(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/a.py", numbered(FILE))
    t.read("/srv/b.py", numbered([*FILE, "b = 1"]))
    sent = t.read("/srv/c.py", numbered([*FILE, "c = 1"]))
    assert pointer_lines(sent) == ["[lines 1-60 unchanged: see Read a.py above]"]


RUN = "\n".join(f"test_case_{at} ... ok in {at * 3} ms" for at in range(40))


def test_two_runs_that_differ_are_not_folded(talk: NewTalk) -> None:
    t = talk()
    t.run("npm test", RUN + "\n40 passed in 1.2 s")
    assert not pointer_lines(t.run("cd /srv && npm test 2>&1 | tail -50", RUN + "\n1 failed"))


def test_two_runs_wholly_equal_are(talk: NewTalk) -> None:
    t = talk()
    t.run("npm test", RUN)
    assert t.run("npm test", RUN) == '[same output as Bash "npm test" above]'


def test_a_look_at_a_running_process_repeats_the_one_before(talk: NewTalk) -> None:
    t = talk()
    t.turn("BashOutput", {"bash_id": "b1"}, RUN)
    assert pointer_lines(t.turn("BashOutput", {"bash_id": "b1"}, RUN + "\nmore"))
    assert not pointer_lines(t.turn("BashOutput", {"bash_id": "b2"}, RUN + "\nother"))


def test_an_imitation_is_left_alone_and_is_no_fold_of_ours(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/main.py", numbered(FILE))
    imitation = "[lines 1-60 unchanged: see Read main.py above]"
    text = numbered([*FILE, imitation])
    assert t.read("/srv/log.txt", text) == text
    assert t.last.notes == {"imitation": 1}


def test_a_pointer_written_into_a_file_ends_folding(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/main.py", numbered(FILE))
    pointer = t.read("/srv/copy.py", numbered(FILE))
    t.write("/srv/other.py", f"a = 1\n{pointer}\n")
    assert t.last.notes == {"folds_off": 1}
    assert not pointer_lines(t.read("/srv/third.py", numbered(FILE)))
    assert t.last.notes == {}


def test_folds_can_be_off_for_one_request(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/a.py", numbered(FILE))
    assert not pointer_lines(t.read("/srv/b.py", numbered(FILE), folds=False))
    assert pointer_lines(t.read("/srv/c.py", numbered(FILE)))


def test_excluded_tools_are_left_alone(talk: NewTalk) -> None:
    t = talk(exclude_tools=["Read"])
    t.read("/srv/a.py", numbered(FILE))
    assert t.read("/srv/a.py", numbered(FILE)) == numbered(FILE)


def test_two_files_of_one_name_are_told_apart(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/one/main.py", numbered(FILE))
    t.read("/srv/two/main.py", numbered(source(30, "two")))
    sent = t.read("/srv/copy.py", numbered(FILE))
    assert pointer_lines(sent) == ["[same output as Read one/main.py above]"]


def test_an_earlier_reading_is_named_by_its_number(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/main.py", numbered(FILE))
    t.read("/srv/main.py", numbered(source(30, "new")))
    sent = t.read("/srv/copy.py", numbered(FILE))
    assert pointer_lines(sent) == ["[same output as Read #1 main.py above]"]


@pytest.mark.parametrize("gutter", [True, "sparse"])
@pytest.mark.parametrize("separator", STYLES)
def test_numbers_of_every_style_are_seen_through(
    talk: NewTalk, separator: str, gutter: bool | str
) -> None:
    t = talk(gutter=gutter)
    lines = ["import compute", *FILE]
    t.write("/srv/main.py", "\n".join(lines))
    shown = view(lines, separator)
    assert pointer_lines(t.read("/srv/main.py", shown)) == [t.sent[-1]["parts"][0]["text"]]


def test_a_number_behind_a_tag_is_none(talk: NewTalk) -> None:
    t = talk()
    first, *others = view(FILE, ": ").split("\n")
    text = "\n".join(["<content>" + first, *others])
    t.turn("read", {"filePath": "/a.py"}, text)
    assert t.turn("read", {"filePath": "/b.py"}, "<b>" + text).split("\n") == [
        "<b><content>" + first,
        "[lines 2..60 unchanged: see read a.py above]",
    ]


def test_opencodes_view_loses_most_numbers(talk: NewTalk) -> None:
    t = talk(gutter="sparse")
    head = "<path>/a.py</path>\n<type>file</type>\n<content>"
    lines = ["import compute", "", *FILE]
    text = f"{head}{view(lines, ': ')}\n\n(End of file - total 62 lines)\n</content>"
    sent = t.turn("read", {"filePath": "/a.py"}, text).split("\n")
    assert sent[2:6] == ["<content>1: import compute", "", *FILE[:2]]
    assert sent[63:] == ["62: " + FILE[59], "", "(End of file - total 62 lines)", "</content>"]


def test_between_folds_a_text_with_few_numbers_says_where_it_is(talk: NewTalk) -> None:
    t = talk(gutter="sparse")
    t.read("/srv/main.py", numbered(FILE))
    new = [f"    something = new({at})" for at in range(7)]
    edited = [*FILE[:23], *new, *FILE[24:]]
    assert t.read("/srv/main.py", numbered(edited)).split("\n") == [
        "[lines 1-23 unchanged: see Read main.py above]",
        "24\t" + new[0],
        *new[1:6],
        "30\t" + new[6],
        "[lines 31-66 unchanged: see lines 25-60 of Read main.py above]",
    ]


@pytest.mark.parametrize(("before", "after"), [(True, "sparse"), ("sparse", True)])
def test_the_numbers_may_change_in_mid_conversation(
    talk: NewTalk, before: bool | str, after: bool | str
) -> None:
    t = talk(gutter=before)
    t.read("/srv/main.py", numbered(FILE))
    first = t.sent[-1]["parts"][0]["text"]
    assert t.read("/srv/copy.py", numbered(["new", *FILE]), gutter=after).split("\n") == [
        "1→new",
        "[lines 2-61 unchanged: see lines 1-60 of Read main.py above]",
    ]
    assert t.sent[1]["parts"][0]["text"] == first


def test_results_of_one_item_are_folded_against_each_other(talk: NewTalk) -> None:
    t = talk()
    uses, parts = [], []
    for at in range(2):
        inputs = {"file_path": f"/srv/{at}.py"}
        uses.append({"kind": "tool_use", "call": f"c{at}", "name": "Read", "input": inputs})
        parts.append(
            {"kind": "tool_result", "slot": ["content", at], "call": f"c{at}", "error": False}
            | {"text": numbered(FILE)}
        )
    t.add([{"role": "assistant", "parts": uses}, {"role": "user", "parts": parts}])
    assert t.sent[1]["parts"][1]["text"] == "[same output as Read 0.py above]"


POOL = [f"    value_{at} = compute({at}, scale={at * 7})" for at in range(12)] + [
    "",
    "end",
    "\t1\tx",
    "12: x",
    "7:x",
    " 9→x",
]
LINES = st.lists(st.sampled_from(POOL), min_size=1, max_size=60)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["Read", "view", "Write", "Edit", "Bash", "cat", "plain"]),
        st.sampled_from(["/srv/a.py", "/srv/b.py", "/x/a.py"]),
        LINES,
        st.integers(0, 30),
        st.booleans(),
        st.sampled_from([True, False, "sparse"]),
    ),
    max_size=10,
)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, st.integers(2, 25), st.sampled_from(STYLES))
def test_whatever_is_said_comes_back(
    talk: NewTalk,
    steps: list[tuple[str, str, list[str], int, bool, bool | str]],
    minimum: int,
    separator: str,
) -> None:
    t = talk(fold_min_lines=minimum)
    seen: list[str] = []
    for tool, path, lines, cut, error, gutter in steps:
        t.config["gutter"] = gutter
        seen = [*seen[cut:], *lines, *seen[:cut]]  # some of what was there, moved
        text = "\n".join(seen)
        if tool == "Read":
            t.read(path, numbered(seen, cut + 1))
        elif tool == "view":
            t.read(path, view(seen, separator, cut + 1))
        elif tool == "Write":
            t.write(path, text, error=error)
        elif tool == "Edit":
            inputs = {"file_path": path, "old_string": "x", "new_string": text}
            t.turn("Edit", inputs, "Here is the result:\n" + numbered(seen, 3))
        elif tool == "cat":
            t.run(f"cat {path}", text)
        elif tool == "Bash":
            t.run("make test", text, error=error)
        else:
            t.turn("mcp__files__get", {"id": path}, text)


@pytest.mark.parametrize(
    "line", ["", "}", "the same line of a log, again and again", "x" * 300, "\t1\tx"]
)
def test_many_equal_lines_are_no_trap(talk: NewTalk, line: str) -> None:
    t = talk()
    t.read("/srv/a.log", "\n".join([line] * 8_000))
    t.read("/srv/b.log", "\n".join(["other", *[line] * 7_000, "other", *[line] * 500]))


@pytest.mark.parametrize("role", ["assistant", "user"])
def test_nothing_points_at_what_was_compacted(talk: NewTalk, role: str) -> None:
    forget = {"role": role, "context": role == "assistant", "parts": [{"kind": "forget"}]}
    t = talk()
    t.read("/srv/a.py", numbered(FILE))
    assert pointer_lines(t.read("/srv/b.py", numbered(FILE)))
    t.add([forget])
    full = t.read("/srv/b.py", numbered(FILE))
    assert not pointer_lines(full)
    assert pointer_lines(t.read("/srv/c.py", numbered(FILE)))  # at the copy that is still seen


def test_nothing_points_at_a_text_whose_writing_was_compacted(talk: NewTalk) -> None:
    path, text = "/srv/app/main.py", "\n".join(FILE)
    use = {"kind": "tool_use", "call": "w", "name": "Write",
           "input": {"file_path": path, "content": text}}  # fmt: skip
    done = {
        "kind": "tool_result",
        "slot": ["content"],
        "call": "w",
        "text": "Done.",
        "error": False,
    }
    t = talk()
    t.add(
        [
            {"role": "assistant", "context": True, "parts": [use, {"kind": "forget"}]},
            {"role": "user", "context": False, "parts": [done]},
        ]
    )
    assert not pointer_lines(t.read(path, numbered(FILE)))


def test_an_output_of_several_texts_is_one(talk: NewTalk) -> None:
    """Lines are counted through all of its texts, and each of them is folded for itself."""
    first, second = ["output", 1, "text"], ["output", 2, "text"]
    head, rest = "\n".join(FILE[:40]), "\n".join(FILE[40:])
    pieces = [[first, len(head)], [second, len(rest)]]
    t = talk()

    def add(path: str) -> list[tuple[list[str | int], str]]:
        """The edits of a reading whose output is of two texts."""
        use = {"kind": "tool_use", "call": path, "name": "Read", "input": {"file_path": path}}
        text = f"{head}\n{rest}"
        done = {"kind": "tool_result", "slot": first, "call": path, "text": text, "error": False}
        asked = {"role": "assistant", "context": True, "parts": [use]}
        told = {"role": "user", "context": False, "parts": [{**done, "pieces": pieces}]}
        forms = t.add([asked, told]).forms
        return [(edit["slot"], edit["text"]) for form in forms for edit in form["edits"]]

    assert add("/srv/a.py") == []
    assert t.read("/srv/c.py", f"{head}\n{rest}") == "[same output as Read a.py above]"
    assert add("/srv/b.py") == [
        (first, "[40 lines unchanged: see lines 1-40 of Read a.py above]"),
        (second, "[20 lines unchanged: see lines 41-60 of Read a.py above]"),
    ]


def test_numbers_with_gaps_of_their_own_are_not_folded(talk: NewTalk) -> None:
    """Who restores such a text would take it for one whose numbers were thinned out."""
    gaps = "\n".join(f"{at}\t{line}" if at % 3 else line for at, line in enumerate(FILE, 1))
    t = talk(fold_files="all")
    t.read("/srv/a.py", "\n".join(FILE))
    assert not pointer_lines(t.read("/srv/b.py", gaps + "\nsomething else"))


def test_that_numbers_were_thinned_out_is_seen_from_the_text(talk: NewTalk) -> None:
    t = talk(gutter="sparse")
    t.read("/srv/a.py", numbered(FILE))
    changed = [*FILE, "    something = new", "    more = new"]
    assert pointer_lines(t.read("/srv/a.py", numbered(changed)))
    restored = pointers.expand(t.sent, 3, "toolu_2", ["gutter"])  # as if nobody had said "sparse"
    assert restored == numbered(changed)


BLOCK = [f"warning: a quick brown fox jumps over the lazy dog {at}" for at in range(4)]


def test_what_comes_again_quotes_lines_that_stand_in_the_output(talk: NewTalk) -> None:
    """The first of them may be folded: then the next ones are what the rest is quoted from."""
    t = talk()
    t.run("cat notes.txt", "\n".join([*FILE[:20], *BLOCK, *FILE[20:]]))
    text = "\n".join([*FILE[:20], *BLOCK, *FILE[20:], "one", *BLOCK, "two", *BLOCK])
    assert t.run("make", text).split("\n") == [
        '[64 lines unchanged: see lines 1-64 of Bash "cat notes.txt" above]',
        "one",
        *BLOCK,
        "two",
        '[4 lines again, from "warning: a quick brown fox jumps over th"]',
    ]


@pytest.mark.parametrize(
    ("when", "folded"),
    [
        ("by night", ['[65 lines unchanged: see lines 1-65 of Bash "make" above]']),
        # What comes again is another line here. So it is folded as it stands there in full.
        (
            "by day",
            [
                '[33 lines unchanged: see lines 2-34 of Bash "make" above]',
                '[30 lines unchanged: see lines 36-65 of Bash "make" above]',
            ],
        ),
    ],
)
def test_lines_that_come_again_are_folded_where_they_mean_the_same(
    talk: NewTalk, when: str, folded: list[str]
) -> None:
    def log(when: str) -> list[str]:
        block = [f"{BLOCK[0]} {when}", *BLOCK[1:]]
        return [*block, *FILE[:30], *block, *FILE[30:]]

    t = talk()
    t.run("make", "\n".join(log("by night")))
    assert pointer_lines(t.run("cargo build", "\n".join(["new", *log(when)]))) == folded


def test_a_write_with_the_id_of_another_call_is_not_called_by_its_name(talk: NewTalk) -> None:
    t = talk()
    write = {"kind": "tool_use", "call": "c", "name": "Write",
             "input": {"file_path": "/srv/a.py", "content": "\n".join(FILE)}}  # fmt: skip
    read = {"kind": "tool_use", "call": "c", "name": "Read", "input": {"file_path": "/srv/b.py"}}
    done = {"kind": "tool_result", "slot": ["content"], "call": "c", "text": "ok", "error": False}
    t.add([{"role": "assistant", "parts": [write, read]}, {"role": "user", "parts": [done]}])
    assert not pointer_lines(t.read("/srv/c.py", numbered(FILE)))


def test_of_two_outputs_of_one_call_the_first_counts_even_if_it_failed(talk: NewTalk) -> None:
    t = talk()
    use = {"kind": "tool_use", "call": "c", "name": "Read", "input": {"file_path": "/srv/a.py"}}
    done = {"kind": "tool_result", "slot": ["content"], "call": "c"}
    failed = {**done, "text": "No such file: " * 9, "error": True}
    shown = {**done, "text": numbered(FILE), "error": False}
    for parts in ([use], [failed], [shown]):
        t.add([{"role": "assistant" if parts == [use] else "user", "parts": parts}])
    assert not pointer_lines(t.read("/srv/c.py", numbered(FILE)))


def test_what_looks_like_a_pointer_without_its_colours_ends_a_fold(talk: NewTalk) -> None:
    t = talk()
    t.read("/srv/main.py", numbered(FILE))
    text = "\n".join(["[lines 1-9 \x1b[1munchanged: see Read main.py above]", *FILE])
    assert t.run("cat log.txt", text) == text
    assert t.last.notes == {"imitation": 1}


def test_of_two_lines_with_one_number_the_first_is_meant(talk: NewTalk) -> None:
    """Two views in one output: the second cannot be named where its numbers stand in the first."""
    first, second = source(8_000, "first"), source(9_000, "second")
    t = talk(fold_files="all")
    t.run("cat -n a b", view(first, "\t") + "\n---\n" + view(second, "\t"))
    sent = t.run("cat b", "\n".join(["new", *second]))
    assert pointer_lines(sent) == [
        '[1000 lines unchanged: see lines 8001-9000 of Bash "cat -n a b" above]'
    ]


def test_many_folds_into_many_texts_are_no_trap(talk: NewTalk) -> None:
    """Each text is split once, and what stands for other lines worked out once."""
    files = [source(600, f"file_{at}") for at in range(30)]
    t = talk(fold_files="all")
    for at, lines in enumerate(files):
        t.run(f"cat {at}", "\n".join([*lines, *[f"the end of file number {at}"] * 90]))
    mixed = [
        line
        for at in range(0, 600, 8)
        for lines in files
        for line in (*lines[at : at + 8], f"{at}")
    ]
    assert len(pointer_lines(t.run("cat mixed", "\n".join(mixed)))) == 30 * 75


def test_many_folds_over_lines_that_stand_for_others_are_no_trap(talk: NewTalk) -> None:
    def log(new: list[str]) -> str:
        lines = list(BLOCK)
        for at in range(1_200):
            lines += [f"unique line {at} {n} of this output" for n in range(8)] + BLOCK
            lines += [f"{word} {at}" for word in new]
        return "\n".join(lines)

    t = talk()
    t.run("make", log([]))
    assert len(pointer_lines(t.run("cargo build", log(["new"])))) == 1_200
