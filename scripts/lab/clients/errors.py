"""What ends a run of the clients."""

from __future__ import annotations


class ClientsFailed(Exception):
    """Something is missing or went wrong. The text says what a person can do."""
