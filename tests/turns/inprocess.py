"""Workers whose one child is this process: real forms, without processes."""

from __future__ import annotations

import asyncio
import json

import msgspec

from tsheadroom.child import environment, held
from tsheadroom.child.protocol import UnknownBaseError
from tsheadroom.workers import Job, Reply, UnknownBase


class InProcess:
    """Each job is done at once."""

    def __init__(self) -> None:
        environment.apply()
        from tsheadroom.child.compress.compressor import Compressor

        self._child = held.HeldConversations(Compressor({}))

    def submit(self, job: Job) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        try:
            result = self._child.turn(json.loads(job.payload))
        except UnknownBaseError as error:
            future.set_exception(UnknownBase(str(error)))
        else:
            future.set_result(msgspec.convert({**result, "slot": 0}, Reply))
        return future
