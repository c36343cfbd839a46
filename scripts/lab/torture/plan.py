"""Which fault comes when: a plan by seed, in turns and not in seconds, so that it comes again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random


@dataclass(frozen=True, slots=True)
class Step:
    """A fault begins before one turn, counted over all sessions, and has ended before another."""

    begin: int
    end: int
    fault: str


def steps(seed: int, faults: Sequence[str], every: float) -> Iterator[Step]:
    """Yield one fault each `every` turns, in the first half of them; the other half has none.

    Each fault comes up before one comes up again.
    """
    random = Random(f"{seed} plan")
    waiting: list[str] = []
    for number in count():
        if not waiting:
            waiting = random.sample(faults, len(faults))
        first, last = round(number * every), round((number + 1) * every)
        half = max(first + 1, (first + last) // 2)
        begin = random.randrange(first, half)
        end = random.randrange(begin + 1, half + 1)
        yield Step(begin, end, waiting.pop())
