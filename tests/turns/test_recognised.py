"""Recorded conversations get the same answers whether their bytes are recognised or read anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.answered import answered
from tests.conversation import TRACES
from tests.turns.inprocess import InProcess
from tsheadroom.aperture.outline import Outlines
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.settings import Settings
from tsheadroom.simulate import recordings, requests
from tsheadroom.turns.turns import Turns

FEW = 10  # turns, of which most bytes are new


def turns(child: InProcess) -> Turns:
    ledger = Conversations(directory=None)
    ledger.open()
    return Turns(ledger, child, deadline=60.0)


@pytest.fixture(scope="module")
def child() -> InProcess:
    return InProcess()


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
async def test_answers_are_the_same(child: InProcess, path: Path) -> None:
    recognising, reading = turns(child), turns(child)
    known = total = 0
    for number, request in enumerate(requests.of(recordings.read(path))):
        raw = request.hook_call()
        if number >= FEW and (found := recognising.outlines.find(raw)):
            known += found.resume - found.start
        total += len(raw) if number >= FEW else 0
        reading.outlines = Outlines()
        one, _ = await answered(recognising, raw, Settings())
        other, _ = await answered(reading, raw, Settings())
        assert one == other
    assert known >= total / 2
