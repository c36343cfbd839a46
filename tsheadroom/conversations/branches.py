"""Lineages: which conversation a request continues, found by what it holds and by nothing else.

A lineage is one line of a conversation's growth: the digests of its items, where its requests
ended, and the forms in which items were forwarded. A request that shares only a part of a lineage
starts one of its own, with a copy of that part.
"""

from __future__ import annotations

import hashlib
import secrets
from array import array
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tsheadroom.aperture.digests import DIGEST_BYTES
from tsheadroom.conversations.forms import Form

_LINEAGE_OVERHEAD = 1200  # bytes of an empty lineage and its place in the index
_TURN_BYTES = 8
_ROOT_BYTES = 150  # a further chain by which a lineage is found
# Branches that a lineage remembers. A system prompt that every conversation begins with would
# gather all of them; they are only needed to recognise a client's edit, which comes at once.
MAX_BRANCHES = 64


@dataclass(slots=True, eq=False)
class Delivery:
    """The end of one turn's answer, shared by every lineage that holds the turn."""

    arrived: bool | None = None  # None: still on its way


@dataclass(slots=True, eq=False)
class Lineage:
    """One line of growth. Item indexes and turn lengths count from the conversation's start."""

    name: str = field(default_factory=lambda: secrets.token_hex(8))
    digests: bytearray = field(default_factory=bytearray)
    turns: array[int] = field(default_factory=lambda: array("I"))  # lengths of its requests, sorted
    stored: array[int] = field(default_factory=lambda: array("I"))  # those of them on disk
    undelivered: set[int] = field(default_factory=set)
    under_way: dict[int, Delivery] = field(default_factory=dict)  # answers that have no end yet
    built_on: int = 0  # how often something went on from it, or from inside it
    forms: dict[int, Form] = field(default_factory=dict)
    form_bytes: int = 0
    group: bytes = b""  # names the tree of lineages on disk
    roots: list[bytes] = field(default_factory=list)  # the chains by which it is found
    asked_at: float = 0.0  # when it was last forwarded, by the ledger's clock; 0: not known
    branches: list[str] = field(default_factory=list)
    held: int = 0  # items that a worker holds, under the chain `prefix`
    prefix: bytes = b""

    def __len__(self) -> int:
        return len(self.digests) // DIGEST_BYTES

    @property
    def size(self) -> int:
        """Bytes in memory, roughly."""
        return (
            _LINEAGE_OVERHEAD
            + len(self.digests)
            + _TURN_BYTES * len(self.turns)
            + _ROOT_BYTES * len(self.roots)
            + self.form_bytes
        )

    def holds(self, index: int, digest: bytes) -> bool:
        """Whether it has an item there and that is the one."""
        return self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES] == digest

    def common(self, digests: bytes) -> int:
        """How many leading items it shares with a request of these concatenated digests."""
        high = min(len(self.digests), len(digests)) // DIGEST_BYTES
        if self.digests[: high * DIGEST_BYTES] == digests[: high * DIGEST_BYTES]:
            return high
        low = 0
        while low < high - 1:  # bisect: equal prefixes are compared at memory speed
            middle = (low + high) // 2
            a, b = low * DIGEST_BYTES, middle * DIGEST_BYTES
            if self.digests[a:b] == digests[a:b]:
                low = middle
            else:
                high = middle
        return low

    def turn_before(self, length: int) -> int:
        """The longest of its requests with at most `length` items; 0 for none."""
        at = bisect_right(self.turns, length)
        return self.turns[at - 1] if at else 0

    def asked(self, length: int) -> bool:
        """Whether a request of exactly this length was answered and the answer arrived."""
        if self.turn_before(length) != length or length in self.undelivered:
            return False
        delivery = self.under_way.get(length)
        if delivery is None:
            return True
        if delivery.arrived:
            del self.under_way[length]
        return bool(delivery.arrived)

    def append(self, digests: bytes, forms: dict[int, Form]) -> None:
        """A request went on from its end."""
        self.built_on += 1
        self.digests += digests
        self.turns.append(len(self))
        self.forms.update(forms)
        self.form_bytes += sum(form.size for form in forms.values())

    def insert(self, length: int) -> None:
        """A request ended inside it, at a length not seen before."""
        self.built_on += 1
        insort(self.turns, length)

    def branch(self, common: int) -> Lineage:
        """A lineage of its own that shares the first `common` items."""
        self.built_on += 1
        forms = {i: form for i, form in self.forms.items() if i < common}
        return Lineage(
            digests=self.digests[: common * DIGEST_BYTES],
            turns=self.turns[: bisect_right(self.turns, common)],
            stored=self.stored[: bisect_right(self.stored, common)],
            undelivered={n for n in self.undelivered if n <= common},
            under_way={n: d for n, d in self.under_way.items() if n <= common},
            forms=forms,
            form_bytes=sum(form.size for form in forms.values()),
            group=self.group,
            asked_at=self.asked_at,
        )

    def reform(self, forms: dict[int, Form]) -> None:
        """Its items go out in these forms and no others."""
        self.forms = dict(forms)
        self.form_bytes = sum(form.size for form in forms.values())

    def branched(self, name: str) -> None:
        """Remember a branch; the oldest are forgotten."""
        self.branches.append(name)
        del self.branches[:-MAX_BRANCHES]


class Chains:
    """The names of a request's prefixes: BLAKE2b over the digests of the items."""

    def __init__(self, seed: bytes, digests: Sequence[bytes], by_model: Sequence[bool]) -> None:
        self._seed = seed
        self._digests = digests
        last = max((i for i, made in enumerate(by_model) if made), default=-1)
        running = hashlib.blake2b(seed, digest_size=DIGEST_BYTES)
        self.at: dict[int, bytes] = {}  # length -> chain, where a request can have ended
        for index, item in enumerate(digests):
            if index and (index > last or (by_model[index] and not by_model[index - 1])):
                self.at[index] = running.copy().digest()
            running.update(item)
        self.at[len(digests)] = running.digest()

    def of(self, length: int) -> bytes:
        """The chain of the first `length` items."""
        known = self.at.get(length)
        if known is None:
            running = hashlib.blake2b(self._seed, digest_size=DIGEST_BYTES)
            for item in self._digests[:length]:
                running.update(item)
            known = self.at[length] = running.digest()
        return known

    def longest_first(self) -> Iterator[tuple[int, bytes]]:
        """Every (length, chain) at which a request can have ended, the whole request first."""
        return iter(sorted(self.at.items(), reverse=True))


class Lineages:
    """The lineages in memory: found by chain, bounded in bytes, least recently used go first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used: OrderedDict[str, int] = OrderedDict()  # name -> size when last counted
        self._by_name: dict[str, Lineage] = {}
        self._by_root: dict[bytes, Lineage] = {}
        self.bytes = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def find(self, chains: Chains) -> Lineage | None:
        """The lineage whose own part begins latest in this request."""
        for _, chain in chains.longest_first():
            lineage = self._by_root.get(chain)
            if lineage is not None:
                return lineage
        return None

    def of(self, root: bytes) -> Lineage | None:
        """The lineage that is found by exactly this chain."""
        return self._by_root.get(root)

    def keep(self, lineage: Lineage, root: bytes) -> None:
        """Take a new lineage in, found by `root`."""
        self._by_name[lineage.name] = lineage
        self.also(lineage, root)
        self.touch(lineage)

    def also(self, lineage: Lineage, root: bytes) -> None:
        """Find it by this chain, too."""
        lineage.roots.append(root)
        self._by_root[root] = lineage

    def touch(self, lineage: Lineage) -> None:
        """Count its size anew, and let go of what was not used for longest."""
        if lineage.name not in self._by_name:  # let go while a request was under way
            self._by_name[lineage.name] = lineage
            self._by_root.update(dict.fromkeys(lineage.roots, lineage))
        self.bytes += lineage.size - self._used.pop(lineage.name, 0)
        self._used[lineage.name] = lineage.size
        while self.bytes > self._limit and len(self._used) > 1:
            self._drop(*self._used.popitem(last=False))

    def family(self, lineage: Lineage) -> Iterable[Lineage]:
        """The lineage and the branches that started from it, as far as memory holds them."""
        todo = [lineage]
        while todo:
            one = todo.pop()
            yield one
            one.branches = [name for name in one.branches if name in self._by_name]
            todo += [self._by_name[name] for name in one.branches]

    def _drop(self, name: str, size: int) -> None:
        lineage = self._by_name.pop(name)
        for root in lineage.roots:
            if self._by_root.get(root) is lineage:
                del self._by_root[root]
        self.bytes -= size
        self.evicted += 1
