"""The measurement beside the Go daemon: its order, its table, and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scripts.lab import bench, beside, traffic
from scripts.lab.beside import NotComparable, Run
from scripts.lab.latency import Case, Row
from scripts.lab.reference import Reference
from tests.lab.test_reference import stand_in


def row(**more: float) -> Row:
    figures = {"p50_ms": 10.0, "p99_ms": 30.0, "turns_per_s": 50.0, "cpu_daemon_ms": 6.0}
    counts = {"size": 1_200_000, "messages": 9, "sessions": 1, "turns": 40, "modified": 40}
    rest = {"cpu_workers_ms": 2.0, "answer_bytes": 9, "not_ok": 0}
    return Row(**{**figures, **counts, **rest, **more})  # type: ignore[arg-type]


def made(pss: float = 100.0, **more: float) -> Run:
    return Run(row(**more), pss, load=1.5, others_cores=0.25)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_who_comes_first_changes_with_the_round() -> None:
    assert [beside.names(number)[0] for number in range(3)] == ["reference", "ours", "reference"]
    assert sorted(beside.names(1)) == sorted(beside.names(0))


def test_each_run_has_a_daemon_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def one_run(start: beside.Start, *_: object) -> Run:
        start()
        return made()

    monkeypatch.setattr(beside, "measure_run", one_run)
    monkeypatch.setattr(beside, "Reference", lambda *_: started.append("reference"))
    monkeypatch.setattr(beside, "Daemon", lambda *options, pool: started.append(options[0]))
    cases = [Case(1_200_000), Case(1_200_000)]
    text, found = beside.run(Path("go"), Path("worker.py"), [], cases, 40, 2, ("--ours",))
    assert started == ["reference", "--ours"] * 2 + ["--ours", "reference"] * 2
    assert json.loads(json.dumps(found))["ours"][1][1]["row"]["p50_ms"] == 10.0
    assert "Load before a run: 1.5 to 1.5" in text
    assert "other work took 0.25 cores" in text


def test_the_table_has_the_medians_and_the_ratio_of_each_round() -> None:
    theirs = [made(p50_ms=ms) for ms in (100.0, 220.0, 900.0)]
    mine = [made(p50_ms=ms) for ms in (20.0, 10.0, 30.0)]
    lines = beside.table([theirs], [mine])
    wanted = ["1.2 MB", "1", "**p50 ms**", "220.0", "20.0", "**1/11.0**", "1/5.0, 1/22.0, 1/30.0"]
    assert cells(lines[2]) == wanted
    assert len({line.count("|") for line in lines}) == 1


def test_one_session_is_about_a_turn_and_many_are_about_a_host() -> None:
    for sessions, bold in ((1, {"p50 ms", "CPU ms a turn"}), (16, {"turns/s", "PSS MiB after"})):
        lines = beside.table([[made(sessions=sessions)]], [[made(sessions=sessions)]])[2:]
        rows = [cells(line) for line in lines]
        assert {cell[2].strip("*") for cell in rows if cell[2].startswith("**")} == bold
        assert all((cell[6] != "") == cell[2].startswith("**") for cell in rows)


def test_throughput_and_memory_are_multiples() -> None:
    theirs = made(500.0, sessions=16, turns_per_s=20.0)
    mine = made(200.0, sessions=16, turns_per_s=150.0)
    lines = [cells(line) for line in beside.table([[theirs]], [[mine]])[2:]]
    found = {line[2].strip("*"): line[5].strip("*") for line in lines}
    assert found["turns/s"] == "7.50x"
    assert found["PSS MiB after"] == "0.40x"


def test_a_run_of_answers_that_shorten_nothing_is_refused() -> None:
    beside.check("ours", row(modified=37))
    with pytest.raises(NotComparable, match=r"reference, 1\.2 MB x 1: only 12 of 40"):
        beside.check("reference", row(modified=12))
    with pytest.raises(NotComparable, match="3 of 40 answers were not 200"):
        beside.check("ours", row(not_ok=3))


def test_a_reference_that_leaves_all_alone_ends_the_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = stand_in(tmp_path, "noop")
    words = ["--beside", str(binary), "--worker", "worker.py", "--row", "20KB", "--turns", "2"]
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert "scripts/bench: reference, 20 KB x 1: only 0 of 2 answers" in str(ended.value.code)


def test_a_run_measures_what_was_modified(tmp_path: Path) -> None:
    binary = stand_in(tmp_path, "modify")
    traces = sorted(traffic.DATA.glob("*.jsonl"))
    run = beside.measure_run(
        lambda: Reference(binary, tmp_path / "worker.py", 1), Case(20_000, 2), traces, 3
    )
    assert (run.row.turns, run.row.modified, run.row.not_ok) == (6, 6, 0)


@pytest.mark.parametrize("words", [["--beside", "x"], ["--worker", "x"], ["--rounds", "0"]])
def test_half_of_the_options_is_an_error(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert ended.value.code == 2
    assert "--rounds" in capsys.readouterr().err
