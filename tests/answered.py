"""One call to a compression whose caller takes the answer, as the hook does it."""

from __future__ import annotations

from tsheadroom.settings import Settings
from tsheadroom.telemetry.record import Summary
from tsheadroom.turns.turns import Answer, Compression


async def answered(
    compression: Compression,
    body: bytes,
    summary: Summary | None = None,
    settings: Settings | None = None,
) -> Answer:
    """The answer, which arrives; a caller that is cancelled meanwhile has not got it."""
    with compression.delivery() as delivery:
        answer = await compression.answer(
            body, settings or Settings(), summary or Summary(), delivery
        )
        delivery.arrived()
        return answer
