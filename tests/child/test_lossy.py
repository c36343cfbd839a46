"""Real Headroom, removing: only when asked, with a notice, and which of its knobs do anything."""

from __future__ import annotations

import base64
import json
import pydoc
import random
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.child.conftest import NewTalk
from tsheadroom.child.compress import compressor as pipelines
from tsheadroom.child.compress import tokens
from tsheadroom.child.headroom import lossy, proofs
from tsheadroom.child.headroom.lossless import marked

RANDOM = random.Random(4)
LOG = "\n".join(
    f"2026-01-01 00:{at // 60:02}:{at % 60:02} INFO worker {RANDOM.randint(1, 9)} did job"
    f" {RANDOM.randint(1, 99999)} in {RANDOM.random():.3f} s"
    for at in range(400)
)


def test_nothing_is_removed_by_default(talk: NewTalk) -> None:
    assert talk().run("journalctl -u app", LOG) == LOG


def test_a_removal_says_so_and_how_to_see_the_rest(talk: NewTalk) -> None:
    t = talk(lossy=True)
    sent = t.run("journalctl -u app", LOG)
    assert len(sent) < len(LOG) / 2
    assert sent.endswith(": run a narrower command to see the rest]")
    assert "[shortened from 400 lines to " in sent
    assert not marked(sent)
    assert t.last.forms[0]["edits"][0]["lossy"] is True


def test_failures_and_files_are_never_shortened(talk: NewTalk) -> None:
    t = talk(lossy=True)
    assert t.run("journalctl -u app", LOG, error=True) == LOG
    assert t.run("cat app.log", LOG) == LOG
    assert talk(lossy=True).read("/srv/app.log", LOG) == LOG


def _search() -> str:
    """What `grep -rn` prints of this project."""
    folder = Path(pipelines.__file__).parents[2]
    return "\n".join(
        f"{path.relative_to(folder.parent)}:{number}:{line}"
        for path in sorted(folder.rglob("*.py"))
        for number, line in enumerate(path.read_text().split("\n"), 1)
        if "return" in line
    )


def _json() -> str:
    names = [str(file) for file in metadata.files("headroom-ai") or []]
    assert len(names) > 300
    return json.dumps(names, indent=1)


OUTPUTS = {
    "log": LOG,
    "search": _search(),
    "html": pydoc.html.docmodule(json),
    "base64": f"icon:\n{base64.b64encode(RANDOM.randbytes(9000)).decode()}\nend",
    "json": _json(),
}
SHORTER = {"log": 0.1, "html": 1.0, "base64": 0.1, "json": 0.2}  # of the lossless form, at most


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("tool", ["Bash", "mcp__web__get"])
def test_real_outputs(talk: NewTalk, tool: str, kind: str) -> None:
    text = OUTPUTS[kind]
    inputs = {"command": "./fetch"} if tool == "Bash" else {"query": "all"}
    plain = talk().turn(tool, inputs, text)
    t = talk(lossy=True)
    sent = t.turn(tool, inputs, text)
    assert len(sent) <= len(plain)
    assert not marked(sent)
    if sent != plain:
        lost = set(text.split()) - set(sent.split())
        said = re.search(r"\n\[shortened from \d+ (lines|characters) to \d+: .*\]$", sent)
        assert said or not lost or proofs.same(text, sent)
    if kind in SHORTER:
        assert len(sent) <= SHORTER[kind] * len(plain)


@pytest.mark.parametrize(
    "tool", ["Read", "Grep", "Glob", "Edit", "WebSearch", "WebFetch", "Skill", "view", "read_file"]
)
@pytest.mark.parametrize("kind", OUTPUTS)
def test_what_headroom_never_shortens(talk: NewTalk, tool: str, kind: str) -> None:
    inputs = {"query": "x"}
    lossy = talk(lossy=True).turn(tool, inputs, OUTPUTS[kind])
    assert lossy == talk().turn(tool, inputs, OUTPUTS[kind])


def test_excluded_tools_are_left_alone(talk: NewTalk) -> None:
    t = talk(lossy=True, exclude_tools=["Bash"])
    assert t.run("journalctl -u app", LOG) == LOG
    assert t.turn("mcp__logs__get", {"query": "all"}, LOG) != LOG


def test_an_unflagged_failure_is_left_alone(talk: NewTalk) -> None:
    trace = "Traceback (most recent call last):\n" + "\n".join(
        f'  File "/srv/app/mod_{at}.py", line {at}, in f\n    raise ValueError({at})'
        for at in range(60)
    )
    text = f"{trace}\nValueError: 59\nfatal error: the build failed"
    assert talk(lossy=True).run("make", text) == talk().run("make", text)


def test_of_a_log_without_errors_the_ends_stay(talk: NewTalk) -> None:
    lines = talk(lossy=True).run("journalctl -u app", LOG).split("\n")
    assert lines[: lossy.HEAD_LINES] == LOG.split("\n")[: lossy.HEAD_LINES]
    assert lines[-1 - lossy.TAIL_LINES : -1] == LOG.split("\n")[-lossy.TAIL_LINES :]


def test_errors_in_a_log_stay(talk: NewTalk) -> None:
    lines = LOG.split("\n")
    lines[200:200] = ["2026-01-01 00:03:20 ERROR job 77 failed: disk full"]
    assert lines[200] in talk(lossy=True).run("journalctl -u app", "\n".join(lines))


def test_a_removal_that_saves_little_is_not_taken() -> None:
    text = "\n".join(f"line {at}" for at in range(100))
    assert lossy.with_ends(text, text[:-50]) == text[:-50]
    assert lossy.with_ends("a\nb", "c") == "c"


def said(talk: NewTalk, role: str, **config: Any) -> str:
    t = talk(**config)
    part = {"kind": "text", "slot": [0], "text": LOG}
    t.add([{"role": role, "context": False, "parts": [part]}])
    return str(t.sent[0]["parts"][0]["text"])


@pytest.mark.parametrize(
    ("role", "config", "touched"),
    [
        ("user", {"lossy": True}, False),
        ("user", {"lossy": True, "compress_user_messages": True}, True),
        ("user", {"lossy": False, "compress_user_messages": True}, False),
        ("system", {"lossy": True}, True),
        ("system", {"lossy": True, "compress_system_messages": False}, False),
        ("system", {"lossy": False}, False),
    ],
)
def test_who_is_touched(talk: NewTalk, role: str, config: dict[str, Any], touched: bool) -> None:
    assert (said(talk, role, **config) != LOG) is touched


def test_a_minimum_of_tokens_spares_what_is_below(talk: NewTalk) -> None:
    assert talk(lossy=True, min_tokens_to_compress=100_000).run("journalctl", LOG) == LOG


def test_a_low_minimum_reaches_short_texts(talk: NewTalk) -> None:
    text = json.dumps([f"it {at}" for at in range(45)], separators=(",", ":"))
    assert len(text) < 500
    spared = {"min_tokens_to_compress": tokens.count(text) + 1}
    reached = {"min_tokens_to_compress": tokens.count(text) - 1}
    assert talk(lossy=True, **spared).run("list", text) == text
    assert talk(lossy=True, **reached).run("list", text) != text


def test_profiles_say_who_is_touched(talk: NewTalk) -> None:
    touched = {
        (profile, role): said(talk, role, lossy=True, savings_profile=profile) != LOG
        for profile in sorted(lossy.PROFILES)
        for role in ("user", "system")
    }
    assert {who for who, was in touched.items() if was} == {
        ("agent-90", "user"),
        ("agent-90", "system"),
        ("coding", "user"),
    }


@pytest.mark.parametrize("profile", ["agent-90", "balanced", "coding", "general"])
def test_a_profile_sets_the_other_knobs(talk: NewTalk, profile: str) -> None:
    config = {"lossy": True, "min_tokens_to_compress": 100_000, "savings_profile": profile}
    assert talk(**config).run("journalctl", LOG) != LOG


def test_an_unknown_profile_is_no_profile(talk: NewTalk) -> None:
    config = {"lossy": True, "min_tokens_to_compress": 100_000, "savings_profile": "reckless"}
    assert talk(**config).run("journalctl", LOG) == LOG
