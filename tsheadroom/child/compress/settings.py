"""The settings of one job, as far as they concern the compression of texts.

The daemon sends every value with every job. The defaults are in `tsheadroom/settings.py` and
nowhere else: a second set of them here would sooner or later be another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tsheadroom.child.protocol import BadRequestError


@dataclass(frozen=True, slots=True)
class TextSettings:
    """What may be done to the texts of a job. README.md says what each setting means."""

    folds: bool
    fold_min_lines: int
    fold_files: str
    gutter: bool | str  # or "sparse"
    terminal: bool
    json: bool
    lossless: bool
    lossy: bool
    exclude_tools: frozenset[str]
    compress_user_messages: bool
    compress_system_messages: bool
    protect_recent: int
    protect_analysis_context: bool
    target_ratio: float | None
    min_tokens_to_compress: int
    kompress_model: str | None
    savings_profile: str | None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> TextSettings:
        """The settings in a job's `config`; keys of other parts are passed over.

        Raises BadRequestError, with the names, if a value is missing.
        """
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in config]
        if missing:
            raise BadRequestError(f"the job's config has no value for {', '.join(missing)}")
        values = {name: config[name] for name in names}
        return cls(**values | {"exclude_tools": frozenset(config["exclude_tools"])})
