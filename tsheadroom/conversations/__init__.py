"""Which conversation a request continues, and what was forwarded of it. No sockets."""

from tsheadroom.conversations.ledger import Conversations, Request, Status, Told, Turn

__all__ = ["Conversations", "Request", "Status", "Told", "Turn"]
