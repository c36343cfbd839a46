"""The root of every error that this package raises on purpose."""

from __future__ import annotations


class TsheadroomError(Exception):
    """An expected failure; its text is a sentence that a person can act on."""
