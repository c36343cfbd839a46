"""The names of a request's prefixes. A conversation is found again by them."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tsheadroom.aperture.digests import DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class Request:
    """The part of a hook call that decides which conversation it continues.

    `scope` separates what must not share forms (callers, body shapes, modes). `digests` and
    `by_model` have an entry for each item: its name, and True if the model made it.
    """

    scope: bytes
    digests: Sequence[bytes]
    by_model: Sequence[bool]
    session: bytes = b""  # the client's name of its session, if it is known; a hint, and no more
    has_prefix_cache: bool = True  # False if nothing at the provider depends on old items
    # Is there a signature at or after this item that binds what stands before it?
    binds_after: Callable[[int], bool] = lambda _: True

    def __len__(self) -> int:
        return len(self.digests)

    @property
    def newest_answer(self) -> int:
        """The index where the model's newest answer begins, which is the length of its request.

        0 if the conversation has no answer yet.
        """
        at = len(self.by_model)
        while at and not self.by_model[at - 1]:
            at -= 1
        while at and self.by_model[at - 1]:
            at -= 1
        return at


class Prefixes:
    """The names of one request's prefixes: BLAKE2b over the scope and the digests of the items.

    Only prefixes that can have been a request have one, because nothing else is ever recorded.
    """

    def __init__(self, request: Request) -> None:
        self._seed = request.scope
        self._digests, by_model = request.digests, request.by_model
        self.joined = b"".join(request.digests)
        last = max((i for i, made in enumerate(by_model) if made), default=-1)
        running = hashlib.blake2b(self._seed, digest_size=DIGEST_BYTES)
        self._at: dict[int, bytes] = {}  # length -> name
        self._answers: list[int] = []  # where answers begin, but for one that nothing stands before
        for index, item in enumerate(self._digests):
            answers = index > 0 and by_model[index] and not by_model[index - 1]
            if answers:
                self._answers.append(index)
            if answers or index > max(last, 0):
                self._at[index] = running.copy().digest()
            running.update(item)
        self._at[len(self._digests)] = running.digest()

    @property
    def whole(self) -> bytes:
        """The name of the whole request."""
        return self._at[len(self._digests)]

    def of(self, length: int) -> bytes:
        """The name of the first `length` items."""
        known = self._at.get(length)
        if known is None:
            joined = self.joined[: length * DIGEST_BYTES]
            known = self._at[length] = name_of(self._seed, joined)
        return known

    @property
    def newest_answer(self) -> int:
        """Where the newest answer begins; 0 for none."""
        return self._answers[-1] if self._answers else 0

    @property
    def first_answer(self) -> int:
        """Where the first answer begins; 0 for none."""
        return self._answers[0] if self._answers else 0

    def answer_before(self, length: int) -> int:
        """Where the newest answer within the first `length` items begins; 0 for none."""
        at = bisect_left(self._answers, length)
        return self._answers[at - 1] if at else 0

    def longest_first(self) -> Iterator[tuple[int, bytes]]:
        """Each prefix that can have been a request, as (length, name); the whole request first."""
        return iter(sorted(self._at.items(), reverse=True))

    def longer_than(self, length: int) -> list[bytes]:
        """The names of the prefixes of more than `length` items, the longest first."""
        return [name for at, name in self.longest_first() if at > length]


def name_of(scope: bytes, joined: bytes) -> bytes:
    """The name of the items with these concatenated digests."""
    return hashlib.blake2b(scope + joined, digest_size=DIGEST_BYTES).digest()
