"""Keeps what was made of a text, so that the same text is not worked on twice.

Agents of one team read the same files, sub-agents repeat each other, and a conversation that moves
to this worker comes as a whole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import blake2b
from typing import TypeVar

LIMIT = 4 << 20  # bytes of results; a worker's share of the memory that two conversations take
_ENTRY = 200  # bytes of an entry beside its text, measured

T = TypeVar("T")


class Memo:
    """Results by the text that they were made of, and whatever else decides them.

    At most `limit` bytes; the least recently used go first.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._size = 0
        self._results: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    def get(self, what: Hashable, text: str, make: Callable[[], T], weigh: Callable[[T], int]) -> T:
        """The result of `make()`, which must depend on `what` and `text` alone.

        `weigh` says how many bytes it takes to keep a result.
        """
        key = (what, blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest())
        known = self._results.get(key)
        if known is not None:
            self._results.move_to_end(key)
            return known[0]  # type: ignore[return-value]
        result = make()
        size = _ENTRY + weigh(result)
        # In this order: cut off in between, the sum is rather too large than too small.
        self._size += size
        self._results[key] = (result, size)
        while self._size > self._limit and self._results:
            self._size -= self._results.popitem(last=False)[1][1]
        return result
