"""What the parts know of themselves, as series for /metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsheadroom.telemetry.series import Gauge

if TYPE_CHECKING:
    from tsheadroom.conversations.ledger import Conversations
    from tsheadroom.economy.windows import Windows
    from tsheadroom.workers import PoolStats


def of_pool(stats: PoolStats) -> list[Gauge]:
    """The pool's slots and how calls found them."""
    return [
        Gauge("tsheadroom_pool_slots_total", "Worker slots.", stats.slots),
        Gauge("tsheadroom_pool_slots_busy", "Worker slots with a call.", stats.busy),
        Gauge("tsheadroom_pool_slots_warm", "Worker slots with a live worker.", stats.warm),
        Gauge("tsheadroom_pool_waiting", "Calls that wait for a slot.", stats.waiting),
        Gauge(
            "tsheadroom_affinity_hits_total",
            "Calls that their conversation's own worker took.",
            stats.hits,
            counter=True,
        ),
        Gauge(
            "tsheadroom_affinity_spills_total",
            "Calls that went to another worker.",
            stats.spills,
            counter=True,
        ),
        Gauge(
            "tsheadroom_worker_restarts_total",
            "Workers replaced after a failure.",
            stats.restarts,
            counter=True,
        ),
    ]


def of_conversations(conversations: Conversations) -> list[Gauge]:
    """Conversations in memory and their way to and from the disk."""
    stats = conversations.stats
    return [
        Gauge("tsheadroom_conversations", "Conversations in memory.", len(conversations)),
        Gauge("tsheadroom_conversations_bytes", "Memory that they take.", conversations.memory),
        Gauge(
            "tsheadroom_conversations_evicted_total",
            "Conversations let go from memory.",
            conversations.evicted,
            counter=True,
        ),
        Gauge(
            "tsheadroom_conversations_loaded_total",
            "Conversations read back from disk.",
            stats.loaded,
            counter=True,
        ),
        Gauge(
            "tsheadroom_turns_stored_total",
            "Turns whose forms were written to disk.",
            stats.stored,
            counter=True,
        ),
    ]


def of_windows(windows: Windows) -> list[Gauge]:
    """Conversations that would be too long without their forms."""
    text = "Conversations that fit their model's window only as they are forwarded."
    return [Gauge("tsheadroom_conversations_fitting_compressed_only", text, len(windows))]
