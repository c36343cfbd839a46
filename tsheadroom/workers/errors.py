"""What can go wrong with a call to a worker: one class for each case that a caller treats apart."""

from __future__ import annotations

from tsheadroom.child.protocol import BAD_REQUEST
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
    """The worker does not hold that prefix; send the whole conversation with `frozen`."""


class SpawnFailed(WorkerError):
    """A worker did not come up; the slot tries again after a while."""


class WorkerFailed(WorkerError):
    """The worker broke during this call, or answered with an error.

    `killed` says that the child died of the call or hit the hard cap: what was sent then
    should not be sent again. `error_type` names the child's exception, or crash, cap, protocol,
    or shutdown.
    """

    def __init__(self, message: str, *, slot: int, error_type: str, killed: bool) -> None:
        super().__init__(message)
        self.slot = slot
        self.error_type = error_type
        self.killed = killed

    @property
    def blames_items(self) -> bool:
        """True if what was sent may be the cause; a shutdown says nothing against it."""
        return self.error_type not in (SHUTDOWN, BAD_REQUEST)
