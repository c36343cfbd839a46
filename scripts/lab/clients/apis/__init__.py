"""The APIs that the clients speak: how requests are read and answers are written."""

from __future__ import annotations

from scripts.lab.clients.apis.anthropic import Anthropic
from scripts.lab.clients.apis.chat import Chat
from scripts.lab.clients.apis.gemini import Gemini
from scripts.lab.clients.apis.parts import Api
from scripts.lab.clients.apis.responses import Responses

# Longer endings first: a count of tokens is no turn, and ends in the path of one.
_BY_ENDING: tuple[tuple[str, Api | None], ...] = (
    ("/count_tokens", None),
    (":countTokens", None),
    ("/messages", Anthropic()),
    ("/responses", Responses()),
    ("/chat/completions", Chat()),
    (":generateContent", Gemini()),
    (":streamGenerateContent", Gemini()),
)

__all__ = ["Api", "api_of"]


def api_of(path: str) -> Api | None:
    """The API that a request with this path speaks; None if it asks no model for an answer."""
    path = path.partition("?")[0]
    return next((api for ending, api in _BY_ENDING if path.endswith(ending)), None)
