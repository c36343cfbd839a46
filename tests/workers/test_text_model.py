"""Headroom's learned text compressor, from the daemon's options to the text, with a tiny model.

The packages of the extra `ml` stand apart (scripts/setup puts them there): Headroom behaves
differently where it finds them, and most people do not have them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workers import tiny_model
from tests.workers.support import PATIENCE, MakePool, children, job_config, started, until
from tests.workers.test_real_child import listing
from tsheadroom.child import environment
from tsheadroom.child.headroom import kompress
from tsheadroom.workers import Job
from tsheadroom.workers.launch import CHILD

PACKAGES = Path(sys.prefix) / "ml"
INSTALLED = PACKAGES.is_dir() or importlib.util.find_spec("onnxruntime") is not None

needs_packages = pytest.mark.skipif(
    not INSTALLED, reason="needs the packages of the extra `ml`: scripts/setup, or pip install"
)

RANDOM = random.Random(7)
PROSE = " ".join(RANDOM.choice(tiny_model.KEPT + tiny_model.DROPPED) for _ in range(900))
CODE = (Path(__file__).parents[2] / "tsheadroom" / "workers" / "pool.py").read_text()


class Child:
    """The real worker program on its own, asked line by line."""

    def __init__(self, cache: Path, options: dict[str, Any]) -> None:
        env = {**os.environ, "HF_HUB_CACHE": str(cache), "PYTHONPATH": str(PACKAGES)}
        self.errors = cache / "stderr"
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-B", CHILD, json.dumps({"options": options})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=env,
            )
        ready = self._read()
        assert ready["ready"]
        self.lacks = str(ready["lacks"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        while True:
            line: dict[str, Any] = json.loads(self._process.stdout.readline())
            if "at" not in line:  # progress
                return line

    def output(self, text: str, asked: str = "go on", **config: Any) -> str:
        """What becomes of a command's output."""
        payload = listing()
        said = {"kind": "text", "slot": ["content", 0], "text": asked}
        user = {"digest": "03" * 16, "role": "user", "context": True, "parts": [said]}
        payload["messages"] = [user, *payload["messages"]]
        payload["messages"][2]["parts"][0]["text"] = text
        payload["config"] = job_config(lossy=True, **config)
        request = {"id": 1, "payload": payload}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        reply = self._read()
        assert reply["ok"], reply
        forms = reply["result"]["forms"]
        return str(forms[0]["edits"][0]["text"]) if forms else text

    def close(self) -> None:
        self._process.communicate(timeout=PATIENCE)


def child(cache: Path, **options: Any) -> Iterator[Child]:
    made = Child(cache, {"lossy": True, **options})
    yield made
    made.close()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("hub")
    tiny_model.install(cache)
    tiny_model.install(cache, "somebody/another-model", keep=0.05)
    return cache


@pytest.fixture(scope="module")
def with_model(cache: Path) -> Iterator[Child]:
    yield from child(cache)


def words(text: str) -> list[str]:
    return text.rpartition("\n[")[0].split()


@needs_packages
def test_prose_loses_the_words_that_the_model_drops(with_model: Child) -> None:
    sent = with_model.output(PROSE)
    assert words(sent) == [word for word in PROSE.split() if word in tiny_model.KEPT]
    assert sent.endswith(
        f"\n[shortened from {len(PROSE)} characters to {len(' '.join(words(sent)))}:"
        " run a narrower command to see the rest]"
    )


@needs_packages
def test_target_ratio_is_the_share_of_words_that_stays(with_model: Child) -> None:
    shares = [
        len(words(with_model.output(PROSE, target_ratio=ratio))) / len(PROSE.split())
        for ratio in (0.1, 0.3, 0.6)
    ]
    assert shares == pytest.approx([0.1, 0.3, 0.6], abs=0.02)


@needs_packages
def test_kompress_model_disabled_leaves_prose(with_model: Child) -> None:
    assert with_model.output(PROSE, kompress_model="disabled") == PROSE


@needs_packages
def test_kompress_model_names_another_model(with_model: Child) -> None:
    other = with_model.output(PROSE, kompress_model="somebody/another-model", target_ratio=0.5)
    assert PROSE != other != with_model.output(PROSE, target_ratio=0.5)
    # It scores all of them below one half, so that nothing would stay: Headroom leaves the text.
    assert with_model.output(PROSE, kompress_model="somebody/another-model") == PROSE


@needs_packages
def test_protect_recent_spares_code_unless_it_is_0(with_model: Child) -> None:
    assert with_model.output(CODE) == CODE
    assert with_model.output(CODE, protect_recent=1) == CODE
    assert len(with_model.output(CODE, protect_recent=0)) < len(CODE)


@needs_packages
def test_protect_analysis_context_spares_code_that_is_asked_about(with_model: Child) -> None:
    asked = "please review this module"
    assert len(with_model.output(CODE, protect_recent=0)) < len(CODE)
    assert with_model.output(CODE, asked, protect_recent=0) == CODE
    shorter = with_model.output(CODE, asked, protect_recent=0, protect_analysis_context=False)
    assert len(shorter) < len(CODE)


@needs_packages
def test_a_profile_sets_the_ratio(with_model: Child) -> None:
    sent = with_model.output(PROSE, savings_profile="agent-90", target_ratio=0.9)
    assert len(words(sent)) / len(PROSE.split()) == pytest.approx(0.1, abs=0.02)


def test_a_text_that_would_take_too_long_is_not_begun() -> None:
    slow = kompress.Kompress(wanted=True)
    slow.pace = kompress.TEXT_SECONDS / 300
    assert slow.affordable("word " * 299)
    assert not slow.affordable("word " * 301)


@needs_packages
def test_a_daemon_that_started_without_lossy_has_no_model(cache: Path) -> None:
    for made in child(cache, lossy=False):
        assert made.output(PROSE) == PROSE
    assert "restart it" in made.errors.read_text()


@needs_packages
def test_without_weights_all_else_works_and_the_log_says_how_to_get_them(tmp_path: Path) -> None:
    log = "\n".join(f"2026-01-01 00:00:{at % 60:02} INFO did job {at}" for at in range(300))
    for made in child(tmp_path):
        assert made.output(PROSE) == PROSE
        assert len(made.output(log)) < len(log) / 2
    assert made.errors.read_text().count("prose stays as it is") == 1
    assert f"hf download {kompress.DEFAULT} onnx/" in made.lacks


@needs_packages
async def test_workers_with_a_model_are_not_forked(
    make_pool: MakePool,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("PYTHONPATH", str(PACKAGES))
    before = children()
    pool = await started(make_pool(pipelines="", options={"lossy": True}))
    payload = listing()
    payload["messages"][1]["parts"][0]["text"] = PROSE
    payload["config"] = job_config(lossy=True)
    reply = await pool.submit(Job("a", json.dumps(payload).encode()))
    assert len(reply.forms[0].edits[0].text) < len(PROSE)
    assert len(pool.pids) == 1
    assert "lack the text model" not in caplog.text
    await until(lambda: children() - before == set(pool.pids))


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert "tsheadroom[ml]" in kompress.missing(kompress.DEFAULT)


@pytest.mark.parametrize("model", [kompress.DEFAULT, "somebody/another-model"])
def test_weights_are_found_by_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert model in kompress.missing(model)
    tiny_model.install(tmp_path, model)
    assert not kompress.missing(model)
    for file in ("config.json", "tokenizer.json"):
        (found,) = tmp_path.glob(f"*ModernBERT*/**/{file}")
        found.unlink()
        assert kompress.TOKENIZER in kompress.missing(model)


def test_what_names_the_weights_place_is_passed_on_and_what_opens_it_elsewhere_is_not() -> None:
    given = {"HF_HOME": "/srv/hf", "HF_HUB_CACHE": "/srv/hub"}
    kept = environment.of_child(
        {**given, "HF_TOKEN": "hf_x", "HEADROOM_KOMPRESS_ENDPOINT": "https://elsewhere"}
    )
    assert given.items() <= kept.items()
    assert not {"HF_TOKEN", "HEADROOM_KOMPRESS_ENDPOINT"} & kept.keys()
    assert kept["HF_HUB_OFFLINE"] == kept["TRANSFORMERS_OFFLINE"] == "1"
