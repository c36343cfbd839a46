"""Facts about providers' prompt caches, as they show in a request's bytes.

Is a prefix cached? Does an endpoint only look at a conversation? The facts are from the providers'
documentation of November 2026. `docs/prompt-cache.md` says what follows from them.
"""

from __future__ import annotations

# With these the provider itself may delete old items. Then nothing may point at old items.
CONTEXT_MANAGEMENT = "context_management"  # a member of the body
COMPACTION_MARK = b'"compaction"'

# Breakpoints of Anthropic (on blocks, or of the whole body), Bedrock Converse and OpenAI.
_BREAKPOINT_MARKS = (b'"cache_control"', b'"cachePoint"', b'"prompt_cache_breakpoint"')
_HOUR_MARK = b'"1h"'
_ANTHROPIC_THINKING = (b'"thinking"', b'"redacted_thinking"', b'"reasoningContent"')
# How the paths end of provider endpoints that look at a conversation without continuing it:
# Anthropic's, Gemini's, that of Vertex and Bedrock, and OpenAI's.
_ENDS_OF_NO_TURN = ("count_tokens", "countTokens", "count-tokens", "token-count", "input_tokens")


def is_turn(url: str) -> bool:
    """False for endpoints that only look at a conversation, such as token counting."""
    end = url.partition("?")[0].rstrip("/").rpartition("/")[2]
    return not any(part in end for part in _ENDS_OF_NO_TURN)


def has_breakpoints(body: bytes, start: int, end: int) -> bool:
    """True if the client asks for a cache entry anywhere in `body[start:end]`."""
    return any(body.find(mark, start, end) >= 0 for mark in _BREAKPOINT_MARKS)


def asks_for_an_hour(body: bytes, start: int, end: int) -> bool:
    """True if the client may ask for entries that live for an hour."""
    return body.find(_HOUR_MARK, start, end) >= 0


def has_prefix_cache(body: bytes, start: int, end: int, *, anthropic: bool) -> bool:
    """False if nothing at the provider depends on items that were sent before.

    That is so for a request to a model of Anthropic's without breakpoints and without thinking:
    nothing of it is cached, and nothing is signed. For a model that is not known it is not said.
    """
    if not anthropic or has_breakpoints(body, start, end):
        return True
    return any(body.find(mark, start, end) >= 0 for mark in _ANTHROPIC_THINKING)
