"""Real Headroom, removing: only when asked, with a notice, and which of its knobs do anything."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import pytest

from tests.workers.child.conftest import NewTalk
from tsheadroom.workers.child import kompress
from tsheadroom.workers.child.lossless import marked

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


@pytest.mark.parametrize("profile", ["agent-90", "balanced", "coding", "general"])
def test_a_profile_sets_the_other_knobs(talk: NewTalk, profile: str) -> None:
    config = {"lossy": True, "min_tokens_to_compress": 100_000, "savings_profile": profile}
    assert talk(**config).run("journalctl", LOG) != LOG


def test_an_unknown_profile_is_no_profile(talk: NewTalk) -> None:
    config = {"lossy": True, "min_tokens_to_compress": 100_000, "savings_profile": "reckless"}
    assert talk(**config).run("journalctl", LOG) == LOG


@pytest.mark.parametrize(
    "knob",
    [
        {"protect_recent": 0},
        {"protect_analysis_context": False},
        {"target_ratio": 0.1},
        {"kompress_model": "disabled"},
    ],
)
def test_knobs_of_the_learned_compressor_do_nothing_without_it(
    talk: NewTalk, knob: dict[str, Any]
) -> None:
    plain = talk(lossy=True).run("journalctl", LOG)
    assert talk(lossy=True, **knob).run("journalctl", LOG) == plain


def test_missing_weights_are_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(kompress.importlib.util, "find_spec", lambda name: name)
    kompress.usable.cache_clear()
    with caplog.at_level(logging.INFO):
        assert not kompress.usable(None)
        assert not kompress.usable(None)
    assert len(caplog.records) == 1
    assert "no weights in the cache" in caplog.text
    kompress.usable.cache_clear()


def test_weights_are_found_by_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(kompress.importlib.util, "find_spec", lambda name: name)
    for repo, (revision, file) in kompress._FILES.items():
        place = tmp_path / f"models--{repo.replace('/', '--')}" / "snapshots" / revision / file
        place.parent.mkdir(parents=True)
        place.touch()
    kompress.usable.cache_clear()
    assert kompress.usable(None)
    assert not kompress.usable(kompress.DISABLED)
    kompress.usable.cache_clear()
