"""A client of the node's LocalAPI: the node's status, who a peer is, and the node's events."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import msgspec

from tsheadroom.errors import TsheadroomError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

T = TypeVar("T")

# The API answers from memory, on this machine. If it takes longer than this, the node is stuck.
_ANSWER_SECONDS = 5.0

# ipn.NotifyInitialState: a watcher that comes late first gets the state as it is.
# ipn.NotifyRateLimit: bursts of events are merged.
_WATCH_MASK = 2 | 128

# A line of the bus may carry a whole network map.
_LONGEST_LINE = 64 << 20

# The names of ipn.State in the order of their numbers: events have the number, the status the name.
STATES = (
    "NoState",
    "InUseOtherUser",
    "NeedsLogin",
    "NeedsMachineAuth",
    "Stopped",
    "Starting",
    "Running",
)


class LocalApiFailed(TsheadroomError):
    """The node's own API did not answer as expected."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What a node says of itself."""

    state: str = "NoState"
    auth_url: str = ""
    health: tuple[str, ...] = ()
    dns_name: str = ""
    addresses: tuple[str, ...] = ()
    online: bool = False
    key_expiry: str = ""  # RFC 3339; empty: the key does not expire
    expired: bool = False
    tailnet: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who has a tailnet address. A tagged node has tags and no person's login."""

    login: str
    node: str
    tags: tuple[str, ...] = ()
    capabilities: Mapping[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """One event of the node: a new state, a URL to log in at, an error's text, or several."""

    state: str | None = None
    login_url: str | None = None
    error: str | None = None


class _Self(msgspec.Struct, rename="pascal"):
    dns_name: str = msgspec.field(default="", name="DNSName")
    online: bool = False
    key_expiry: str | None = None
    expired: bool = False


class _Tailnet(msgspec.Struct, rename="pascal"):
    name: str = ""


class _Status(msgspec.Struct, rename="pascal"):
    backend_state: str = "NoState"
    auth_url: str = msgspec.field(default="", name="AuthURL")
    health: list[str] | None = None
    tailscale_ips: list[str] | None = msgspec.field(default=None, name="TailscaleIPs")
    self: _Self | None = None
    current_tailnet: _Tailnet | None = None


class _Node(msgspec.Struct, rename="pascal"):
    name: str = ""
    computed_name: str = ""
    tags: list[str] | None = None


class _User(msgspec.Struct, rename="pascal"):
    login_name: str = ""


class _Whois(msgspec.Struct, rename="pascal"):
    node: _Node
    user_profile: _User
    cap_map: dict[str, list[Any] | None] | None = None


class _Notify(msgspec.Struct, rename="pascal"):
    state: int | None = None
    browse_to_url: str | None = msgspec.field(default=None, name="BrowseToURL")
    err_message: str | None = None


class LocalApi:
    """A client of one node's LocalAPI."""

    def __init__(self, address: str, credential: str) -> None:
        self._base = f"http://{address}/localapi/v0/"
        self._session = aiohttp.ClientSession(
            headers={
                "Sec-Tailscale": "localapi",
                "Authorization": "Basic " + base64.b64encode(f":{credential}".encode()).decode(),
            },
            timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
            trust_env=False,  # a proxy for the internet cannot reach this machine's loopback
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()

    async def status(self) -> NodeStatus:
        """Ask the node for its status. Raises LocalApiFailed."""
        raw = _decode(await self._ask("GET", "status?peers=false"), _Status)
        node = raw.self or _Self()
        return NodeStatus(
            state=raw.backend_state,
            auth_url=raw.auth_url,
            health=tuple(raw.health or ()),
            dns_name=node.dns_name.rstrip("."),
            addresses=tuple(raw.tailscale_ips or ()),
            online=node.online,
            key_expiry=node.key_expiry or "",
            expired=node.expired,
            tailnet=raw.current_tailnet.name if raw.current_tailnet else "",
        )

    async def whois(self, address: str) -> Peer | None:
        """Ask who has this "ip:port". None if nobody has. Raises LocalApiFailed."""
        body = await self._ask("GET", f"whois?addr={address}", missing_ok=True)
        if body is None:
            return None
        raw = _decode(body, _Whois)
        tags = tuple(raw.node.tags or ())
        return Peer(
            login="" if tags else raw.user_profile.login_name,
            node=raw.node.name.rstrip(".") or raw.node.computed_name,
            tags=tags,
            # A grant gives an application capability a list of objects. One without any, null or
            # [], gives nothing: that is how a grant that is being written looks.
            capabilities={name: values for name, values in (raw.cap_map or {}).items() if values},
        )

    async def ping(self, address: str) -> None:
        """Send a peer a packet through the tailnet, and wait for its answer. Raises LocalApiFailed.

        The peer's node then knows where this one is reached now, and has a fresh session with it.
        """
        await self._ask("POST", f"ping?ip={address}&type=TSMP")

    async def log_in(self) -> None:
        """Ask the control server for a login URL, which then comes as an event."""
        await self._ask("POST", "login-interactive")

    async def watch(self) -> AsyncIterator[NodeEvent]:
        """Yield the node's events until it ends, its present state first. Raises LocalApiFailed."""
        try:
            async with self._session.get(
                f"{self._base}watch-ipn-bus?mask={_WATCH_MASK}",
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_ANSWER_SECONDS),
                read_bufsize=_LONGEST_LINE,
            ) as response:
                if response.status != 200:
                    raise LocalApiFailed(f"the node's event bus answered {response.status}")
                async for line in response.content:
                    if line.strip():
                        yield _event(_decode(line, _Notify))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise LocalApiFailed(f"the node's event bus broke off: {error}") from None

    async def _ask(self, method: str, path: str, *, missing_ok: bool = False) -> bytes | None:
        try:
            async with self._session.request(method, self._base + path) as response:
                body = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise LocalApiFailed(f"the node does not answer {path}: {reason}") from None
        if response.status == 404 and missing_ok:
            return None
        if response.status >= 300:
            text = body.decode(errors="replace").strip()
            raise LocalApiFailed(f"the node answered {path} with {response.status}: {text}")
        return body


def _event(notify: _Notify) -> NodeEvent:
    state = notify.state
    return NodeEvent(
        state=STATES[state] if state is not None and 0 <= state < len(STATES) else None,
        login_url=notify.browse_to_url or None,
        error=notify.err_message or None,
    )


def _decode(body: bytes | None, kind: type[T]) -> T:
    try:
        return msgspec.convert(json.loads(body or b""), kind)
    except (ValueError, msgspec.ValidationError) as error:
        raise LocalApiFailed(f"the node's answer is not understood: {error}") from None
