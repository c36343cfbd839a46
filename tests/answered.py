"""One call to the turns whose caller takes the answer, as the hook does it."""

from __future__ import annotations

from tsheadroom.settings import Settings
from tsheadroom.telemetry.record import Figures
from tsheadroom.turns.turns import Turns


async def answered(
    turns: Turns, body: bytes, settings: Settings | None = None
) -> tuple[bytes, Figures]:
    """The answer, which arrives; a caller that is cancelled meanwhile has not got it."""
    with turns.open(body, settings or Settings()) as turn:
        answer = await turn.answer()
        turn.arrived()
    return answer, turn.figures()
