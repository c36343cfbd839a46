"""The command line up to the point where the daemon would start."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from tsheadroom import daemon
from tsheadroom.cli import main as cli
from tsheadroom.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from tsheadroom.daemon import Options


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Result, Any]]:
    """Runs `serve` up to the point where the daemon would start."""
    for name in os.environ:
        if name.startswith(("TSHEADROOM_", "TS_")):
            monkeypatch.delenv(name)
    seen: list[Any] = []

    class Nothing:
        def __init__(self, options: Options, _: object) -> None:
            seen.append(options)

        async def run(self) -> None:
            return

    monkeypatch.setattr(daemon, "Daemon", Nothing)
    monkeypatch.setattr(logs, "configure", lambda: None)

    def invoke(*args: str, **env: str) -> tuple[Result, Any]:
        seen.clear()
        result = CliRunner().invoke(cli.main, ["serve", *args], env=env)
        return result, seen[0] if seen else None

    return invoke
