"""The base class of all errors that this package raises on purpose."""

from __future__ import annotations


class TsheadroomError(Exception):
    """An expected failure. Its text is a sentence that tells a person what to do."""
