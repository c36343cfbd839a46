"""A node in a process of its own, on a private tailnet, called by a second node."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.tailnet.private import PATIENCE, Caller, ControlServer
from tsheadroom.tailnet.whois import WHOIS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.tailnet.fixtures import Served


def until(true: Callable[[], object], what: str) -> None:
    """Wait for something that happens by itself."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.05)


def who(caller: Caller, node: Served) -> dict[str, Any]:
    connection = caller.http(node.ip)
    try:
        status, body = connection.ask("GET", "/who")
        assert status == 200
        seen: dict[str, Any] = json.loads(body)
        return seen
    finally:
        connection.close()


@pytest.fixture
def node(serve: Callable[..., Served], control: ControlServer) -> Served:
    return serve(control.url, "--key", "any")


@pytest.fixture
def no_grants(control: ControlServer) -> Iterator[None]:
    yield
    control.grant({})


def test_remote_is_the_tailnet_peer(node: Served, caller: Caller) -> None:
    assert who(caller, node)["remote"] == caller.ip


def test_a_node_says_what_it_is_called(node: Served) -> None:
    said = f"the node is on the tailnet name=served addresses={node.ip},"
    until(lambda: said in node.log.read_text(), said)


def test_remote_is_right_for_each_of_many_callers(
    node: Served,
    caller: Caller,
    control: ControlServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    others = [
        Caller(control.url, tmp_path_factory.mktemp("other"), hostname=f"other{n}")
        for n in range(2)
    ]
    try:
        callers = [caller, *others] * 40
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            seen = list(pool.map(lambda one: who(one, node), callers))
        assert [one["remote"] for one in seen] == [one.ip for one in callers]
        # Each connection has a port of its own: an address remembered for another would show.
        peers = {(one["remote"], one["port"]) for one in seen}
        assert len(peers) == len(callers)
    finally:
        for other in others:
            other.close()


def test_large_bodies_cross_unchanged(node: Served, caller: Caller) -> None:
    body = bytes(range(256)) * (40 << 10)  # 10 MB
    status, answer = caller.http(node.ip).ask("POST", "/echo", body)
    assert (status, answer == body) == (200, True)


@pytest.mark.usefixtures("no_grants")
def test_capabilities_come_from_the_grants(
    node: Served, caller: Caller, control: ControlServer
) -> None:
    assert "example.com/cap/test" not in who(caller, node)["capabilities"]
    control.grant({"example.com/cap/test": [{"level": 2}]})
    until(
        lambda: who(caller, node)["capabilities"].get("example.com/cap/test") == [{"level": 2}],
        f"a grant takes effect after {WHOIS_SECONDS} s",
    )


def test_a_person_has_a_login_and_a_tagged_node_has_tags(
    node: Served, control: ControlServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Caller(control.url, tmp_path_factory.mktemp("tagged"), hostname="to-be-tagged")
    try:
        seen = who(other, node)
        assert "@" in seen["login"]
        assert (seen["node"], seen["tags"]) == ("to-be-tagged", [])
        control.tag("to-be-tagged", "tag:aperture")
        until(lambda: who(other, node)["tags"] == ["tag:aperture"], "the tag is seen")
        assert who(other, node)["login"] == ""
    finally:
        other.close()


def test_idle_connections_add_no_threads(node: Served, caller: Caller) -> None:
    who(caller, node)
    connections: list[socket.socket] = []

    def open_idle(count: int) -> None:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            connections.extend(pool.map(lambda _: caller.connect(node.ip), range(count)))
        until(lambda: who(caller, node)["connections"] > len(connections), "all are accepted")

    try:
        # Go's scheduler adds threads for its own work in the beginning; idle connections come
        # in two lots, so that the second shows what connections cost. What the sixteen that
        # open them keep busy at a time depends on the machine.
        open_idle(50)
        before = node.threads
        open_idle(300)
        assert node.threads - before < 100  # a thread each would be 300
        until(lambda: who(caller, node)["connections"] == 351, "each connection counts once")
    finally:
        for connection in connections:
            connection.close()
    until(lambda: who(caller, node)["connections"] == 1, "closed connections are given back")


def test_a_full_house_closes_new_connections_at_once(
    serve: Callable[..., Served], control: ControlServer, caller: Caller
) -> None:
    node = serve(control.url, "--key", "any", "--connections", "3")
    connections = [caller.http(node.ip) for _ in range(3)]
    for connection in connections:  # each is inside before the next comes
        assert connection.ask("GET", "/who")[0] == 200
    with caller.connect(node.ip) as extra:
        assert extra.recv(1) == b""
    for connection in connections:
        connection.close()
    until(lambda: _answers(caller, node), "there is room again")


def _answers(caller: Caller, node: Served) -> bool:
    try:
        who(caller, node)
    except (OSError, http.client.HTTPException):  # closed before it answered
        return False
    return True


def test_a_caller_that_goes_away_ends_the_handler(node: Served, caller: Caller) -> None:
    sock = caller.connect(node.ip)
    sock.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert sock.recv(1)
    until(lambda: who(caller, node)["connections"] == 2, "the stream counts")
    sock.close()
    until(lambda: who(caller, node)["connections"] == 1, "the stream's connection ends")


def test_closing_ends_open_connections_and_the_process(node: Served, caller: Caller) -> None:
    sock = caller.connect(node.ip)
    sock.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert sock.recv(1)
    assert node.close() == 0
    sock.settimeout(PATIENCE)
    while sock.recv(1 << 16):
        pass  # the rest of the stream, and then its end


def test_a_node_keeps_its_address_over_a_restart(
    serve: Callable[..., Served], control: ControlServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = tmp_path_factory.mktemp("kept")
    first = serve(control.url, "--key", "any", state=state)
    assert first.close() == 0
    assert serve(control.url, state=state).ip == first.ip  # and needs no key


def test_without_a_key_the_login_url_is_said_and_again_when_the_key_expires(
    serve: Callable[..., Served], start_control: Callable[..., ControlServer]
) -> None:
    control = start_control("-require-auth")
    node = serve(control.url, "--no-wait")

    def urls() -> list[str]:
        return re.findall(r"WARNING \S+ to add this node.* at (\S+)", node.log.read_text())

    def states() -> list[str]:
        return re.findall(r"tailnet node state=(\w+)", node.log.read_text())

    until(urls, "the login URL is said")
    assert states()[-1:] == ["NeedsLogin"]
    control.log_in(urls()[-1])
    until(lambda: states()[-1] == "Running", "the node runs after the login")
    said = len(urls())
    control.expire_keys()
    until(lambda: len(urls()) > said, "the login URL is said again")
    assert "the node's key has expired" in node.log.read_text()
    control.log_in(urls()[-1])
    until(lambda: states()[-1] == "Running", "the node runs again")


def test_a_refused_key_is_said_with_what_to_do(
    serve: Callable[..., Served], start_control: Callable[..., ControlServer]
) -> None:
    node = serve(start_control("-require-authkey=right").url, "--no-wait", "--key", "wrong")
    until(lambda: "make a new one" in node.log.read_text(), "the advice")
    assert "invalid authkey" in node.log.read_text()


def test_a_control_server_that_comes_late_is_waited_for(
    serve: Callable[..., Served], start_control: Callable[..., ControlServer]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    node = serve(f"http://127.0.0.1:{port}", "--no-wait", "--key", "any")
    until(lambda: "control server can be reached" in node.log.read_text(), "the advice")
    start_control(f"-listen=127.0.0.1:{port}")
    until(lambda: "state=Running" in node.log.read_text(), "the node runs")


def udp_ports() -> set[int]:
    """The UDP ports that are taken on this machine."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return {int(line.split()[1].rpartition(":")[2], 16) for line in lines}


def remembered(state: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((state / "tailnet.json").read_text())
    except FileNotFoundError:
        return {"port": 0, "callers": []}
    return content


def test_a_restarted_node_is_where_its_callers_left_it_and_tells_them(
    serve: Callable[..., Served], control: ControlServer, caller: Caller, tmp_path: Path
) -> None:
    state = tmp_path / "kept"
    first = serve(control.url, "--key", "any", state=state)
    assert who(caller, first)["remote"] == caller.ip
    until(lambda: caller.ip in remembered(state)["callers"], "the caller is remembered")
    port = remembered(state)["port"]
    assert port in udp_ports()
    first.process.kill()
    first.process.wait()
    assert port not in udp_ports()
    second = serve(control.url, "--key", "any", state=state)
    assert port in udp_ports()
    said = f"an earlier caller knows that the node is back addr={caller.ip}"
    until(lambda: said in second.log.read_text(), said)
    assert who(caller, second)["remote"] == caller.ip
    assert second.close() == 0
    assert remembered(state)["port"] == port


def test_a_taken_port_is_given_up_for_another_that_is_kept(
    serve: Callable[..., Served], control: ControlServer, tmp_path: Path
) -> None:
    state = tmp_path / "kept"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 0))
        asked = taken.getsockname()[1]
        first = serve(control.url, "--key", "any", "--port", str(asked), state=state)
        assert f"the UDP port is taken; using another one asked={asked}" in first.log.read_text()
        first.close()
    port = remembered(state)["port"]
    assert port not in (0, asked)
    second = serve(control.url, "--key", "any", state=state)
    assert port in udp_ports()
    second.close()


def test_callers_that_are_not_named_share_a_quarter(
    serve: Callable[..., Served],
    control: ControlServer,
    caller: Caller,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    named = Caller(control.url, tmp_path_factory.mktemp("named"), hostname="named")
    try:
        node = serve(control.url, "--key", "any", "--connections", "4", "--allow", "NAMED")
        strangers = caller.http(node.ip)
        strangers.request("POST", "/echo", b"half", {"Content-Length": "10"})
        until(lambda: who(named, node)["connections"] == 2, "the stranger is served")
        with pytest.raises((http.client.HTTPException, OSError)):
            who(caller, node)
        assert "not trusted (--allow); closing new ones limit=1" in node.log.read_text()
        kept = [named.http(node.ip) for _ in range(3)]
        assert [one.ask("GET", "/who")[0] for one in kept] == [200] * 3
        for one in (*kept, strangers):
            one.close()
    finally:
        named.close()
