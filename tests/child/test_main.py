"""The loop of a worker process, with pipes and no compression."""

from __future__ import annotations

import json
import os

import pytest

from tests.workers.standin import Compressor
from tsheadroom.child import main, system, watch


def test_memory_is_given_back_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = os.pipe()
    replies, writing = os.pipe()
    trims: list[int] = []

    def trim(pad: int) -> int:
        trims.append(pad)
        os.write(ours, b'{"id":2,"payload":{}}\n{"id":3,"payload":{}}\n')
        os.close(ours)
        return 1

    monkeypatch.setattr(watch.Stopwatch, "start", lambda *_: None)  # no signals for this process
    monkeypatch.setattr(main, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(system, "malloc_trim", lambda: trim)
    os.write(ours, b'{"id":1,"payload":{}}\n')
    main.serve(Compressor({}), theirs, writing, [])
    os.close(writing)
    with os.fdopen(replies, "rb") as lines:
        answered = [json.loads(line).get("id") for line in lines]
    assert answered == [None, 1, 2, 3]
    assert trims == [0]
