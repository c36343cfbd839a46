"""The tailnet: this process as a node of its own, and the connections that reach it there."""

from tsheadroom.tailnet.localapi import NodeStatus, Peer
from tsheadroom.tailnet.native import LibraryUnusable, NodeFailed
from tsheadroom.tailnet.node import Node, NodeOptions
from tsheadroom.tailnet.statedir import StateDirectory, StateUnusable

__all__ = [
    "LibraryUnusable",
    "Node",
    "NodeFailed",
    "NodeOptions",
    "NodeStatus",
    "Peer",
    "StateDirectory",
    "StateUnusable",
]
