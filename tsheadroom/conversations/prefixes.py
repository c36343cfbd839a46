"""The names of a request's prefixes. A conversation is found again by them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile

from tsheadroom.aperture.digests import DIGEST_BYTES, Names

_ANSWER = b"\0\1"  # in Request.by_model: an item of the client's, and then one of the model's


@dataclass(frozen=True, slots=True)
class Request:
    """The part of a hook call that decides which conversation it continues.

    `scope` separates what must not share forms (callers, body shapes, modes). `digests` and
    `by_model` have an entry for each item: its name, and a byte that is 1 if the model made it.
    """

    scope: bytes
    digests: Names
    by_model: bytes
    session: bytes = b""  # the client's name of its session, if it is known; a hint, and no more
    # False if nothing at the provider depends on old items. To tell takes a look at all the bytes.
    has_prefix_cache: Callable[[], bool] = lambda: True
    # Is there a signature at or after this item that binds what stands before it?
    binds_after: Callable[[int], bool] = lambda _: True

    def __len__(self) -> int:
        return len(self.digests)

    def alone(self) -> Request:
        """The same without what looks at the call's bytes, so that it may be kept when they go."""
        return Request(self.scope, self.digests, self.by_model, self.session)

    @property
    def newest_answer(self) -> int:
        """The index where the model's newest answer begins, which is the length of its request.

        0 if the conversation has no answer yet.
        """
        return self.by_model.rfind(_ANSWER) + 1


class Prefixes:
    """The names of one request's prefixes: BLAKE2b over the scope and the digests of the items.

    Only prefixes that can have been a request have one, because nothing else is ever recorded: what
    ends before an answer, or behind the last one. Those from the newest answer on are named at
    once. The others are seldom asked for.
    """

    def __init__(self, request: Request, *, all_now: bool = False) -> None:
        """With `all_now` nothing is left for later. Some thousand answers take milliseconds."""
        self._seed = request.scope
        self._by_model = by_model = request.by_model
        self.joined = request.digests.joined
        newest, length = request.newest_answer, len(request)
        running = hashlib.blake2b(self._seed, digest_size=DIGEST_BYTES)
        running.update(self.joined[: newest * DIGEST_BYTES])
        self._at: dict[int, bytes] = {}  # length -> name
        if newest:
            self._at[newest] = running.copy().digest()
        done = newest
        for end in range(max(1, by_model.rfind(1) + 1), length):
            running.update(self.joined[done * DIGEST_BYTES : end * DIGEST_BYTES])
            self._at[end] = running.copy().digest()
            done = end
        running.update(self.joined[done * DIGEST_BYTES :])
        self._at[length] = running.digest()
        self._latest = sorted(self._at.items(), reverse=True)
        self._earlier = self._named_earlier() if all_now else None

    @property
    def whole(self) -> bytes:
        """The name of the whole request."""
        return self._latest[0][1]

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
        return self._by_model.rfind(_ANSWER) + 1

    @property
    def first_answer(self) -> int:
        """Where the first answer begins; 0 for none. One that nothing stands before is none."""
        return self._by_model.find(_ANSWER) + 1

    def answer_before(self, length: int) -> int:
        """Where the newest answer within the first `length` items begins; 0 for none."""
        return self._by_model.rfind(_ANSWER, 0, length) + 1

    def longest_first(self) -> Iterator[tuple[int, bytes]]:
        """Each prefix that can have been a request, as (length, name); the whole request first."""
        yield from self._latest
        if self._earlier is None:
            self._earlier = self._named_earlier()
        yield from self._earlier

    def longer_than(self, length: int) -> list[bytes]:
        """The names of the prefixes of more than `length` items, the longest first."""
        longer = takewhile(lambda prefix: prefix[0] > length, self.longest_first())
        return [name for _, name in longer]

    def _named_earlier(self) -> list[tuple[int, bytes]]:
        """Those that end before an earlier answer than the newest, in one pass."""
        running = hashlib.blake2b(self._seed, digest_size=DIGEST_BYTES)
        named: list[tuple[int, bytes]] = []
        done, end = 0, self.first_answer
        while end < self.newest_answer:
            running.update(self.joined[done * DIGEST_BYTES : end * DIGEST_BYTES])
            named.append((end, running.copy().digest()))
            done, end = end, self._by_model.find(_ANSWER, end) + 1
        return named[::-1]


def name_of(scope: bytes, joined: bytes) -> bytes:
    """The name of the items with these concatenated digests."""
    return hashlib.blake2b(scope + joined, digest_size=DIGEST_BYTES).digest()
