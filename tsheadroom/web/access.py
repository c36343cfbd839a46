"""Who may change settings: tailnet callers with the capability, or loopback with --local-addr."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aiohttp import web

# An application capability: "a name under a domain, then a path", as grants have it.
DEFAULT_CAPABILITY = "tsheadroom.dev/cap/config"


class HasCapabilities(Protocol):
    """What this needs to know of a tailnet caller."""

    @property
    def capabilities(self) -> Mapping[str, object]: ...


Whois = Callable[[str], Awaitable[HasCapabilities | None]]


class Access:
    """Decides by the connection's peer. Without `whois` the daemon serves a local address."""

    def __init__(self, whois: Whois | None, capability: str = DEFAULT_CAPABILITY) -> None:
        self._whois = whois
        self._capability = capability

    async def may_configure(self, request: web.Request) -> bool:
        """Whether this request may write settings; a caller nobody knows may not."""
        if _from_web_page(request):
            return False
        peername = _peername(request)
        if peername is None:
            return False
        host, port = peername
        if self._whois is None:
            return _is_loopback(host)
        peer = await self._whois(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        return peer is not None and self._capability in peer.capabilities

    @property
    def refusal(self) -> str:
        """What a refused caller can do about it."""
        if self._whois is None:
            return "settings can be changed from this machine's loopback address only"
        grant = {"src": ["you@example.com"], "dst": ["*"], "app": {self._capability: [{}]}}
        return (
            f"settings can be changed by callers whom the tailnet policy grants {self._capability};"
            f" add to its grants: {json.dumps(grant)}"
        )


def _peername(request: web.Request) -> tuple[str, int] | None:
    """The peer's address and port as the transport tells them; headers are never believed."""
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
    """Whether a browser sends this for a page, which may be anybody's.

    The connection would be the operator's own, so the peer proves nothing. Browsers name the
    page in Origin on every PUT and POST; nothing here serves a page that writes settings.
    """
    return "Origin" in request.headers
