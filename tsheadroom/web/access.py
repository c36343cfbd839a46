"""Who may change settings: tailnet callers with the capability; with --local-addr, loopback."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from tsheadroom.addresses import joined

if TYPE_CHECKING:
    from aiohttp import web

# The name of an application capability has the form that grants need: a domain, then a path.
DEFAULT_CAPABILITY = "tsheadroom.dev/cap/config"


class HasCapabilities(Protocol):
    """A tailnet caller, as far as access depends on it."""

    @property
    def capabilities(self) -> Mapping[str, object]:
        """The application capabilities that the tailnet policy grants the caller, by name."""


Whois = Callable[[str], Awaitable[HasCapabilities | None]]


class Access:
    """Decides by the peer of a connection. `whois` is None if the daemon serves a local address."""

    def __init__(self, whois: Whois | None, capability: str = DEFAULT_CAPABILITY) -> None:
        self._whois = whois
        self._capability = capability

    async def may_configure(self, request: web.Request) -> bool:
        """True if this request may write settings. An unknown caller may not."""
        if _from_web_page(request):
            return False
        peername = _peername(request)
        if peername is None:
            return False
        host, port = peername
        if self._whois is None:
            return _is_loopback(host)
        peer = await self._whois(joined(host, port))
        return peer is not None and self._capability in peer.capabilities

    @property
    def refusal(self) -> str:
        """The sentence for a refused caller: what to do to be allowed."""
        if self._whois is None:
            return "settings can be changed from this machine's loopback address only"
        grant = {"src": ["you@example.com"], "dst": ["*"], "app": {self._capability: [{}]}}
        return (
            f"settings can be changed by callers whom the tailnet policy grants {self._capability};"
            f" add to its grants: {json.dumps(grant)}"
        )


def _peername(request: web.Request) -> tuple[str, int] | None:
    """The peer's address and port, from the transport. Headers could say anything."""
    name = request.transport.get_extra_info("peername") if request.transport else None
    if isinstance(name, tuple) and len(name) >= 2 and name[0]:
        return str(name[0]), int(name[1])
    return None


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _from_web_page(request: web.Request) -> bool:
    """True if a web page makes a browser send this. The page may be anybody's.

    The connection is then an operator's own, so the peer proves nothing. Browsers name the page in
    the header Origin on every PUT and POST. No page of this daemon writes settings.
    """
    return "Origin" in request.headers
