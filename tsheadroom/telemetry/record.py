"""The numbers of one hook call, as values: the -v line shows them, and the series count them.

A call is recorded once, when it has ended. Nothing reads these numbers to decide anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tsheadroom.providers.prices import BYTES_PER_TOKEN
from tsheadroom.telemetry.events import Event

# More than any call can have of anything. Workers tell some of the numbers, and a broken one could
# tell one that makes a sum infinite, or that cannot be printed.
MAX_NUMBER = 10**12

# Content codings are tokens (RFC 9110), and may be a list. In the -v line, anything else could pass
# for its fields.
_NO_TOKEN = re.compile(r"[^A-Za-z0-9!#$%&'*+.^_`|~, -]")
_MAX_CODING = 32  # characters


def sane(number: float) -> float:
    """A number of a call that can be counted: from 0 to MAX_NUMBER. NaN is 0."""
    return min(max(0, number), MAX_NUMBER)


class Outcome(StrEnum):
    """How a hook call ended. The value is the label in the series of outcomes."""

    MODIFY = "modify"
    NOOP = "noop"
    ERROR = "error"
    PASSTHROUGH = "passthrough"
    NO_ROOM = "no_room"
    READ_ERROR = "read_error"
    DECODE_ERROR = "decode_error"
    REJECT_ENCODING = "reject_encoding"


# How the -v line spells each outcome, as the Go daemon does: operators search for these words.
REASONS = {
    Outcome.MODIFY: "modify",
    Outcome.NOOP: "allow(noop)",
    Outcome.ERROR: "allow(error)",
    Outcome.PASSTHROUGH: "allow(passthrough)",
    Outcome.NO_ROOM: "allow(no-room)",
    Outcome.READ_ERROR: "allow(read-error)",
    Outcome.DECODE_ERROR: "allow(decode-error)",
    Outcome.REJECT_ENCODING: "reject(encoding)",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers of one turn. Times are milliseconds. `slot` is -1 if no worker answered."""

    outcome: Outcome = Outcome.PASSTHROUGH
    in_messages: int = 0
    in_bytes: int = 0  # JSON of the conversation as it came
    out_bytes: int = 0  # and as it leaves
    wait_ms: float = 0.0  # to be let in, for a worker, and for its pipe
    worker_ms: float = 0.0
    slot: int = -1
    cold: bool = False
    model_limit: int = 0
    provider: str = ""
    model: str = ""
    tokens_saved: int = 0
    events: Mapping[Event, int] = field(default_factory=dict)

    def failed(self) -> Figures:
        """The same turn after an error of ours: the originals went out."""
        return replace(self, outcome=Outcome.ERROR, out_bytes=self.in_bytes, tokens_saved=0)


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call that has ended. Times are milliseconds."""

    figures: Figures = Figures()
    encoding: str = ""  # the request body's Content-Encoding, "" for identity
    wire_bytes: int = 0  # size of the body as it arrived, before decoding
    duration_ms: float = 0.0
    read_ms: float = 0.0
    plan_ms: float = 0.0  # split, hash, replay, check, store, splice, compress the answer
    write_ms: float = 0.0
    hung_up: bool = False

    @property
    def outcome(self) -> Outcome:
        """How the call ended."""
        return self.figures.outcome

    @property
    def tokens_before(self) -> int:
        """Tokens of the conversation as it came, estimated."""
        return self.figures.in_bytes // BYTES_PER_TOKEN

    @property
    def tokens_after(self) -> int:
        """Tokens of the conversation as it left."""
        return self.tokens_before - self.figures.tokens_saved

    @property
    def events(self) -> Mapping[Event, int]:
        """What happened to the call. A hang-up of its caller is one of the events."""
        events = self.figures.events
        return {**events, Event.CALLER_HUNG_UP: 1} if self.hung_up else events

    def line(self) -> str:
        """The -v line, in the format of the Go daemon, which operators' scripts parse."""
        known = self.figures
        coding = _NO_TOKEN.sub("?", self.encoding[:_MAX_CODING])
        label = f"request({coding})" if coding else "request"
        reason = REASONS[self.outcome]
        if self.outcome is Outcome.REJECT_ENCODING:
            return f"{label} wire_bytes={self.wire_bytes} read_ms={self.read_ms:.0f} -> {reason}"
        return (
            f"{label} in_msgs={known.in_messages} in_bytes={known.in_bytes}"
            f" out_bytes={known.out_bytes} wire_bytes={self.wire_bytes}"
            f" dur_ms={self.duration_ms:.0f} read_ms={self.read_ms:.0f}"
            f" write_ms={self.write_ms:.0f} worker_ms={sane(known.worker_ms):.0f} slot={known.slot}"
            f" cold={'true' if known.cold else 'false'} model_limit={sane(known.model_limit)}"
            f" -> {reason}"
        )
