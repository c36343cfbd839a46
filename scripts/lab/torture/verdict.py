"""What an attack came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether what must hold has held, and the figures that say so.

    `why` is for an attack that could not be made here; it then holds, and the report says so.
    """

    holds: bool
    figures: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""


def skipped(why: str) -> Verdict:
    """The verdict on an attack that cannot be made on this machine."""
    return Verdict(True, {}, why)
