"""Says how far a figure may be off: intervals of 95%.

Conversations are what is drawn again: turns and edits of one conversation are much alike, and an
interval that took them for independent would be too narrow.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

_DRAWS = 2000
_Z = 1.96  # of a normal distribution, for 95%
Interval = tuple[float, float]


def bootstrap(sample: Sequence[T], figure: Callable[[Sequence[T]], float]) -> Interval:
    """The percentile interval of a figure of a sample: conversations drawn again, with return.

    The same sample always gives the same interval.
    """
    draw = random.Random(7)
    drawn = sorted(figure(draw.choices(sample, k=len(sample))) for _ in range(_DRAWS))
    return drawn[round(_DRAWS * 0.025)], drawn[round(_DRAWS * 0.975) - 1]


def wilson(count: int, of: int) -> Interval:
    """Wilson's interval of a share, for cases that do not depend on each other."""
    if not of:
        return 0.0, 1.0
    share, weight = count / of, _Z**2 / of
    middle = share + weight / 2
    half = _Z * math.sqrt(share * (1 - share) / of + weight / (4 * of))
    return max(0.0, (middle - half) / (1 + weight)), min(1.0, (middle + half) / (1 + weight))


def share(sample: Sequence[T], count: Callable[[T], int], of: Callable[[T], int]) -> Interval:
    """The interval of a share of cases that lie in conversations.

    The wider end of two each: a bootstrap over conversations, which knows that cases of one
    conversation are alike, and Wilson's, which does not say 0 to 0 where none was seen.
    """
    low, high = wilson(sum(map(count, sample)), sum(map(of, sample)))
    if not sample:
        return low, high

    def drawn(again: Sequence[T]) -> float:
        return sum(map(count, again)) / (sum(map(of, again)) or 1)

    lower, upper = bootstrap(sample, drawn)
    return min(low, lower), max(high, upper)
