"""What the script of the model works with is there, and is the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.lab.clients import plan, workspace
from scripts.lab.clients.plan import PLANS, Edit, Read, Run, Write


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("workspace") / "work"
    workspace.make(made)
    return made


def files(place: Path) -> dict[str, str]:
    found = (path for path in place.rglob("*") if path.is_file())
    return {str(path.relative_to(place)): path.read_text() for path in found}


def test_the_workspace_is_the_same_every_time(place: Path, tmp_path: Path) -> None:
    workspace.make(tmp_path / "again")
    assert files(tmp_path / "again") == files(place)
    assert len({path.stat().st_mtime for path in place.rglob("*")}) == 1


@pytest.mark.parametrize("name", PLANS)
def test_every_file_that_is_read_is_there(place: Path, name: str) -> None:
    known = {*files(place), *(a.path for step in PLANS[name] for a in step if isinstance(a, Write))}
    for step in PLANS[name]:
        for action in step:
            if isinstance(action, Read):
                assert action.path in known
            elif isinstance(action, Run) and action.shows:
                assert action.command.split()[-1] in known


def test_every_edit_finds_its_text_once_but_the_one_that_fails(place: Path) -> None:
    texts = {**files(place), "notes.py": plan.NOTES}
    counts = [
        texts[action.path].count(action.old)
        for step in PLANS["main"]
        for action in step
        if isinstance(action, Edit)
    ]
    assert sorted(counts) == [0, 1, 1]


def test_no_view_of_a_file_shows_what_a_client_put_there(place: Path) -> None:
    assert not any("<system-reminder>" in text for text in files(place).values())
