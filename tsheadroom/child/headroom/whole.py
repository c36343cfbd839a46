"""Headroom's default pipeline over a whole conversation, as the Go daemon uses it.

It looks at each request anew, so it may change what was forwarded before. No worker calls it:
`tsheadroom simulate` shows what that would cost.
"""

from __future__ import annotations

from typing import Any

import headroom


def compress(messages: list[dict[str, Any]], model: str) -> list[dict[str, Any]] | None:
    """Return the messages as Headroom would forward them, or None if it saves nothing.

    The messages given may be changed in place.
    """
    result = headroom.compress(messages, model=model)
    return list(result.messages) if result.tokens_saved > 0 else None
