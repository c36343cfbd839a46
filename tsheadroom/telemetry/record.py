"""The numbers of one hook call: what the -v line shows and the metrics count."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How a hook call ended; the value is the label of the outcome series."""

    MODIFY = "modify"
    NOOP = "noop"
    ERROR = "error"
    PASSTHROUGH = "passthrough"
    READ_ERROR = "read_error"
    DECODE_ERROR = "decode_error"
    REJECT_ENCODING = "reject_encoding"


# The spelling of each outcome on the -v line, which operators grep for (the Go daemon's).
REASONS = {
    Outcome.MODIFY: "modify",
    Outcome.NOOP: "allow(noop)",
    Outcome.ERROR: "allow(error)",
    Outcome.PASSTHROUGH: "allow(passthrough)",
    Outcome.READ_ERROR: "allow(read-error)",
    Outcome.DECODE_ERROR: "allow(decode-error)",
    Outcome.REJECT_ENCODING: "reject(encoding)",
}


@dataclass(slots=True)
class Summary:
    """One call. Bytes are bytes, times are milliseconds, `slot` is -1 when no worker ran."""

    outcome: Outcome = Outcome.PASSTHROUGH
    encoding: str = ""  # the request body's Content-Encoding, "" for identity
    in_messages: int = 0
    in_bytes: int = 0  # JSON of the conversation as it came
    out_bytes: int = 0  # and as it leaves
    wire_bytes: int = 0  # what arrived, before decoding
    duration_ms: float = 0.0
    read_ms: float = 0.0
    plan_ms: float = 0.0  # split, hash, replay, check, store, splice, compress the answer
    wait_ms: float = 0.0  # for the event loop's turn, for a worker, and for its pipe
    write_ms: float = 0.0
    worker_ms: float = 0.0
    slot: int = -1
    cold: bool = False
    model_limit: int = 0
    provider: str = ""
    model: str = ""
    tokens_before: int = 0
    tokens_saved: int = 0
    tokens_after: int = 0
    notes: dict[str, int] = field(default_factory=dict)  # counted events, by name

    def line(self) -> str:
        """The -v line, in the Go daemon's format: its readers parse it."""
        label = f"request({self.encoding})" if self.encoding else "request"
        reason = REASONS[self.outcome]
        if self.outcome is Outcome.REJECT_ENCODING:
            return f"{label} wire_bytes={self.wire_bytes} read_ms={self.read_ms:.0f} -> {reason}"
        return (
            f"{label} in_msgs={self.in_messages} in_bytes={self.in_bytes}"
            f" out_bytes={self.out_bytes} wire_bytes={self.wire_bytes}"
            f" dur_ms={self.duration_ms:.0f} read_ms={self.read_ms:.0f}"
            f" write_ms={self.write_ms:.0f} worker_ms={self.worker_ms:.0f} slot={self.slot}"
            f" cold={'true' if self.cold else 'false'} model_limit={self.model_limit} -> {reason}"
        )
