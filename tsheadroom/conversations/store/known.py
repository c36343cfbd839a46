"""Which prefixes may be on disk: a Bloom filter, so that most turns need not ask the disk.

Nearly every turn is new to the disk. To find that out by a query costs a tenth of a millisecond and
two switches of threads. The filter's "no" is certain. Its "perhaps" is wrong once in some hundred
times; then the disk is asked for nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

_PROBES = struct.Struct("<4I")  # a prefix's name is a hash already: its four words are four probes
_BITS_EACH = 16  # with four probes 0.24% of the answers are a wrong "perhaps"
_LEAST = 1 << 14  # prefixes: 32 KiB


class KnownPrefixes:
    """A set of names of 16 random bytes. It may claim to hold one that was never added."""

    def __init__(self, expected: int) -> None:
        """Make room for twice the `expected` number of names."""
        wanted = 2 * max(expected, _LEAST) * _BITS_EACH
        self._mask = (1 << wanted.bit_length()) - 1
        self._bits = bytearray((self._mask + 1) >> 3)
        self._room = (self._mask + 1) // _BITS_EACH

    @property
    def full(self) -> bool:
        """True if so many were added that it is wrong too often."""
        return self._room <= 0

    def add(self, name: bytes) -> None:
        """Add a name, unless it seems to be there already."""
        if self.may_hold(name):
            return
        bits, mask = self._bits, self._mask
        for word in _PROBES.unpack(name):
            bit = word & mask
            bits[bit >> 3] |= 1 << (bit & 7)
        self._room -= 1

    def update(self, names: Iterable[bytes]) -> None:
        """Add several names."""
        for name in names:
            self.add(name)

    def may_hold(self, name: bytes) -> bool:
        """False if the name was certainly never added."""
        bits, mask = self._bits, self._mask
        return all(bits[(word & mask) >> 3] >> (word & 7) & 1 for word in _PROBES.unpack(name))
