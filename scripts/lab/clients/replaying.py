"""Sends recorded requests through the hook again.

Clients never see what was forwarded, so what they send does not depend on the hook: the same
records measure another state of the code, without the clients.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import aiohttp

from scripts.lab.clients.hook import Hook
from scripts.lab.clients.records import Record, bytes_of, text_of


async def replay(records: Iterable[Record], hook: str) -> list[Record]:
    """The records as they would be with the hook at this URL."""
    async with aiohttp.ClientSession() as http:
        asked = Hook(http, hook)
        return [await _again(record, asked) for record in records]


async def _again(record: Record, hook: Hook) -> Record:
    said = await hook.ask(record.metadata, bytes_of(record.original))
    return replace(
        record,
        forwarded=None if said.body is None else text_of(said.body),
        hook=said.outcome,
        milliseconds=said.milliseconds,
    )
