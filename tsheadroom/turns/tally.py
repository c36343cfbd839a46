"""What came of a call, step by step, until its figures are wanted.

Nothing reads a tally to decide anything. Steps hand in values; only the event loop's thread
writes here.
"""

from __future__ import annotations

from collections import Counter

from tsheadroom.aperture.call import HookCall
from tsheadroom.telemetry.events import Event
from tsheadroom.telemetry.record import Figures, Outcome
from tsheadroom.turns.asking import Asked
from tsheadroom.turns.splice import Spliced


class Tally:
    """The numbers of one call while it is under way."""

    def __init__(self) -> None:
        self.outcome = Outcome.PASSTHROUGH
        self.gate_ms = 0.0  # waited to be let in
        self.asked = Asked()
        self.spliced = Spliced()
        self._events: Counter[Event] = Counter()
        self._labels = ("", "")
        self._call: HookCall | None = None

    def note(self, event: Event, amount: int = 1) -> None:
        """Something happened."""
        self._events[event] += amount

    def name(self, provider: str, model: str) -> None:
        """Note provider and model."""
        self._labels = provider, model

    def describe(self, call: HookCall) -> None:
        """Note a call that holds a conversation: until more happens, nothing is changed."""
        self._call, self.outcome = call, Outcome.NOOP

    def figures(self) -> Figures:
        """What is known so far, by value."""
        asked, done = self.asked, self.spliced
        events = self._events + asked.events
        if done.not_spliced:
            events[Event.FORMS_NOT_SPLICED] = done.not_spliced
        if done.tokens_saved and not done.modified:
            events[Event.OBSERVED_TOKENS_SAVED] = done.tokens_saved
        outcome = Outcome.ERROR if asked.failed else self.outcome
        provider, model = self._labels
        call = self._call
        came = call.conversation[1] - call.conversation[0] if call else 0
        return Figures(
            outcome=Outcome.MODIFY if done.modified else outcome,
            in_messages=len(call.items) if call else 0,
            in_bytes=came,
            out_bytes=came + done.grown_by,
            wait_ms=self.gate_ms + asked.wait_ms,
            worker_ms=asked.worker_ms,
            slot=asked.slot,
            cold=asked.cold,
            model_limit=asked.model_limit,
            provider=provider,
            model=model,
            tokens_saved=done.tokens_saved if done.modified else 0,
            events=events,
        )
