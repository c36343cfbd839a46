"""Runs a node in a network namespace of its own and prints every destination it sends to.

Started through `unshare --net`. The namespace has nothing but the loopback interface, which is also
its default route: whatever goes anywhere, by any process here, passes the packet socket.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.tailnet.fixtures import Served
from tests.tailnet.private import NODE_ENVIRONMENT, PATIENCE, Caller, ControlServer

# Of its own, so that its ports are told from others' on this machine.
CONTROL = "127.0.0.2"

# Never answered (RFC 5737): what the recorder has to see to be believed.
ELSEWHERE = "198.51.100.1"

# An upload waits for a few lines or seconds; a closing node sends what it has. This is for how long
# something is looked for that must not come, not a time in which anything has to be done.
WATCHED_SECONDS = 10.0

_ETH_P_IP, _ETH_P_IPV6, _ETH_P_ALL = 0x0800, 0x86DD, 3
_TCP, _UDP = 6, 17
_SYN, _ACK = 0x02, 0x10

Destination = tuple[str, str, int]


class Recorder:
    """The destinations of all TCP connections tried, and of all UDP packets."""

    def __init__(self) -> None:
        self.seen: set[Destination] = set()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        threading.Thread(target=self._record, daemon=True).start()

    def to(self, address: str) -> set[Destination]:
        """What was seen to go to an address."""
        return {destination for destination in self.seen.copy() if destination[1] == address}

    def _record(self) -> None:
        while True:
            packet, (_, protocol, *_rest) = self._socket.recvfrom(1 << 16)
            if protocol == _ETH_P_IP:
                start, kind, to = (packet[0] & 15) * 4, packet[9], packet[16:20]
            elif protocol == _ETH_P_IPV6:
                start, kind, to = 40, packet[6], packet[24:40]
            else:
                continue
            (port,) = struct.unpack_from(">H", packet, start + 2)
            address = str(ipaddress.ip_address(to))
            if kind == _UDP:
                self.seen.add(("udp", address, port))
            elif kind == _TCP and packet[start + 13] & (_SYN | _ACK) == _SYN:
                self.seen.add(("tcp", address, port))


def go_elsewhere() -> None:
    """A connection and a name lookup that leave this machine: the recorder has to see them."""
    with socket.socket() as sock:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect((ELSEWHERE, 443))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"lookup", (ELSEWHERE, 53))


def main() -> None:
    for command in ("ip link set lo up", "ip route add default dev lo"):
        subprocess.run(command.split(), check=True)
    recorder = Recorder()
    # As a user starts it: nothing is said to the node but where its control server is.
    for name in NODE_ENVIRONMENT:
        os.environ.pop(name, None)
    work = Path(tempfile.mkdtemp())
    control = ControlServer(f"-listen={CONTROL}:0")
    plain = dict.fromkeys(NODE_ENVIRONMENT, "") | {"TS_ASSUME_NETWORK_UP_FOR_TEST": "1"}
    node = Served(control.url, work / "node", work / "log", "--key", "any", **plain)
    caller = Caller(control.url, work / "caller", environment=plain)
    answer = caller.http(node.ip).ask("GET", "/who")
    time.sleep(WATCHED_SECONDS)
    codes = [node.close(), caller.close(), control.close()]
    go_elsewhere()
    # Packets come in order: when these two are seen, so is all that the nodes have sent.
    end = time.monotonic() + PATIENCE
    while len(recorder.to(ELSEWHERE)) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    proof = recorder.to(ELSEWHERE)
    result = {
        "answer": answer[0],
        "codes": codes,
        "control": CONTROL,
        "derp_port": control.ready["derp_port"],
        "loopbacks": [node.ready["loopback"], caller.ready["proxy"]],
        "seen": sorted(recorder.seen - proof),
        "proof": sorted(proof),
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
