"""Facts about providers' prompt caches, as they show in a request's bytes.

Is a prefix cached? Does an endpoint only look at a conversation? The facts are from the providers'
documentation of November 2026. `docs/prompt-cache.md` says what follows from them.
"""

from __future__ import annotations

import msgspec

# Members of a body that let the provider change the conversation itself.
CONTEXT_MANAGEMENT = "context_management"
COMPACTION = "compaction"
# Members that name what stands before the items of a request: OpenAI keeps it.
EARLIER_ITEMS_ELSEWHERE = ("previous_response_id", "conversation")
# The only kind of edit in use that leaves tool outputs alone: Claude Code asks for it.
_SPARE_OUTPUTS = "clear_thinking_"
# Breakpoints of Anthropic (on blocks, or of the whole body), Bedrock Converse and OpenAI.
_BREAKPOINT_MARKS = (b'"cache_control"', b'"cachePoint"', b'"prompt_cache_breakpoint"')
_HOUR_MARK = b'"1h"'
_ANTHROPIC_THINKING = (b'"thinking"', b'"redacted_thinking"', b'"reasoningContent"')
# How the paths end of provider endpoints that look at a conversation without continuing it:
# Anthropic's, Gemini's, that of Vertex and Bedrock, and OpenAI's.
_ENDS_OF_NO_TURN = ("count_tokens", "countTokens", "count-tokens", "token-count", "input_tokens")


def may_delete_outputs(managed: bytes) -> bool:
    """True if a request lets its provider delete or shorten tool outputs.

    `managed` is the JSON of the body's `context_management`: of Anthropic an object with `edits`,
    of OpenAI a list. What is not understood may do anything.
    """
    try:
        value = msgspec.json.decode(managed)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return True
    if isinstance(value, dict):
        if value.keys() - {"edits"}:
            return True
        value = value.get("edits")
    if value is None:
        return False
    return not isinstance(value, list) or not all(map(_spares_outputs, value))


def _spares_outputs(edit: object) -> bool:
    kind = edit.get("type") if isinstance(edit, dict) else None
    return isinstance(kind, str) and kind.startswith(_SPARE_OUTPUTS)


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
