"""Follows the node's state, and logs what a person has to do to make it run."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tsheadroom.tailnet.localapi import LocalApi, LocalApiFailed, NodeEvent, NodeStatus

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_RECONNECT_SECONDS = 1.0

# Seconds until this asks for a login URL, if the node needs one. After a start tsnet asks by
# itself; after its key has expired it does not.
URL_SECONDS = 3.0

# While the node is not running, the reason is looked up once in so many seconds.
_EXPLAIN_SECONDS = 15.0

# The same sentence is logged again after so many seconds, because the first one scrolls away.
SAY_AGAIN_SECONDS = 300.0

# Another sentence on the same topic is logged after so many seconds. Some have a detail that is
# different each time.
_SAME_TOPIC_SECONDS = 30.0

# From this time before a key expires on, a warning is logged twice a day.
_EXPIRY_NOTICE = timedelta(days=7)
_EXPIRY_SECONDS = 12 * 3600.0


class Watch:
    """What is known of one node. follow() keeps it up to date."""

    def __init__(
        self,
        *,
        has_key: bool,
        on_running: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._has_key = has_key
        self._on_running = on_running
        self._clock = clock
        self._asked_for_url = False
        self._expiry_seen = 0.0
        self._said: dict[str, tuple[str, float]] = {}
        self._introduced = False
        self.state = "NoState"
        self.up = asyncio.Event()  # set once it has run

    async def follow(self, api: LocalApi) -> None:
        """Follow the node until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(api))
            tasks.create_task(self._explain(api))

    async def _listen(self, api: LocalApi) -> None:
        while True:
            try:
                async for event in api.watch():
                    if self.note(event):
                        self._on_running()
                        await self._introduce(api)
                log.debug("the node's event bus ended")
            except LocalApiFailed as error:
                self._say("api", str(error))
            await asyncio.sleep(_RECONNECT_SECONDS)

    def note(self, event: NodeEvent) -> bool:
        """Take in an event. Returns True if the node runs since this event."""
        ran = self.state == "Running"
        if event.error:
            self._say("error", f"the node reports: {event.error}")
        if event.state is not None and event.state != self.state:
            self._enter(event.state)
        if event.login_url:
            self._say(event.login_url, login_advice(event.login_url))
        return self.state == "Running" and not ran

    async def _introduce(self, api: LocalApi) -> None:
        """Log the node's name, which people need to reach it."""
        status = await api.status()
        log.info(
            "the node is on the tailnet name=%s addresses=%s tailnet=%s key_expiry=%s",
            status.dns_name,
            ",".join(status.addresses),
            status.tailnet,
            status.key_expiry or "never",
        )
        self._introduced = True
        self._warn_of_expiry(status)

    def _enter(self, state: str) -> None:
        before, self.state = self.state, state
        log.info("tailnet node state=%s", state)
        if state == "Running":
            self._introduced = False
            self._asked_for_url = False
            self._said.clear()  # what is logged next is new, even if it was logged before
            self.up.set()
        elif before == "Running" and state == "NeedsLogin":
            log.warning("the node's key has expired or was revoked; the node must log in again")

    async def _explain(self, api: LocalApi) -> None:
        await asyncio.sleep(URL_SECONDS)
        while True:
            try:
                if self.state != "Running":
                    await self._explain_once(api)
                elif not self._introduced:  # its name could not be read when it began to run
                    await self._introduce(api)
                elif self._clock() - self._expiry_seen >= _EXPIRY_SECONDS:
                    self._warn_of_expiry(await api.status())
            except LocalApiFailed as error:
                self._say("api", str(error))
            await asyncio.sleep(URL_SECONDS if self.state == "NeedsLogin" else _EXPLAIN_SECONDS)

    def _warn_of_expiry(self, status: NodeStatus) -> None:
        self._expiry_seen = self._clock()
        if (sentence := expiry_advice(status, datetime.now(UTC))) is not None:
            self._say("expiry", sentence)

    async def _explain_once(self, api: LocalApi) -> None:
        status = await api.status()
        if status.state == "NeedsLogin" and not status.auth_url and not self._asked_for_url:
            self._asked_for_url = True
            await api.log_in()
            return  # its URL comes as an event
        topic = status.auth_url or f"not running: {status.state}"
        self._say(topic, advice(status, has_key=self._has_key))

    def _say(self, topic: str, sentence: str) -> None:
        now = self._clock()
        before, when = self._said.get(topic, ("", -SAY_AGAIN_SECONDS))
        pause = SAY_AGAIN_SECONDS if sentence == before else _SAME_TOPIC_SECONDS
        if now - when >= pause:
            self._said[topic] = (sentence, now)
            log.warning("%s", sentence)


def login_advice(url: str) -> str:
    """The sentence that says what to do with a login URL."""
    return f"to add this node to the tailnet, log in at {url}"


def advice(status: NodeStatus, *, has_key: bool) -> str:
    """The sentence that says what a person can do about a node that is not running."""
    health = "; ".join(status.health) or "none reported"
    if status.state == "NeedsMachineAuth":
        return "the node waits for an administrator's approval in the tailnet's admin console"
    if status.state == "NeedsLogin" and status.auth_url:
        return login_advice(status.auth_url)
    if status.state == "NeedsLogin" and has_key:
        return (
            "the auth key does not log the node in: make a new one, or check that the control"
            f" server can be reached; health: {health}"
        )
    return (
        f"the node is not running yet, still trying state={status.state}; check that the control"
        f" server can be reached; health: {health}"
    )


def expiry_advice(status: NodeStatus, now: datetime) -> str | None:
    """The sentence that says what to do about a key that expires soon; None if it does not."""
    try:
        expiry = datetime.fromisoformat(status.key_expiry)
    except ValueError:
        return None  # the key does not expire
    if expiry.tzinfo is None or expiry - now > _EXPIRY_NOTICE:
        return None
    return (
        f"the node's key expires at {status.key_expiry}: the login URL is logged then; to avoid"
        " that, disable key expiry for the node in the tailnet's admin console"
    )
