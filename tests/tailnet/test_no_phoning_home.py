"""A node talks to its control server, its DERP relay and its peers, and to nobody else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.tailnet.private import ROOT
from tests.tailnet.recorder import ELSEWHERE

if TYPE_CHECKING:
    from collections.abc import Callable

# With the root of a user namespace where this is not root already.
UNSHARE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "-r", "--net"]

# Of the namespace: the node's own interface and its peers' are on it.
LOOPBACK = "127.0.0.1"


def namespaces_work() -> bool:
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def record(start_control: Callable[..., object]) -> dict[str, Any]:
    del start_control  # builds the control server
    command = [*UNSHARE, sys.executable, "-m", "tests.tailnet.recorder"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


@pytest.mark.skipif(not namespaces_work(), reason="needs unshare --net, and ip")
def test_tcp_and_dns_go_to_the_tailnets_own_servers_only(record: dict[str, Any]) -> None:
    assert record["answer"] == 200
    assert record["codes"] == [0, 0, 0]
    own = {(LOOPBACK, int(address.rpartition(":")[2])) for address in record["loopbacks"]}
    own.add((LOOPBACK, record["derp_port"]))
    foreign = [
        (protocol, address, port)
        for protocol, address, port in record["seen"]
        if (protocol == "tcp" or port == 53)
        and address != record["control"]
        and (address, port) not in own
    ]
    assert foreign == []
    assert any(address == record["control"] for _, address, _ in record["seen"])


@pytest.mark.skipif(not namespaces_work(), reason="needs unshare --net, and ip")
def test_the_recorder_sees_what_leaves(record: dict[str, Any]) -> None:
    assert ["tcp", ELSEWHERE, 443] in record["proof"]
    assert ["udp", ELSEWHERE, 53] in record["proof"]
