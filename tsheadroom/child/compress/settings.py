"""The settings of one request, as far as they concern the compression of texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Settings:
    """Missing keys mean these defaults; keys of other parts are passed over."""

    folds: bool = True
    fold_min_lines: int = 20
    gutter: bool = True
    terminal: bool = True
    json: bool = True
    lossless: bool = True
    lossy: bool = False
    exclude_tools: frozenset[str] = frozenset()
    compress_user_messages: bool = False
    compress_system_messages: bool = True
    protect_recent: int = 4
    protect_analysis_context: bool = True
    target_ratio: float | None = None
    min_tokens_to_compress: int = 250
    kompress_model: str | None = None
    savings_profile: str | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Settings:
        """The settings in a request's `config`; null for a switch means its default."""
        known = {field.name: config[field.name] for field in fields(cls) if field.name in config}
        known["exclude_tools"] = frozenset(known.get("exclude_tools") or ())
        known["fold_min_lines"] = max(2, int(known.get("fold_min_lines") or 20))
        return cls(**known)
