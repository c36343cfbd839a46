"""Replays one conversation under one policy after another, and notes what each would cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tsheadroom.providers.shapes import Json
from tsheadroom.simulate import checks, harm, requests
from tsheadroom.simulate.blocks import Block, Blocks, Counter
from tsheadroom.simulate.edits import Reader
from tsheadroom.simulate.harm import Located, Traced
from tsheadroom.simulate.policies import Policy
from tsheadroom.simulate.prompt_cache import Cache, Spent
from tsheadroom.simulate.recordings import Recording, RecordingInvalid
from tsheadroom.simulate.requests import Simulated, encoded


@dataclass(slots=True)
class Replayed:
    """One conversation under one policy. Each count is of requests."""

    recording: Recording
    spent: Spent = field(default_factory=Spent)
    first: int = 0  # tokens of the first request
    turns: int = 0
    changed: int = 0  # a prefix changed that had been forwarded before
    dangling: int = 0  # a marker for content that nobody can retrieve
    wrong: int = 0  # something else differs than a tool's output, or one grew
    refused: int = 0  # the daemon refused a form of its own worker's
    edits: list[Traced] = field(default_factory=list)


class Replay:
    """One conversation: its requests, and what all policies have in common."""

    def __init__(
        self,
        recording: Recording,
        counter: Counter,
        members: Mapping[str, Json] | None = None,
        ttl: float = 0.0,
    ) -> None:
        """`members` are added to each body (None: the client's own); `ttl` as in `Cache`."""
        self._recording = recording
        self._requests = list(requests.of(recording, members))
        self._messages = recording.shape == "messages"
        self._blocks = Blocks(counter)
        self._ttl = ttl
        self._reader = Reader(recording.shape, recording.items, counter, self._blocks)
        self._located = [self._edits_of(request) for request in self._requests]
        self._compared: dict[tuple[bytes, bytes], tuple[bool, bool]] = {}
        own_system = recording.shape == "chat" and _has_system(recording)
        self._system = [] if own_system else [Block(b"", counter.text(requests.SYSTEM), mark=True)]

    def _edits_of(self, request: Simulated) -> list[Located]:
        answers, items = self._recording.answers, self._recording.items
        start = answers[request.number].item
        following = answers[request.number + 1 : request.number + 2]
        stop = following[0].item if following else len(items)
        answer = [encoded(item) for item in items[start:stop]]
        return harm.located(self._reader, request.number, answer, request.items)

    def run(self, policy: Policy) -> Replayed:
        """Forward each request as the policy says."""
        outcome = Replayed(self._recording)
        cache = Cache(at_breakpoints=self._messages, ttl=self._ttl)
        before: list[tuple[bytes, ...]] = []
        for request in self._requests:
            forwarded = policy(request)
            blocks = [self._blocks.of(i, messages=self._messages) for i in forwarded.items]
            bill = cache.bill([*self._system, *(b for item in blocks for b in item)], request.at)
            outcome.spent.add(bill)
            outcome.first = outcome.first or bill.tokens
            outcome.turns += 1
            outcome.refused += forwarded.refused
            now = [tuple(block.digest for block in item) for item in blocks]
            outcome.changed += now[: len(before)] != before
            before = now
            is_wrong, dangles = self._compare(request.items, forwarded.items)
            outcome.wrong += is_wrong or forwarded.touched
            outcome.dangling += dangles
            edits = self._located[request.number]
            outcome.edits += harm.trace(self._reader, edits, request.items, forwarded.items)
        return outcome

    def _compare(self, raw: Sequence[bytes], forwarded: Sequence[bytes]) -> tuple[bool, bool]:
        """True if anything is wrong, and true if any marker dangles."""
        is_wrong, dangles = len(raw) != len(forwarded), False
        for pair in zip(raw, forwarded, strict=False):
            if pair[0] != pair[1]:
                if pair not in self._compared:
                    shape = self._recording.shape
                    self._compared[pair] = checks.wrong(*pair, shape), checks.promises(*pair)
                is_wrong |= self._compared[pair][0]
                dangles |= self._compared[pair][1]
        return is_wrong, dangles


def _has_system(recording: Recording) -> bool:
    return any(item.get("role") in ("system", "developer") for item in recording.items[:1])


def replay_all(
    recordings: Iterable[Recording],
    policies: Mapping[str, Callable[[], Policy]],
    members: Mapping[str, Json] | None,
    ttl: float,
    tell: Callable[[str], None],
) -> dict[str, list[Replayed]]:
    """Replay each conversation under each policy: policy -> outcomes in the order given.

    `tell` is called with what is being done. Raises RecordingInvalid.
    """
    counter = Counter()
    outcomes: dict[str, list[Replayed]] = {name: [] for name in policies}
    for recording in recordings:
        try:
            one = Replay(recording, counter, members, ttl)
            for name, make in policies.items():
                tell(f"{recording.group}/{recording.trace}: {name}")
                outcomes[name].append(one.run(make()))
        except RecursionError:
            raise RecordingInvalid(f"{recording.trace} is nested too deeply") from None
    return outcomes
