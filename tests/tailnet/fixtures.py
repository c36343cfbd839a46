"""Fixtures of a private tailnet, for the tests here and in e2e.

Of a package each, not of the session: other packages' tests look for children that are left.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.tailnet import private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="package")
def start_control() -> Iterator[Callable[..., private.ControlServer]]:
    """Starts control servers with flags of their own."""
    private.build()
    servers: list[private.ControlServer] = []

    def start(*flags: str) -> private.ControlServer:
        servers.append(private.ControlServer(*flags))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="package")
def control(start_control: Callable[..., private.ControlServer]) -> private.ControlServer:
    """A control server that lets any node in."""
    return start_control()


@pytest.fixture(scope="package")
def caller(
    control: private.ControlServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[private.Caller]:
    """A second node, in Aperture's place."""
    node = private.Caller(control.url, tmp_path_factory.mktemp("caller"))
    yield node
    node.close()


class Served(private.Process):
    """The node of `tests.tailnet.served`, and what it logs."""

    def __init__(
        self, control_url: str, state: Path, log: Path, *options: str, **environment: str
    ) -> None:
        self.log = log
        command = [sys.executable, "-m", "tests.tailnet.served", "--control", control_url]
        with log.open("w") as errors:
            super().__init__(
                [*command, "--state", str(state), *options],
                {**private.NODE_ENVIRONMENT, **environment},
                errors,
            )
        self.ip: str = self.ready["ip"]

    @property
    def threads(self) -> int:
        """Its OS threads."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/task").iterdir())


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts nodes with pages, and ends them."""
    nodes: list[Served] = []

    def start(control_url: str, *options: str, **environment: Any) -> Served:
        number = len(nodes)
        state = environment.pop("state", tmp_path / f"node{number}")
        log = tmp_path / f"node{number}.log"
        nodes.append(Served(control_url, state, log, *options, **environment))
        return nodes[-1]

    yield start
    for node in nodes:
        if node.process.poll() is None:
            node.close()
