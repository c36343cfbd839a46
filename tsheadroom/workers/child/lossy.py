"""Headroom's removing compressors, only when `lossy` is set: with an honest notice in the text.

Headroom's own markers promise a retrieval tool that nobody has here; so the markers are off, and
what says that something is missing, and how to get it, is a line of this daemon's.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from headroom.agent_savings import apply_agent_savings_profile
from headroom.config import ReadLifecycleConfig
from headroom.transforms.content_router import ContentRouter, ContentRouterConfig
from headroom.transforms.pipeline import TransformPipeline

from tsheadroom.workers.child import commands, kompress, proofs
from tsheadroom.workers.child.lossless import MODEL, MODEL_LIMIT, marked, worth_trying
from tsheadroom.workers.child.settings import Settings
from tsheadroom.workers.naming import Call

log = logging.getLogger(__name__)

# An unknown name would silently become Headroom's `coding`, which is aggressive.
PROFILES = frozenset({"agent-90", "balanced", "coding", "general"})
MIN_SHARE = 0.9  # a removal that saves less than a tenth is not worth what it hides


@dataclass(slots=True)
class _Knobs:
    """Headroom's own names, so that its profiles can be applied to them."""

    compress_user_messages: bool
    compress_system_messages: bool
    protect_recent: int
    protect_analysis_context: bool
    target_ratio: float | None
    min_tokens_to_compress: int


class Lossy:
    """The removing pipeline; built when it is first asked for."""

    def __init__(self) -> None:
        self._pipelines: dict[bool, TransformPipeline] = {}

    def compress_output(self, call: Call, text: str, settings: Settings) -> tuple[str, list[str]]:
        """A tool output with what Headroom holds dispensable gone; the same text if there is none.

        The text of a file stays: an agent edits by its exact words.
        """
        if commands.prints_file(call):
            return text, []
        function = {"name": call.tool, "arguments": "{}"}
        use = {"id": "call", "type": "function", "function": function}
        messages: list[dict[str, Any]] = [
            {"role": "assistant", "content": None, "tool_calls": [use]},
            {"role": "tool", "tool_call_id": "call", "content": text},
        ]
        if call.path:
            how = "read the file for the rest"
        elif call.command:
            how = "run a narrower command to see the rest"
        else:
            how = "call the tool for less at a time to see the rest"
        return self._compress(messages, text, how, settings)

    def compress_text(self, role: str, text: str, settings: Settings) -> tuple[str, list[str]]:
        """A user's or system text, if the settings let Headroom touch that role."""
        knobs = _knobs(settings)
        touched = {"user": knobs.compress_user_messages, "system": knobs.compress_system_messages}
        if not touched.get(role):
            return text, []
        how = "ask for the rest if it matters"
        return self._compress([{"role": role, "content": text}], text, how, settings)

    def _compress(
        self, messages: list[dict[str, Any]], text: str, how: str, settings: Settings
    ) -> tuple[str, list[str]]:
        if not worth_trying(text):
            return text, []
        learned = kompress.usable(settings.kompress_model)
        knobs = _knobs(settings)
        try:
            result = self._pipeline(learned).apply(
                messages=messages,
                model=MODEL,
                model_limit=MODEL_LIMIT,
                context="",  # or the form would depend on more than the text
                compress_user_messages=knobs.compress_user_messages,
                compress_system_messages=knobs.compress_system_messages,
                target_ratio=knobs.target_ratio,
                protect_recent=knobs.protect_recent,
                protect_analysis_context=knobs.protect_analysis_context,
                min_tokens_to_compress=knobs.min_tokens_to_compress,
                kompress_model=settings.kompress_model if learned else "disabled",
            )
            shorter = result.messages[-1]["content"]
        except (Exception, RecursionError) as error:
            # Its own failure, whatever it is, must cost no more than the saving on one text.
            log.warning("Headroom failed on a text; left alone error=%s", type(error).__name__)
            return text, []
        if not isinstance(shorter, str) or len(shorter) > MIN_SHARE * len(text):
            return text, []
        names = [name for name in result.transforms_applied if name != "router:noop"]
        if marked(shorter) and not marked(text):
            return text, []
        if not proofs.same(text, shorter, names):
            shorter = f"{shorter}\n{notice(text, shorter, how)}"
        return shorter, names

    def _pipeline(self, learned: bool) -> TransformPipeline:
        if learned not in self._pipelines:
            config = ContentRouterConfig(
                ccr_enabled=False,
                ccr_inject_marker=False,
                enable_kompress=learned,
                relevance_split=False,
                enable_image_optimizer=False,
                read_lifecycle=ReadLifecycleConfig(enabled=False),
            )
            self._pipelines[learned] = TransformPipeline(transforms=[ContentRouter(config)])
        return self._pipelines[learned]


def notice(text: str, shorter: str, how: str) -> str:
    """What was left out, and how to get it."""
    before, after = text.count("\n") + 1, shorter.count("\n") + 1
    if after < before:
        return f"[shortened from {before} lines to {after}: {how}]"
    return f"[shortened from {len(text)} characters to {len(shorter)}: {how}]"


def _knobs(settings: Settings) -> _Knobs:
    knobs = _Knobs(
        settings.compress_user_messages,
        settings.compress_system_messages,
        settings.protect_recent,
        settings.protect_analysis_context,
        settings.target_ratio,
        settings.min_tokens_to_compress,
    )
    if settings.savings_profile in PROFILES:
        apply_agent_savings_profile(knobs, settings.savings_profile)
    return knobs
