"""Supervised child processes that run Headroom, and the pool that hands them calls."""

from __future__ import annotations

from .errors import (
    Guilt,
    NoWorker,
    PoolBusy,
    PoolClosed,
    SpawnFailed,
    UnknownBase,
    WorkerError,
    WorkerFailed,
)
from .messages import EditMessage, FormMessage, PointerMessage, Reply
from .pool import Pool, PoolStats
from .queues import Job

__all__ = [
    "EditMessage",
    "FormMessage",
    "Guilt",
    "Job",
    "NoWorker",
    "PointerMessage",
    "Pool",
    "PoolBusy",
    "PoolClosed",
    "PoolStats",
    "Reply",
    "SpawnFailed",
    "UnknownBase",
    "WorkerError",
    "WorkerFailed",
]
