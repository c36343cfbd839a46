"""Counts what came of requests, and keeps those whose answers broke a promise."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.lab.torture.checking import Break, Excuse, Finding, Provider

KEPT = 40  # requests that are kept; the first ones say the most
_PREFIXES = (Break.PREFIX, Break.FORM_AFTER_GAP)


@dataclass(slots=True)
class Tally:
    """What many threads have seen. `folder` is where the offending requests and answers go."""

    folder: Path | None = None
    requests: int = 0
    answered: int = 0
    forms: int = 0  # items that went out in a form
    slowest: float = 0.0  # seconds until an answer was there
    breaks: Counter[Break] = field(default_factory=Counter)
    excuses: Counter[Excuse] = field(default_factory=Counter)
    excused_prefixes: int = 0  # that the originals of missed answers have broken
    kept: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sent(self, seconds: float | None = None) -> None:
        """Count a request, and how long its answer took if there was one."""
        with self._lock:
            self.requests += 1
            if seconds is not None:
                self.answered += 1
                self.slowest = max(self.slowest, seconds)

    def found(
        self, findings: Iterable[Finding], step: str, request: bytes = b"", answer: bytes = b""
    ) -> None:
        """Count breaks. `step` says where in the campaign they came up."""
        for finding in findings:
            with self._lock:
                self.breaks[finding.kind] += 1
                if len(self.kept) < KEPT:
                    self._keep(finding, step, request, answer)

    def _keep(self, finding: Finding, step: str, request: bytes, answer: bytes) -> None:
        line = f"{step}: {finding.kind}" + (f" ({finding.detail})" if finding.detail else "")
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = self.folder / f"{len(self.kept):02}"
            name.with_suffix(".request").write_bytes(request)
            name.with_suffix(".answer").write_bytes(answer)
            line += f" [{name}]"
        self.kept.append(line)

    def ended(self, provider: Provider) -> None:
        """Count what one conversation's provider has seen, when it has ended."""
        with self._lock:
            self.excuses.update(provider.excuses)
            self.excused_prefixes += provider.broken
            self.forms += provider.changed

    @property
    def leaked(self) -> int:
        """Answers with words of another caller."""
        return self.breaks[Break.LEAKED]

    @property
    def broken(self) -> int:
        """Prefixes that were changed without an excuse."""
        return sum(self.breaks[kind] for kind in _PREFIXES)

    @property
    def wrong(self) -> int:
        """All other breaks."""
        return self.breaks.total() - self.leaked - self.broken

    def figures(self) -> dict[str, Any]:
        """The same for a report."""
        return {
            "requests": self.requests,
            "answered": self.answered,
            "items sent in a form": self.forms,
            "wrong answers": self.wrong,
            "prefixes broken": self.broken,
            "words of another caller": self.leaked,
            "prefixes broken by answers that were missed": self.excused_prefixes,
            "excused": {str(kind): count for kind, count in self.excuses.items()},
            "slowest answer, s": round(self.slowest, 2),
            "breaks": {str(kind): count for kind, count in self.breaks.items()},
        }
