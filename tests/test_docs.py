"""The documentation names what exists."""

from __future__ import annotations

import re
from pathlib import Path

from tsheadroom.cli import main as cli

ROOT = Path(__file__).parent.parent
PARITY = ROOT / "docs" / "parity.md"


def _tests() -> set[str]:
    found: set[str] = set()
    for path in ROOT.glob("tests/**/test_*.py"):
        found |= set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))
    return found


def rows() -> list[list[str]]:
    """The tables' rows, heads and rules left out."""
    lines = [line for line in PARITY.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row[0] != "Go daemon"]


def test_every_row_of_the_parity_page_is_proven_by_tests_that_exist() -> None:
    assert len(rows()) > 60
    for row in rows():
        assert len(row) == 3, row
        named = re.findall(r"`(test_\w+)`", row[2])
        assert named, row
        assert set(named) <= _tests(), row


def test_the_parity_page_names_every_option() -> None:
    text = PARITY.read_text()
    for option in cli.serve.params:
        assert any(f"{name}`" in text or f"{name} " in text for name in _spellings(option.opts))


def _spellings(names: list[str]) -> list[str]:
    return [*names, *(name.removeprefix("-") for name in names if name.startswith("--"))]
