"""Prepares what a turn asks of workers, and rewrites history if that is allowed and pays."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tsheadroom.conversations.turn import Turn
from tsheadroom.errors import place_of
from tsheadroom.telemetry.events import Event
from tsheadroom.turns.asking import PARSE_COST
from tsheadroom.turns.items import Items
from tsheadroom.turns.question import Question
from tsheadroom.turns.rewrites import rewrite
from tsheadroom.turns.rules import Rules

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """`question` is None if there is nothing to ask. If it failed, all new items are left alone."""

    question: Question | None
    failed: bool = False
    events: Counter[Event] = field(default_factory=Counter)


def cost_of(items: Items, turn: Turn, rules: Rules) -> int:
    """What it costs to prepare the turn's question, in bytes that are looked at."""
    spans = items.call.items
    new = sum(spans[index][1] - spans[index][0] for index in turn.undecided)
    return PARSE_COST * new + (len(items.call.data) if rules.rewrite else 0)


def prepare(
    items: Items, turn: Turn, rules: Rules, is_quarantined: Callable[[bytes], bool]
) -> Prepared:
    """Prepare the question. Raises nothing: a defect of ours must not cost the known forms."""
    events: Counter[Event] = Counter()
    try:
        names = turn.request.digests
        turn.undecided = [i for i in turn.undecided if not is_quarantined(names[i])]
        binds_after = rules.request.binds_after
        if rules.rewrite and (views := rewrite(turn, items, rules.rewrite, binds_after)):
            events[Event.REWRITES] += 1
            events[Event.REWRITTEN_VIEWS] += views
        question = Question(items, turn, rules.for_workers)
    except Exception as error:
        turn.must_store = True
        events[Event.DECISION_FAILED] += 1
        log.error("new items left alone: a defect err=%s", place_of(error))
        return Prepared(None, failed=True, events=events)
    return Prepared(question if question.candidates else None, events=events)
