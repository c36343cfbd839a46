"""tsheadroom: compresses LLM conversations for Aperture, as a node of the tailnet."""

from __future__ import annotations

__version__ = "0.1.0"
