"""Names what stands before each unit of a request, as a provider's cache and its signatures do."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from itertools import accumulate

from scripts.lab.clients.apis import Api
from scripts.lab.clients.apis.parts import HEAD, Body, Json, Unit, units

_KEY = b"the provider's secret"
SIGNED = "sealed_"  # what our provider's signatures begin with; a client may put in others
SIGNATURE = SIGNED + "[0-9a-f]{64}"


class Prefixes:
    """A request's units; `before[n]` names the first n of them."""

    def __init__(self, api: Api, body: Body) -> None:
        self.units: Sequence[Unit] = units(api, body)
        self.before: list[bytes] = list(accumulate(map(_dumps, self.units), _link, initial=b""))
        self._starts: dict[int, int] = {}
        for number, unit in enumerate(self.units):
            self._starts.setdefault(unit.item, number)

    @property
    def whole(self) -> bytes:
        """The name of all of it."""
        return self.before[-1]

    def before_item(self, item: int) -> bytes:
        """The name of all that stands before an item's first unit."""
        return self.before[self._starts.get(item, len(self.units))]


def sign(prefix: bytes) -> str:
    """What the model's thinking behind this prefix is sealed with."""
    return SIGNED + hmac.new(_KEY, prefix, "sha256").hexdigest()


def unsound(api: Api, items: Sequence[Json], prefixes: Prefixes) -> list[int]:
    """The items whose thinking was sealed behind another prefix than the one they stand behind."""
    found = []
    for index, item in enumerate(items):
        ours = [seal for seal in api.signatures(item) if seal.startswith(SIGNED)]
        if any(seal != sign(prefixes.before_item(index)) for seal in ours):
            found.append(index)
    return found


def _dumps(unit: Unit) -> bytes:
    # Where an item begins is a part of what was said: two users' texts are not one.
    place = "head" if unit.item == HEAD else unit.item
    return json.dumps([place, unit.value], sort_keys=True, separators=(",", ":")).encode()


def _link(prefix: bytes, unit: bytes) -> bytes:
    return hashlib.sha256(prefix + unit).digest()
