"""The private tailnet."""

from tests.tailnet.fixtures import caller, control, serve

__all__ = ["caller", "control", "serve"]
