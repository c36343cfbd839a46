"""Answers that more than one handler gives."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from tsheadroom.aperture.answer import ALLOW
from tsheadroom.web import codings


def offer(accept_compressed: bool) -> dict[str, str]:
    """The header that tells Aperture how it may compress requests (RFC 7694), if it may."""
    return {"Accept-Encoding": codings.ACCEPT_ENCODING} if accept_compressed else {}


def allow(headers: Mapping[str, str]) -> web.Response:
    """The answer after which a request goes on as it came."""
    return web.Response(body=ALLOW, content_type="application/json", headers=headers)


def other_method(headers: Mapping[str, str]) -> web.Response:
    """405, for a path that this method has no meaning on."""
    return web.Response(status=405, text="method not allowed\n", headers=headers)
