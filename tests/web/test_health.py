"""What /readyz says when the daemon serves, but not as well as it should."""

from __future__ import annotations

from pathlib import Path

from aiohttp.test_utils import make_mocked_request

from tests.served import Served, until
from tsheadroom.conversations.store.file import FILE_NAME
from tsheadroom.web.health import HealthPages


async def ready(missing: list[str], degraded: list[str]) -> tuple[int, str]:
    answer = await HealthPages(lambda: missing, lambda: degraded).ready(
        make_mocked_request("GET", "/readyz")
    )
    assert answer.text
    return answer.status, answer.text


async def test_degraded_is_ready() -> None:
    assert await ready([], []) == (200, "ready\n")
    assert await ready([], ["slow"]) == (200, "ready\ndegraded: slow\n")
    assert await ready(["no node"], ["slow"]) == (503, "no node\n")


def test_a_spoilt_file_is_told_and_counted_and_keeps_nobody_out(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / FILE_NAME).write_bytes(b"rubbish" * 1000)
    served = Served(tmp_path)
    try:
        until(lambda: served.ask("GET", "/readyz")[0] == 200)
        first, second = served.ask("GET", "/readyz")[1].splitlines()
        assert first == "ready"
        assert second.startswith("degraded: the decisions on disk were begun anew")
        metrics = served.ask("GET", "/metrics")[1]
        assert "\ntsheadroom_store_ok 1.0\n" in metrics
        assert "\ntsheadroom_store_replaced_total 1.0\n" in metrics
        assert served.log.count("begun anew") == 1
    finally:
        served.stop()
