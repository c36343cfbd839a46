"""Branches: the lines along which conversations grew, as far as memory holds them.

A branch has the digests of its items, the lengths of its requests, and the forms in which items
were forwarded. A request that shares only a part of a branch starts a branch of its own, with a
copy of that part.
"""

from __future__ import annotations

import secrets
from array import array
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tsheadroom.aperture.digests import DIGEST_BYTES
from tsheadroom.conversations.forms import Form
from tsheadroom.conversations.prefixes import Prefixes

_BRANCH_OVERHEAD = 1200  # bytes of an empty branch and its place in the index
_TURN_BYTES = 8
_ROOT_BYTES = 150  # a further prefix by which a branch is found
# How many branches that start from it a branch remembers. If every conversation begins with the
# same system prompt, all start from one branch. They are needed only to recognise a client's edit,
# which comes soon.
MAX_OFFSHOOTS = 64
MAX_FAMILY = 1000  # branches that are looked at to find the one that an answer was made from
MAX_ALONG = 64  # branches that are looked at because prefixes of one request find them


@dataclass(slots=True, eq=False)
class Delivery:
    """How one turn's answer ended. All branches that hold the turn share this object."""

    arrived: bool | None = None  # None while it is still on its way


@dataclass(slots=True, eq=False)
class Branch:
    """One line along which a conversation grew. All counts are from the conversation's start."""

    name: str = field(default_factory=lambda: secrets.token_hex(8))
    digests: bytearray = field(default_factory=bytearray)
    requests: array[int] = field(default_factory=lambda: array("I"))  # lengths, sorted
    stored: array[int] = field(default_factory=lambda: array("I"))  # lengths of those on disk
    generation: int = 0  # of the file that has these
    lost: set[int] = field(default_factory=set)  # lengths of those whose answer did not arrive
    # Lengths of those that were asked twice, or that it goes on from without an answer: an answer
    # to them may be another one than it holds.
    asked_again: set[int] = field(default_factory=set)
    under_way: dict[int, Delivery] = field(default_factory=dict)  # answers that have not ended yet
    changes: int = 0  # how often something was added to it or split off from it
    forms: dict[int, Form] = field(default_factory=dict)
    form_bytes: int = 0
    family: bytes = b""  # names the tree of branches on disk
    roots: list[bytes] = field(default_factory=list)  # the prefixes by which it is found
    end: bytes = b""  # and the one of all its items, which changes when it grows
    asked_at: float = 0.0  # when it was last forwarded, by the ledger's clock; 0: not known
    offshoots: list[str] = field(default_factory=list)  # names of branches that start from it
    held: int = 0  # how many of its items a worker holds
    held_prefix: bytes = b""  # and their chain, as that worker names it

    def __len__(self) -> int:
        return len(self.digests) // DIGEST_BYTES

    @property
    def size(self) -> int:
        """Bytes in memory, roughly."""
        return (
            _BRANCH_OVERHEAD
            + len(self.digests)
            + _TURN_BYTES * (len(self.requests) + len(self.asked_again))
            + _ROOT_BYTES * (len(self.roots) + bool(self.end))
            + self.form_bytes
        )

    def holds(self, index: int, digest: bytes) -> bool:
        """True if its item at `index` has this digest."""
        return self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] == digest

    def shared(self, digests: bytes) -> int:
        """How many first items it has in common with a request of these concatenated digests."""
        high = min(len(self.digests), len(digests)) // DIGEST_BYTES
        if self.digests[: high * DIGEST_BYTES] == digests[: high * DIGEST_BYTES]:
            return high
        low = 0
        while low < high - 1:  # a binary search: comparing equal prefixes is very fast
            middle = (low + high) // 2
            a, b = low * DIGEST_BYTES, middle * DIGEST_BYTES
            if self.digests[a:b] == digests[a:b]:
                low = middle
            else:
                high = middle
        return low

    def shared_before(self, end: int, digests: bytes) -> int:
        """How many items right before index `end` it has in common with such a request.

        Both have at least `end` items.
        """
        stop = end * DIGEST_BYTES
        low, high = 0, end + 1
        while low < high - 1:
            middle = (low + high) // 2
            start = (end - middle) * DIGEST_BYTES
            if self.digests[start:stop] == digests[start:stop]:
                low = middle
            else:
                high = middle
        return low

    def request_within(self, length: int) -> int:
        """The length of its longest request of at most `length` items; 0 for none."""
        at = bisect_right(self.requests, length)
        return self.requests[at - 1] if at else 0

    def answered(self, length: int) -> bool:
        """True if a request of exactly this length was answered and the answer arrived."""
        if self.request_within(length) != length or length in self.lost:
            return False
        delivery = self.under_way.get(length)
        if delivery is None:
            return True
        if delivery.arrived:
            del self.under_way[length]
        return bool(delivery.arrived)

    def append(self, digests: bytes, forms: dict[int, Form]) -> None:
        """Add the items of a request that went on from its end."""
        self.changes += 1
        self.digests += digests
        self.requests.append(len(self))
        self.forms.update(forms)
        self.form_bytes += sum(form.size for form in forms.values())

    def insert(self, length: int) -> None:
        """Note a request that ended inside it, at a new length."""
        self.changes += 1
        insort(self.requests, length)

    def split(self, shared: int) -> Branch:
        """Return a new branch with a copy of the first `shared` items."""
        self.changes += 1
        forms = {i: form for i, form in self.forms.items() if i < shared}
        return Branch(
            digests=self.digests[: shared * DIGEST_BYTES],
            requests=self.requests[: bisect_right(self.requests, shared)],
            stored=self.stored[: bisect_right(self.stored, shared)],
            generation=self.generation,
            lost={n for n in self.lost if n <= shared},
            asked_again={n for n in self.asked_again if n <= shared},
            under_way={n: d for n, d in self.under_way.items() if n <= shared},
            forms=forms,
            form_bytes=sum(form.size for form in forms.values()),
            family=self.family,
            asked_at=self.asked_at,
        )

    def set_forms(self, forms: dict[int, Form]) -> None:
        """Make these the forms of its items, and no others."""
        self.forms = dict(forms)
        self.form_bytes = sum(form.size for form in forms.values())

    def remember(self, offshoot: str) -> None:
        """Note the name of a branch that starts from it. When there are too many, the oldest go."""
        self.offshoots.append(offshoot)
        del self.offshoots[:-MAX_OFFSHOOTS]


class Branches:
    """The branches in memory, found by prefix. When they take too many bytes, the oldest go.

    The oldest are those that were not used for the longest time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used: OrderedDict[str, int] = OrderedDict()  # name -> size when last counted
        self._by_name: dict[str, Branch] = {}
        self._by_root: dict[bytes, Branch] = {}
        self.bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def find(self, prefixes: Prefixes, within: int) -> Branch | None:
        """The branch with the longest prefix that this request has as well; None if none has.

        Only prefixes of at most `within` items are looked at.
        """
        for length, prefix in prefixes.longest_first():
            if length <= within and (branch := self._by_root.get(prefix)) is not None:
                return branch
        return None

    def along(self, prefixes: Prefixes) -> Iterator[tuple[int, Branch]]:
        """The branches that prefixes of this request find, with their lengths; the longest first.

        At most MAX_ALONG, each once.
        """
        seen: set[str] = set()
        for length, prefix in prefixes.longest_first():
            branch = self._by_root.get(prefix)
            if branch is None or branch.name in seen:
                continue
            seen.add(branch.name)
            yield length, branch
            if len(seen) >= MAX_ALONG:
                return

    def of(self, root: bytes) -> Branch | None:
        """The branch that is found by exactly this prefix."""
        return self._by_root.get(root)

    def keep(self, branch: Branch, root: bytes) -> None:
        """Add a new branch, which `root` finds."""
        self._by_name[branch.name] = branch
        self.add_root(branch, root)
        self.touch(branch)

    def add_root(self, branch: Branch, root: bytes) -> None:
        """Let this prefix find the branch, too."""
        if self._by_root.get(root) is not branch:
            branch.roots.append(root)
            self._by_root[root] = branch

    def let_end_be_found(self, branch: Branch, end: bytes) -> None:
        """Let a request that goes on from its end find it at once, by the prefix of all its items.

        By its roots it would be found too, but only when all longer prefixes have been looked at.
        """
        self._forget_end(branch)
        branch.end = end
        self._by_root.setdefault(end, branch)

    def touch(self, branch: Branch) -> None:
        """Note that a branch is used, and count its size again. If memory is over, evict others."""
        if branch.name not in self._by_name:  # evicted while a request was under way
            self._by_name[branch.name] = branch
            self._by_root.update(dict.fromkeys(branch.roots, branch))
            if branch.end:
                self._by_root.setdefault(branch.end, branch)
        self.bytes += branch.size - self._used.pop(branch.name, 0)
        self._used[branch.name] = branch.size
        while self.bytes > self._limit and len(self._used) > 1:
            self._evict(*self._used.popitem(last=False))

    def family(self, branches: Iterable[Branch]) -> Iterator[Branch]:
        """These branches and those that started from them, as far as memory holds them, each once.

        At most MAX_FAMILY: to compare them with a request takes some microseconds each.
        """
        todo = list(branches)
        seen = {branch.name for branch in todo}
        for _ in range(MAX_FAMILY):
            if not todo:
                return
            one = todo.pop()
            yield one
            one.offshoots = [name for name in one.offshoots if name in self._by_name]
            new = [name for name in one.offshoots if name not in seen]
            seen.update(new)
            todo += [self._by_name[name] for name in new]

    def drop(self, branch: Branch) -> None:
        """Remove a branch."""
        if branch.name in self._by_name:
            self._remove(branch.name, self._used.pop(branch.name, 0))

    def _evict(self, name: str, size: int) -> None:
        self._remove(name, size)
        self.evicted += 1

    def _remove(self, name: str, size: int) -> None:
        branch = self._by_name.pop(name)
        self._forget_end(branch)
        for root in branch.roots:
            if self._by_root.get(root) is branch:
                del self._by_root[root]
        self.bytes -= size

    def _forget_end(self, branch: Branch) -> None:
        if branch.end not in branch.roots and self._by_root.get(branch.end) is branch:
            del self._by_root[branch.end]
