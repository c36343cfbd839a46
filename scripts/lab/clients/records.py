"""What the gateway keeps of each request: both bodies, what the hook said, what was answered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.lab.clients.apis import Api, api_of
from scripts.lab.clients.apis.parts import Body, Json

SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Record:
    """One request of a client. Bodies are JSON; lone surrogates stand for bytes that are no UTF-8.

    `hook` is "modify", "allow", or "failed" and why. `status` is the provider's, 0 if there was no
    answer; `response` is what it sent.
    """

    url: str
    metadata: Mapping[str, Json]
    original: str
    forwarded: str | None = None  # None: as the client sent it
    hook: str = "allow"
    milliseconds: float = 0.0  # that the hook took
    status: int = 0
    response: str = ""

    @property
    def api(self) -> Api | None:
        """The API that the request speaks, or None if it asks no model."""
        return api_of(self.url)

    @property
    def bodies(self) -> tuple[Body, Body]:
        """The body as the client sent it, and as it was forwarded."""
        original = json.loads(self.original)
        return original, original if self.forwarded is None else json.loads(self.forwarded)


def text_of(body: bytes) -> str:
    """A body as a text from which `bytes_of` makes the same bytes."""
    return body.decode("utf-8", "surrogateescape")


def bytes_of(text: str) -> bytes:
    """The body that `text_of` made a text of."""
    return text.encode("utf-8", "surrogateescape")


def write(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(asdict(record)) + "\n" for record in records), "utf-8")


def read(path: Path) -> list[Record]:
    """Read what `write` wrote. Raises ValueError or TypeError if it is something else."""
    return [Record(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
