"""How providers' prompt caches and signatures show in a request's bytes.

Facts about providers, looked up by bytes: whether a prefix is cached, what marks thinking that
binds it, and which endpoints only look at a conversation. Seen in November 2026 in the providers'
documentation; `docs/prompt-cache.md` says what follows from them.
"""

from __future__ import annotations

# Blocks whose signature covers everything before them.
THINKING_MARKS = (
    b'"thinking"',
    b'"redacted_thinking"',
    b'"encrypted_content"',
    b'"thoughtSignature"',
    b'"thought_signature"',
)
# Where the provider itself may delete old items, nothing may point at them.
CONTEXT_MANAGEMENT = "context_management"  # a member of the body
COMPACTION_MARK = b'"compaction"'

_BREAKPOINT_MARK = b'"cache_control"'
_HOUR_MARK = b'"1h"'
_ANTHROPIC_THINKING = (b'"thinking"', b'"redacted_thinking"')
# Paths of provider endpoints that look at a conversation without continuing it.
_PATHS_OF_NO_TURN = ("count_tokens", "countTokens", "token-count", "input_tokens")


def is_turn(url: str) -> bool:
    """False for endpoints that only look at a conversation, such as token counting."""
    return not any(part in url for part in _PATHS_OF_NO_TURN)


def is_anthropic(provider: str, model: str) -> bool:
    """True if a request goes to a model that caches only at breakpoints."""
    return "anthropic" in provider.lower() or "claude" in model.lower()


def has_breakpoints(body: bytes, start: int, end: int) -> bool:
    """True if the client asks for a cache entry anywhere in `body[start:end]`."""
    return body.find(_BREAKPOINT_MARK, start, end) >= 0


def asks_for_an_hour(body: bytes, start: int, end: int) -> bool:
    """True if the client may ask for entries that live for an hour."""
    return body.find(_HOUR_MARK, start, end) >= 0


def has_prefix_cache(provider: str, model: str, body: bytes, start: int, end: int) -> bool:
    """False if nothing at the provider depends on items that were sent before.

    An Anthropic request without breakpoints and without thinking: nothing of it is cached, nothing
    is signed.
    """
    if not is_anthropic(provider, model) or has_breakpoints(body, start, end):
        return True
    return any(body.find(mark, start, end) >= 0 for mark in _ANTHROPIC_THINKING)


def thinks_after(body: bytes, start: int, end: int) -> bool:
    """True if thinking that may bind what stands before it is anywhere in `body[start:end]`."""
    return any(body.find(mark, start, end) >= 0 for mark in THINKING_MARKS)
