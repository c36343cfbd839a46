"""The command prints its tables, writes its files, and says in a sentence what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from tests.simulate import made
from tsheadroom.cli import main as cli


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    made.write(folder / "old" / "one.jsonl", made.two_reads())
    made.write(folder / "new" / "two.jsonl", [made.user("a"), made.model("b")])
    return folder


def run(*words: str | Path) -> str:
    """What the command prints, in a process of its own, as it changes its environment."""
    command = [sys.executable, "-m", "tsheadroom", "simulate", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_rows_tables_and_files(traces: Path, tmp_path: Path) -> None:
    edits, plot = tmp_path / "edits.jsonl", tmp_path / "plot.svg"
    words: list[str | Path] = [traces / "old", traces / "new", "--set", "folds=false"]
    printed = run(*words, "--policy", "ours", "--json", "--edits", edits, "--plot", plot)
    rows = json.loads(printed)
    assert [(row["set"], row["policy"]) for row in rows] == [
        (group, policy) for group in ("old", "new", "all") for policy in ("ours", "folds=false")
    ]
    assert rows[0]["price"] < rows[1]["price"] <= 100
    assert [row["behind"]["count"] for row in rows] == [1, 0, 0, 0, 1, 0]
    lines = [json.loads(line) for line in edits.read_text().splitlines()]
    assert [(line["policy"], line["class"]) for line in lines] == [
        ("as it is", "stood"),
        ("ours", "behind"),
        ("folds=false", "stood"),
    ]
    assert lines[1]["raw"]["source"] == "Read /w/a.py"
    assert lines[1]["forwarded"]["item"] == 2
    assert lines[1]["pointers"] == ["[same output as Read a.py above]"]
    drawn = "".join(ET.parse(plot).getroot().itertext())
    assert "ours: " in drawn
    assert "folds=false: " in drawn


def test_tables_for_people_and_for_a_document(traces: Path) -> None:
    table = run(traces / "old")
    assert "changed" in table
    assert "located" in table
    markdown = run(traces / "old", "--markdown").splitlines()
    assert markdown[2].startswith("| old | ours | 1 | 5 |")
    assert {line.count("|") for line in markdown} == {markdown[0].count("|")}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--policy", "theirs"], "'theirs' is no policy"),
        (["--set", "folds=4"], "folds must be true or false"),
        (["--members", "[1]"], "--members must be a JSON object"),
        (["--members", "{"], "--members must be a JSON object"),
        (["--plot", "/nowhere/plot.svg"], "cannot write /nowhere/plot.svg"),
    ],
)
def test_what_is_wrong_is_said(
    traces: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], why: str
) -> None:
    monkeypatch.setattr("tsheadroom.child.environment.apply", lambda: None)
    monkeypatch.setattr("logging.disable", lambda level: None)
    result = CliRunner().invoke(cli.main, ["simulate", str(traces / "new"), *words])
    assert result.exit_code == 1
    assert why in result.output
