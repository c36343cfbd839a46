"""What the providers' signatures bind. The facts are from their documentation of November 2026.

| provider | signature | binds what stands before it |
|---|---|---|
| Anthropic (also on Bedrock, Vertex) | `thinking`, `redacted_thinking`, `reasoningContent` | yes |
| Google | `thoughtSignature` of a part | no |
| OpenAI | `encrypted_content` of a reasoning item | no |

A signature that binds nothing may be replaced: a client that takes up an old session may send
other ones, and the answers are the same. `docs/prompt-cache.md` says what follows from all this.
"""

from __future__ import annotations

import re

# By the member of the body that has the conversation. Clients may reach Claude by any shape.
_BINDING = {"messages": (b'"thinking"', b'"redacted_thinking"', b'"reasoningContent"')}
_FREE = {
    "contents": (b'"thoughtSignature"', b'"thought_signature"'),
    "input": (b'"encrypted_content"',),
}
_ANY = tuple(mark for marks in (*_BINDING.values(), *_FREE.values()) for mark in marks)
_REASONING = re.compile(rb'"type"[ \t\n\r]*:[ \t\n\r]*"reasoning"')


def binds(key: str, body: bytes, start: int, end: int, *, anthropic: bool) -> bool:
    """True if a signature in `body[start:end]` may bind what stands before it.

    `key` is the member of the body that has the conversation; `anthropic` is true if the request
    goes to a model of Anthropic's.
    """
    marks = _ANY if anthropic else _BINDING.get(key, ())
    return any(body.find(mark, start, end) >= 0 for mark in marks)


def free_signatures(key: str) -> tuple[bytes, ...]:
    """The JSON names (with quotes) of members that may be signatures which bind nothing."""
    return _FREE.get(key, ())


def free_signatures_of(key: str, item: bytes) -> tuple[bytes, ...]:
    """Those of them that are nothing but a signature in this item.

    What OpenAI encrypts elsewhere is content, such as what is left of a compacted conversation.
    """
    if key == "input" and not _REASONING.search(item):
        return ()
    return free_signatures(key)
