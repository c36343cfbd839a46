"""Judges the requests of one client: what the hook must never do, what it saved, its latency."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from scripts.lab.clients.apis import Api
from scripts.lab.clients.apis.parts import Body, Json, Path, items, outputs
from scripts.lab.clients.prefixes import SIGNATURE, Prefixes
from scripts.lab.clients.prices import Bill
from scripts.lab.clients.records import Record
from scripts.lab.clients.restoring import Conversation, Restored

_SEAL = re.compile(SIGNATURE)
_OK = 200


@dataclass(slots=True)
class Verdict:
    """What came out, for one client.

    `broken_by_client` and `broken_by_hook` count thinking that came back behind another prefix than
    it was sealed behind. `wrong` lists, in words, what the hook has done against its laws.
    """

    turns: int = 0
    price: float = 100.0  # in percent of no hook, as is `tokens`
    tokens: float = 100.0
    changed: int = 0  # requests in which something stands otherwise than it was forwarded before
    broken_by_hook: int = 0
    broken_by_client: int = 0
    structure: int = 0  # places outside of tools' outputs that differ, or outputs that grew
    outputs: int = 0
    restored: dict[str, int] = field(default_factory=dict)  # outputs that were changed, by how
    rewritten: int = 0  # texts of files that did not come back to the letter
    dangling: int = 0  # pointers that lead nowhere, in any request
    failed: int = 0  # requests without an answer of the hook
    refused: int = 0  # requests that the provider did not take
    median_ms: float = 0.0
    slowest_ms: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Seen:
    """An earlier request: what the client sent, and what was forwarded."""

    original: Prefixes
    forwarded: Prefixes


class Judge:
    """Takes the records of one client in order.

    `shows_file` says of a call's id whether its output is nothing but the text of a file.
    """

    def __init__(self, shows_file: Callable[[str], bool]) -> None:
        self._shows_file = shows_file
        self._verdict = Verdict()
        self._before, self._after = Bill(), Bill()
        self._seen: list[_Seen] = []
        self._born: dict[str, tuple[bytes, bytes]] = {}  # by signature: both prefixes behind it
        self._judged: set[tuple[str, str]] = set()  # outputs, which come again in each turn
        self._restored: Counter[str] = Counter()
        self._milliseconds: list[float] = []

    def take(self, record: Record) -> None:
        """Judge one record. One that asked no model for an answer is passed over."""
        api = record.api
        if api is None:
            return
        self._verdict.turns += 1
        self._verdict.failed += record.hook.startswith("failed")
        self._verdict.refused += record.status not in (0, _OK)
        self._milliseconds.append(record.milliseconds)
        original, forwarded = record.bodies
        now = _Seen(Prefixes(api, original), Prefixes(api, forwarded))
        model = str(record.metadata.get("model"))
        self._before.add(api, model, now.original)
        self._after.add(api, model, now.forwarded)
        self._check_past(now)
        self._check_signatures(api, original, now, record.response)
        self._check_structure(api, original, forwarded)
        self._check_outputs(api, original, forwarded)
        self._seen.append(now)

    def verdict(self) -> Verdict:
        """What came out of all that was taken."""
        result = self._verdict
        result.price = _percent(self._after.price, self._before.price)
        result.tokens = _percent(self._after.tokens, self._before.tokens)
        result.restored = dict(self._restored)
        if self._milliseconds:
            result.median_ms = round(median(self._milliseconds), 1)
            result.slowest_ms = round(max(self._milliseconds), 1)
        return result

    def _wrong(self, what: str) -> None:
        self._verdict.wrong.append(f"turn {self._verdict.turns}: {what}")

    def _check_past(self, now: _Seen) -> None:
        """What the request shares with an earlier one must go out as it did then."""
        shared = [_shared(now.original, seen.original) for seen in self._seen]
        if not shared or not max(shared):
            return
        count = max(shared)
        # Of equally near ones the latest: that is the provider's newest view.
        latest = len(shared) - 1 - shared[::-1].index(count)
        then = self._seen[latest].forwarded
        # A slice is empty where the hook has taken something away.
        if now.forwarded.before[count : count + 1] != then.before[count : count + 1]:
            self._verdict.changed += 1
            self._wrong(f"what turn {latest + 1} had sent is forwarded otherwise")

    def _check_signatures(self, api: Api, original: Body, now: _Seen, response: str) -> None:
        if not api.binds:
            return
        for index, item in enumerate(items(api, original)):
            before = (now.original.before_item(index), now.forwarded.before_item(index))
            for seal in api.signatures(item):
                born = self._born.get(seal, before)
                if born[0] != before[0]:
                    self._verdict.broken_by_client += 1
                elif born[1] != before[1]:
                    self._verdict.broken_by_hook += 1
                    self._wrong(f"thinking in item {index} came back behind another prefix")
        for seal in _SEAL.findall(response):
            self._born.setdefault(seal, (now.original.whole, now.forwarded.whole))

    def _check_structure(self, api: Api, original: Body, forwarded: Body) -> None:
        """Nothing but texts of outputs may differ, and each must be shorter."""
        allowed = {output.path: output.text for output in outputs(api, original)}
        for path, value in _differences(original, forwarded, ()):
            was = allowed.get(path)
            if was is None or not isinstance(value, str) or _size(value) >= _size(was):
                self._verdict.structure += 1
                self._wrong(f"{'/'.join(map(str, path))} differs")

    def _check_outputs(self, api: Api, original: Body, forwarded: Body) -> None:
        before, after = Conversation(original), Conversation(forwarded)
        were, are = _by_call(api, original), _by_call(api, forwarded)
        for (index, call), was in were.items():
            name = (call, "\n".join(was.values()))
            first = name not in self._judged
            self._judged.add(name)
            self._verdict.outputs += first
            now = are.get((index, call), {})
            changed = {place for place, text in was.items() if now.get(place) != text}
            if changed and first:
                known = changed <= before.places(index, call)
                how = after.restored(index, call, before) if known else Restored.LOST
                self._count(how, index, call)
            elif changed and after.has_pointer(index, call) and not after.resolves(index, call):
                self._verdict.dangling += 1
                self._wrong(f"a pointer in item {index} leads nowhere")

    def _count(self, how: Restored, index: int, call: str) -> None:
        """Count an output that is forwarded otherwise than it came, the first time that it is."""
        self._restored[how] += 1
        if how is Restored.DANGLING:
            self._verdict.dangling += 1
        if how in (Restored.DANGLING, Restored.LOST):
            self._wrong(f"the output of {call} in item {index}: {how}")
        if how is not Restored.EXACT and self._shows_file(call):
            self._verdict.rewritten += 1
            self._wrong(f"the file that {call} shows in item {index}: {how}")


def _by_call(api: Api, body: Body) -> dict[tuple[int, str], dict[Path, str]]:
    """The texts of each output by item and call, each with its place in the item."""
    found: dict[tuple[int, str], dict[Path, str]] = {}
    for index, item in enumerate(items(api, body)):
        for output in api.outputs(item):
            found.setdefault((index, output.call), {})[output.path] = output.text
    return found


def _shared(one: Prefixes, two: Prefixes) -> int:
    """How many units both begin with."""
    low, high = 0, min(len(one.units), len(two.units))
    while low < high:  # prefixes that are equal have equal prefixes
        middle = (low + high + 1) // 2
        if one.before[middle] == two.before[middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _differences(one: Json, two: Json, path: Path) -> Iterator[tuple[Path, Json]]:
    """Yield where two values differ, and what stands there in the second."""
    if isinstance(one, dict) and isinstance(two, dict) and list(one) == list(two):
        for key, inner in one.items():
            yield from _differences(inner, two[key], (*path, key))
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for index, inner in enumerate(one):
            yield from _differences(inner, two[index], (*path, index))
    elif type(one) is not type(two) or one != two:
        yield path, two


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2) if whole else 100.0
