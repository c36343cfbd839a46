"""The events that are counted: what can happen to a call or to one of its items.

Each is a value of the label `event` of `tsheadroom_events_total`.
"""

from __future__ import annotations

from enum import StrEnum


class Event(StrEnum):
    """One kind of event."""

    # How the request relates to what is known of its conversation: conversations/recognise.py.
    TURN_NEW = "turn_new"
    TURN_CONTINUED = "turn_continued"
    TURN_REPEATED = "turn_repeated"
    TURN_EDITED = "turn_edited"
    TURN_GAP = "turn_gap"
    TURN_UNKNOWN = "turn_unknown"

    # Why a call goes on as it came, or why it gets no new form.
    EMPTY = "empty"
    MODE_OFF = "mode_off"
    BYPASSED = "bypassed"
    NOT_A_TURN = "not_a_turn"
    MODE_FREEZE = "mode_freeze"
    MODE_DRAIN = "mode_drain"
    EXCLUDED_MODEL = "excluded_model"
    EXCLUDED_CALLER = "excluded_caller"
    # The provider keeps what stands before, so nobody can tell what the new items answer.
    HISTORY_ELSEWHERE = "history_elsewhere"
    HOLDOUT = "holdout"
    TOO_LARGE = "too_large"  # the conversation has more items or bytes than are worked on
    NOT_UTF8 = "not_utf8"  # a byte of the call is not UTF-8, so it is no JSON
    # The request lets the provider delete tool outputs, so no new text points at an earlier one.
    PROVIDER_MAY_DELETE = "provider_may_delete"

    # What went wrong. The caller's request goes on in every case.
    OVERLOADED = "overloaded"
    CALLER_HUNG_UP = "caller_hung_up"
    HISTORY_UNREADABLE = "history_unreadable"
    DECISION_FAILED = "decision_failed"  # a defect of ours
    DECISION_NOT_DURABLE = "decision_not_durable"
    WORKER_MISSING = "worker_NoWorker"
    WORKER_BUSY = "worker_PoolBusy"
    WORKER_CLOSED = "worker_PoolClosed"
    WORKER_FAILED = "worker_WorkerFailed"
    # It did not survive a call, and another one was asked about what was left.
    WORKER_DIED = "worker_died"
    WORKER_LATE = "worker_TimeoutError"
    WORKER_LOST_ITS_BASE = "worker_UnknownBase"

    # What went wrong with an item. It is left alone; the first three are not tried again.
    ITEM_OVER_BUDGET = "item_over_budget"
    ITEM_OUT_OF_MEMORY = "item_out_of_memory"
    ITEM_KILLED_WORKER = "item_killed_worker"
    ITEM_FAILED = "item_failed"
    ITEM_WITHOUT_TIME = "item_without_time"

    # What became of forms.
    FORMS_REFUSED = "forms_refused"
    FORMS_NOT_SPLICED = "forms_not_spliced"
    NOT_SMALLER = "not_smaller"
    IMITATION = "imitation"
    FOLDS_OFF = "folds_off"
    REWRITES = "rewrites"
    REWRITTEN_VIEWS = "rewritten_views"
    OBSERVED_TOKENS_SAVED = "observed_tokens_saved"

    @classmethod
    def named(cls, name: str) -> Event | None:
        """The event of this name; None if there is no such event."""
        return _BY_NAME.get(name)


_BY_NAME = {str(event): event for event in Event}
