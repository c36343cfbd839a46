"""Asks a running daemon how it is, through the socket in its state directory."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

from tsheadroom.errors import TsheadroomError
from tsheadroom.tailnet.statedir import SOCKET_NAME

# The daemon answers in a millisecond. One that takes this long is stuck, and that is the answer.
PATIENCE_SECONDS = 3.0


class NoDaemon(TsheadroomError):
    """No daemon answers on the socket."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE_SECONDS)
        self.sock.connect(str(self._path))


def ask(state_dir: Path, page: str) -> tuple[int, str]:
    """Get a page, such as /readyz, from the daemon of this state directory.

    Returns the HTTP status and the text. Raises NoDaemon if nothing answers in time.
    """
    path = state_dir / SOCKET_NAME
    connection = _UnixConnection(path)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise NoDaemon(f"no daemon answers on {path}: {error}") from None
    finally:
        connection.close()
