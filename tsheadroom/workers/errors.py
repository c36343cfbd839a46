"""What can go wrong with a call to a worker: one class for each case that a caller treats apart."""

from __future__ import annotations

from enum import Enum

from tsheadroom.errors import TsheadroomError

SHUTDOWN = "shutdown"
"""error_type of a call that the end of the pool cut off."""


class WorkerError(TsheadroomError):
    """A call that brings no forms."""


class NoWorker(WorkerError):
    """No worker is alive; raised at once, because waiting for one would only cost the caller."""


class PoolBusy(WorkerError):
    """So much waits already that this call would hardly be served in time; raised at once."""


class PoolClosed(WorkerError):
    """The daemon is shutting down."""


class UnknownBase(WorkerError):
    """The worker does not hold that prefix; send the whole conversation with `frozen`.

    `place` is the one that its job had in the line; 0 if it had none.
    """

    place = 0


class SpawnFailed(WorkerError):
    """A worker did not come up; the slot tries again after a while."""


class Guilt(Enum):
    """What the end of a worker says against the item that it was at."""

    NONE = "none"
    """Nothing: the daemon or the machine was to blame, or nobody knows."""

    SUSPECT = "suspect"
    """It was killed from outside: by an operator, or by a kernel that is out of memory."""

    CONVICTED = "convicted"
    """It died of itself, or had used up what CPU time an item may have."""


class WorkerFailed(WorkerError):
    """The worker broke during this call, or answered with an error.

    `killed` says that the child did not survive the call. `error_type` names the child's exception,
    or crash, cap, protocol, or shutdown. `item` is the number of the item that the child was at,
    None if it was at none, and `guilt` what the failure says against it.
    """

    def __init__(
        self,
        message: str,
        *,
        slot: int,
        error_type: str,
        killed: bool,
        item: int | None = None,
        guilt: Guilt = Guilt.NONE,
    ) -> None:
        super().__init__(message)
        self.slot = slot
        self.error_type = error_type
        self.killed = killed
        self.item = item
        self.guilt = guilt
