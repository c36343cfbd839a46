"""The private tailnet."""

from tests.tailnet.fixtures import caller, control, serve, start_control

__all__ = ["caller", "control", "serve", "start_control"]
