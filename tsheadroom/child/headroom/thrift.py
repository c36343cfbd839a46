"""Headroom's router without the work and the memory that cannot change what comes out of it.

It counts the tokens of all that comes in and goes out, keeps books of what it did, and looks for
JSON that its text model must not see, also where there is no model. And it keeps what it has
counted and made: megabytes of texts, with a limit of hundreds. What was made of a text is kept
already, in `compress/memo.py`.
"""

from __future__ import annotations

from typing import Any

from headroom.config import TransformResult
from headroom.tokenizer import Tokenizer
from headroom.transforms import content_router
from headroom.transforms.content_router import ContentRouter, ContentRouterConfig

# Headroom sends a text elsewhere than to its model if that has 50,000 tokens by its estimate, which
# takes no character for more than two thirds of one.
_NEVER_SO_LARGE = 75_000  # characters


class Router(ContentRouter):
    """A router without a text model.

    Raises ValueError for a config that needs what is left out here.
    """

    def __init__(self, config: ContentRouterConfig) -> None:
        if config.enable_kompress:
            raise ValueError("without a text model only")
        if config.min_ratio_relaxed != config.min_ratio_aggressive:
            raise ValueError("what is short enough would depend on tokens")
        super().__init__(config)

    def route(self, messages: list[dict[str, Any]], model_limit: int) -> TransformResult:
        """What Headroom's pipeline makes of these messages, but for its figures."""
        try:
            return self.apply(messages, _Uncounted(), model_limit=model_limit)
        finally:
            self._cache.clear()
            self._lossless_first_memo.clear()
            content_router._TOKEN_ESTIMATOR._count_cache.clear()

    def _try_ml_compressor(
        self,
        content: str,
        context: str,
        question: str | None = None,
        target_ratio: float | None = None,
    ) -> tuple[str, int]:
        if len(content) > _NEVER_SO_LARGE:
            return super()._try_ml_compressor(content, context, question, target_ratio)
        return content, content_router._estimate_tokens(content)

    def _record_to_toin(self, *_: Any, **__: Any) -> None:
        """Headroom would learn from what was made shorter."""


class _Uncounted(Tokenizer):
    """A tokenizer for one who only reports what it says."""

    def __init__(self) -> None:
        """It needs no vocabulary."""

    def count_text(self, text: str) -> int:
        return 0
