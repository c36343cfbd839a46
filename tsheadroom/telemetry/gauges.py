"""The series whose numbers other parts count: the pool, conversations, windows.

Each function reads one part's numbers as they are now, for Metrics.watch(). It makes families of
them, not the library's Gauge and Counter: a Counter cannot be set to a number that was counted
elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from tsheadroom.conversations.ledger import Conversations
    from tsheadroom.conversations.store import StoreState
    from tsheadroom.economy.windows import Windows
    from tsheadroom.telemetry.output import LineOutput
    from tsheadroom.workers import PoolStats


def of_pool(stats: PoolStats) -> list[Metric]:
    """The pool's slots, the calls that wait for one, and how often workers were replaced."""
    return [
        GaugeMetricFamily("tsheadroom_pool_slots_total", "Worker slots.", stats.slots),
        GaugeMetricFamily("tsheadroom_pool_slots_busy", "Worker slots with a call.", stats.busy),
        GaugeMetricFamily(
            "tsheadroom_pool_slots_warm", "Worker slots with a live worker.", stats.warm
        ),
        GaugeMetricFamily("tsheadroom_pool_waiting", "Calls that wait for a slot.", stats.waiting),
        CounterMetricFamily(
            "tsheadroom_affinity_hits_total",
            "Calls that their conversation's own worker took.",
            stats.hits,
        ),
        CounterMetricFamily(
            "tsheadroom_affinity_spills_total", "Calls that went to another worker.", stats.spills
        ),
        CounterMetricFamily(
            "tsheadroom_worker_restarts_total", "Workers replaced after a failure.", stats.restarts
        ),
    ]


def of_conversations(conversations: Conversations) -> list[Metric]:
    """Conversations in memory, and how many were evicted, read from disk and written there."""
    stats = conversations.stats
    return [
        GaugeMetricFamily(
            "tsheadroom_conversations", "Conversations in memory.", len(conversations)
        ),
        GaugeMetricFamily(
            "tsheadroom_conversations_bytes", "Memory that they take.", conversations.memory
        ),
        CounterMetricFamily(
            "tsheadroom_conversations_evicted_total",
            "Conversations let go from memory.",
            conversations.evicted,
        ),
        CounterMetricFamily(
            "tsheadroom_conversations_loaded_total",
            "Conversations read back from disk.",
            stats.loaded,
        ),
        CounterMetricFamily(
            "tsheadroom_turns_stored_total",
            "Turns whose forms were written to disk.",
            stats.stored,
        ),
    ]


def of_outputs(outputs: Iterable[LineOutput]) -> list[Metric]:
    """How many lines of each stream were dropped."""
    dropped = CounterMetricFamily(
        "tsheadroom_lines_dropped",
        "Lines of logs (stderr) and of -v (stdout) dropped, because nobody read them in time.",
        labels=["stream"],
    )
    for output in outputs:
        dropped.add_metric([output.name], output.dropped)
    return [dropped]


def of_store(state: StoreState | None) -> list[Metric]:
    """How the decisions on disk are; nothing if they are kept in memory only."""
    if state is None:
        return []
    return [
        GaugeMetricFamily(
            "tsheadroom_store_ok",
            "1 if decisions can be read from disk and written there, 0 if not.",
            state.trouble is None,
        ),
        CounterMetricFamily(
            "tsheadroom_store_replaced_total",
            "How often the file of decisions was spoilt or gone, and was begun anew.",
            state.replaced,
        ),
        CounterMetricFamily(
            "tsheadroom_store_rows_refused_total",
            "Turns on disk that could not be believed.",
            state.refused,
        ),
    ]


def of_windows(windows: Windows) -> list[Metric]:
    """How many conversations would not fit into their model's window without their forms."""
    return [
        GaugeMetricFamily(
            "tsheadroom_conversations_fitting_compressed_only",
            "Conversations that fit their model's window only as they are forwarded.",
            len(windows),
        )
    ]


def of_bodies(taken: int, waiting: int) -> list[Metric]:
    """The memory of bodies in flight, and how many wait for some."""
    return [
        GaugeMetricFamily(
            "tsheadroom_body_bytes", "Memory that bodies in flight are counted with.", taken
        ),
        GaugeMetricFamily("tsheadroom_bodies_waiting", "Bodies that wait for memory.", waiting),
    ]
