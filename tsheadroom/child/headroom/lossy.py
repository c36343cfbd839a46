"""Headroom's removing compressors, only when `lossy` is set: with an honest notice in the text.

Headroom's own markers promise a retrieval tool that nobody has here; so the markers are off, and
what says that something is missing, and how to get it, is a line of this daemon's.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

from headroom.agent_savings import apply_agent_savings_profile
from headroom.config import ReadLifecycleConfig
from headroom.transforms.content_router import ContentRouter, ContentRouterConfig
from headroom.transforms.pipeline import TransformPipeline

from tsheadroom.child.compress.settings import TextSettings
from tsheadroom.child.headroom import kompress, proofs
from tsheadroom.child.headroom.lossless import MODEL, MODEL_LIMIT, cheap_enough, marked
from tsheadroom.texts import tools
from tsheadroom.texts.tools import ToolCall

log = logging.getLogger(__name__)

# An unknown name would silently become Headroom's `coding`, which is aggressive.
PROFILES = frozenset({"agent-90", "balanced", "coding", "general"})
MIN_SHARE = 0.9  # a removal that saves less than a tenth is not worth what it hides
ASKED_CHARS = 4_000  # of what the user asked: Headroom looks for words like "review" in it

# Headroom's log compressor may leave nothing of a log without errors. Whoever ran the command wants
# to see how it began and, more, how it ended.
HEAD_LINES = 5
TAIL_LINES = 20


@dataclass(slots=True)
class Knobs:
    """The settings under Headroom's own names, so that its profiles can be applied to them."""

    compress_user_messages: bool
    compress_system_messages: bool
    protect_recent: int
    protect_analysis_context: bool
    target_ratio: float | None
    min_tokens_to_compress: int

    @classmethod
    def of(cls, settings: TextSettings) -> Knobs:
        """The settings, or what a profile puts in their place."""
        knobs = cls(
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


class Lossy:
    """Headroom's removing pipelines, one for each text model; built when first asked for."""

    def __init__(self, model: kompress.Kompress) -> None:
        self.kompress = model
        self.worn = False  # Headroom was cut off in the middle of its work
        self._pipelines: dict[str | None, TransformPipeline] = {}

    def seconds(self, settings: TextSettings) -> float:
        """CPU time that the text model may take for one text, if there is one; it has threads."""
        usable = self.kompress.usable(settings.kompress_model)
        return kompress.TEXT_SECONDS * (os.cpu_count() or 1) if usable else 0.0

    def compress_output(
        self, call: ToolCall, text: str, settings: TextSettings, asked: str
    ) -> tuple[str, list[str]]:
        """A tool output without what Headroom removes, and what was applied.

        The same text and nothing if that is not worth it, and if the output is a file's text: an
        agent edits by its exact words. `asked` is what the user said last.
        """
        if tools.prints_file(call):
            return text, []
        knobs = Knobs.of(settings)
        function = {"name": call.tool, "arguments": "{}"}
        use = {"id": "call", "type": "function", "function": function}
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": asked[:ASKED_CHARS]},
            {"role": "assistant", "content": None, "tool_calls": [use]},
            {"role": "tool", "tool_call_id": "call", "content": text},
        ]
        return self._compress(
            messages, text, _how_to_see_the_rest(call), knobs, settings.kompress_model
        )

    def compress_text(self, role: str, text: str, settings: TextSettings) -> tuple[str, list[str]]:
        """The same for a text of the role "user" or "system", if the settings let it be touched."""
        knobs = Knobs.of(settings)
        touched = {"user": knobs.compress_user_messages, "system": knobs.compress_system_messages}
        if not touched.get(role):
            return text, []
        how = "ask the user for the rest" if role == "user" else "the rest was left out"
        messages = [{"role": role, "content": text}]
        return self._compress(messages, text, how, knobs, settings.kompress_model)

    def _compress(
        self, messages: list[dict[str, Any]], text: str, how: str, knobs: Knobs, model: str | None
    ) -> tuple[str, list[str]]:
        """The last of the messages, which holds `text`, as Headroom shortens it, with a notice."""
        if not cheap_enough(text):
            return text, []
        if not (self.kompress.usable(model) and self.kompress.affordable(text)):
            model = kompress.DISABLED
        result = self._apply(messages, knobs, model)
        if result is None:
            return text, []
        shorter, names = result
        if not proofs.same(text, shorter):
            kept = with_ends(text, shorter)
            shorter = f"{kept}\n{notice(text, kept, how)}"
        if len(shorter) > MIN_SHARE * len(text) or (marked(shorter) and not marked(text)):
            return text, []
        return shorter, names

    def _apply(
        self, messages: list[dict[str, Any]], knobs: Knobs, model: str | None
    ) -> tuple[str, list[str]] | None:
        """The text of the last message after Headroom's pipeline, and what was applied; None if
        Headroom failed."""
        try:
            result = self._pipeline(model).apply(
                messages=messages,
                model=MODEL,
                model_limit=MODEL_LIMIT,
                context="",  # or the form would depend on more than the text
                frozen_message_count=len(messages) - 1,  # the others are only there to be known
                compress_user_messages=knobs.compress_user_messages,
                compress_system_messages=knobs.compress_system_messages,
                target_ratio=knobs.target_ratio,
                protect_recent=knobs.protect_recent,
                protect_analysis_context=knobs.protect_analysis_context,
                min_tokens_to_compress=knobs.min_tokens_to_compress,
                kompress_model=model,
            )
            shorter = result.messages[-1]["content"]
        except Exception as error:
            if isinstance(error, MemoryError):
                self.worn = True
                raise
            # Its own failure, whatever it is, must cost no more than the saving on one text.
            log.warning("Headroom failed on a text; left alone error=%s", type(error).__name__)
            return None
        except BaseException:
            self.worn = True
            raise
        if not isinstance(shorter, str):
            return None
        return shorter, [name for name in result.transforms_applied if name != "router:noop"]

    def _pipeline(self, model: str | None) -> TransformPipeline:
        """The pipeline for a text model: its cache knows nothing of models."""
        if model not in self._pipelines:
            config = ContentRouterConfig(
                ccr_enabled=False,
                ccr_inject_marker=False,
                enable_kompress=model != kompress.DISABLED,
                relevance_split=False,
                enable_image_optimizer=False,
                read_lifecycle=ReadLifecycleConfig(enabled=False),
            )
            self._pipelines[model] = TransformPipeline(transforms=[ContentRouter(config)])
        return self._pipelines[model]


def notice(text: str, shorter: str, how: str) -> str:
    """How much was left out, and how to get it."""
    before, after = text.count("\n") + 1, shorter.count("\n") + 1
    if after < before:
        return f"[shortened from {before} lines to {after}: {how}]"
    return f"[shortened from {len(text)} characters to {len(shorter)}: {how}]"


def with_ends(text: str, shorter: str) -> str:
    """The shorter text, between the first and the last lines of the text if it has none of them."""
    lines = text.split("\n")
    if len(lines) <= 2 * (HEAD_LINES + TAIL_LINES) or not set(lines).isdisjoint(
        shorter.split("\n")
    ):
        return shorter
    return "\n".join([*lines[:HEAD_LINES], shorter, *lines[-TAIL_LINES:]])


def _how_to_see_the_rest(call: ToolCall) -> str:
    if call.path:
        return "read the file for the rest"
    if call.command:
        return "run a narrower command to see the rest"
    return "call the tool for less at a time to see the rest"
