"""Answers that more than one handler gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from aiohttp import web

from tsheadroom.aperture.answer import ALLOW
from tsheadroom.web import codings

# A larger answer is written in pieces of this size. Otherwise the event loop copies it twice in one
# go, the copies stay until the last byte has gone, and nobody sees if any go.
PIECE_BYTES = 256 << 10


class LargeAnswer(web.StreamResponse):
    """A JSON answer of a known size that is written in pieces; `moved` is told of each."""

    def __init__(
        self, body: bytes, headers: Mapping[str, str], moved: Callable[[int], None]
    ) -> None:
        super().__init__(headers=headers)
        self.content_type = "application/json"
        self.content_length = len(body)
        view = memoryview(body)
        self._pieces: Iterator[memoryview] = (
            view[at : at + PIECE_BYTES] for at in range(0, len(body), PIECE_BYTES)
        )
        self._moved = moved

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the body. If that is broken off, what is left is not written later."""
        pieces, self._pieces = self._pieces, iter(())
        for piece in pieces:
            await self.write(piece)
            self._moved(len(piece))
        await super().write_eof(data)


def offer(accept_compressed: bool) -> dict[str, str]:
    """The header that tells Aperture how it may compress requests (RFC 7694), if it may."""
    return {"Accept-Encoding": codings.ACCEPT_ENCODING} if accept_compressed else {}


def allow(headers: Mapping[str, str]) -> web.Response:
    """The answer after which a request goes on as it came."""
    return web.Response(body=ALLOW, content_type="application/json", headers=headers)


def other_method(headers: Mapping[str, str]) -> web.Response:
    """405, for a path that this method has no meaning on."""
    return web.Response(status=405, text="method not allowed\n", headers=headers)
