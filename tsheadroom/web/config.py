"""The /config endpoint: shows the settings, and changes them for callers who may do that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from tsheadroom.settings import (
    Settings,
    SettingsChanged,
    SettingsInvalid,
    SettingsNotWritten,
    SettingsStore,
    etag_of,
)
from tsheadroom.web.pace import BROKEN, Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from tsheadroom.web.access import Access

MAX_CONFIG_BYTES = 64 * 1024  # the Go daemon's; a file of all settings is under 1 KB


class ConfigPage:
    """GET, PUT and POST of /config."""

    def __init__(
        self, store: SettingsStore, access: Access, headroom_version: Callable[[], str | None]
    ) -> None:
        self._store = store
        self._access = access
        self._headroom_version = headroom_version
        # Held from the check of If-Match until the file is written.
        self._writing = asyncio.Lock()

    async def show(self, request: web.Request) -> web.Response:
        """Answer with the settings, and the workers' Headroom version (null until one is ready)."""
        return self._document(self._store.current)

    async def change(self, request: web.Request) -> web.Response:
        """Change the settings that the body names. Answers with all of them."""
        if not await self._access.may_configure(request):
            return _sentence(403, self._access.refusal)
        try:
            body = await _read(request)
        except SettingsInvalid as error:
            refusal = _sentence(400, str(error))
            refusal.force_close()  # the rest of the body may still be on its way
            return refusal
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return _sentence(400, "settings must come without a content-encoding")
        try:
            async with self._writing:
                settings = await asyncio.to_thread(
                    self._store.update, body, request.headers.get("If-Match")
                )
        except SettingsInvalid as error:
            return _sentence(400, str(error))
        except SettingsChanged as error:
            return _sentence(412, str(error))
        except SettingsNotWritten as error:
            return _sentence(500, str(error))
        return self._document(settings)

    async def reload(self) -> None:
        """Read the settings file again (SIGHUP)."""
        async with self._writing:
            await asyncio.to_thread(self._store.reload)

    def _document(self, settings: Settings) -> web.Response:
        document = msgspec.to_builtins(settings)
        document["headroom_version"] = self._headroom_version()
        text = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
        return web.Response(
            body=text,
            content_type="application/json",
            headers={"ETag": etag_of(settings), "Cache-Control": "no-store"},
        )


async def _read(request: web.Request) -> bytes:
    """The body. Raises SettingsInvalid if it is over the limit, is no HTTP, or does not come."""
    body = bytearray()
    try:
        with Pace() as pace:
            async for chunk in request.content.iter_any():
                pace.moved(len(chunk))
                body += chunk
                if len(body) > MAX_CONFIG_BYTES:
                    raise SettingsInvalid(
                        f"settings must be at most {MAX_CONFIG_BYTES // 1024} KiB"
                    )
    except BROKEN:
        raise SettingsInvalid("the settings could not be read") from None
    return bytes(body)


def _sentence(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")
