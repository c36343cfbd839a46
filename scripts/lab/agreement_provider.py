"""Asks a provider's endpoint for the next action of a conversation, one request at a time."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp

from scripts.lab.agreement_turns import PATHS
from tsheadroom.errors import TsheadroomError
from tsheadroom.providers.shapes import Json, shape_of
from tsheadroom.simulate.requests import KEYS, encoded
from tsheadroom.texts.tools import command_of, path_of, replaced_texts

ATTEMPTS = 8
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 120.0  # seconds between attempts, where the provider says none
TIMEOUT = 600.0  # seconds for one answer
# Overload, which passes. 529 is Anthropic's.
_TRY_AGAIN = (408, 409, 429, 500, 502, 503, 504, 529)
_KEYS = {"messages": "ANTHROPIC_API_KEY", "responses": "OPENAI_API_KEY", "chat": "OPENAI_API_KEY"}


class ProviderRefused(TsheadroomError):
    """The provider did not answer. The text has its status and what it said."""


@dataclass(frozen=True, slots=True)
class Action:
    """What the model does next: the first tool call of its answer. Without one, `tool` is ""."""

    tool: str
    argument: str  # the file or the command, or the first text of the input, blanks squeezed
    replaced: tuple[str, ...]  # the old texts of an edit


class Provider:
    """One endpoint. `sleep` waits for so many seconds."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._session = session
        self._endpoint = endpoint.rstrip("/")
        self._sleep = sleep

    async def next_action(self, shape: str, body: dict[str, Json]) -> Action:
        """Post a body, again if the provider is busy, and return what the model does.

        Raises ProviderRefused.
        """
        pause = FIRST_PAUSE
        for attempt in range(ATTEMPTS):
            status, headers, text = await self._post(shape, body)
            if status == HTTPStatus.OK:
                return action_of(shape, text)
            if status not in _TRY_AGAIN or attempt == ATTEMPTS - 1:
                break
            await self._sleep(_retry_after(headers.get("retry-after"), pause))
            pause = min(2 * pause, LONGEST_PAUSE)
        hint = ""
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            hint = f"; the key is taken from {_KEYS[shape]}"
        raise ProviderRefused(f"the provider answered {status}: {text[:300]}{hint}")

    async def _post(self, shape: str, body: dict[str, Json]) -> tuple[int, Any, str]:
        url = self._endpoint + PATHS[shape]
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        try:
            async with self._session.post(
                url, data=encoded(body), headers=_headers(shape), timeout=timeout
            ) as response:
                return response.status, response.headers, await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            # As if it were busy: what does not pass is said after the last attempt.
            return 503, {}, f"{type(error).__name__}: {error}"


def _headers(shape: str) -> dict[str, str]:
    """Also for a gateway that adds the key itself: without one in the environment none is sent."""
    key = os.environ.get(_KEYS[shape], "")
    headers = {"content-type": "application/json"}
    if shape == "messages":
        headers["anthropic-version"] = "2023-06-01"
        return headers | ({"x-api-key": key} if key else {})
    return headers | ({"authorization": f"Bearer {key}"} if key else {})


def _retry_after(value: str | None, otherwise: float) -> float:
    try:
        return min(max(float(value or otherwise), 0.0), LONGEST_PAUSE)
    except ValueError:  # a date, which providers of models do not send
        return otherwise


def action_of(shape: str, answer: str) -> Action:
    """The action in an answer's body. Raises ProviderRefused if it is no answer of this API."""
    known = shape_of((KEYS[shape],))
    assert known is not None
    try:
        items = _items(shape, json.loads(answer))
        parts = [part for item in items for part in known.parts(item)]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ProviderRefused(f"not an answer of this API: {answer[:300]}") from None
    for part in parts:
        if part["kind"] == "tool_use":
            name, inputs = part["name"], part["input"]
            return Action(name, _argument(inputs), tuple(replaced_texts(name, inputs)))
    return Action("", "", ())


def _items(shape: str, answer: Json) -> list[Json]:
    if shape == "messages":
        return [{"role": "assistant", "content": answer["content"]}]
    return list(answer["output"]) if shape == "responses" else [answer["choices"][0]["message"]]


def _argument(inputs: Json) -> str:
    """What a call is about, in the spelling that two calls with the same meaning share."""
    if isinstance(inputs, dict):
        texts = (value for value in inputs.values() if isinstance(value, str))
        inputs = path_of(inputs) or command_of(inputs) or next(texts, "")
    return " ".join(str(inputs).split())
