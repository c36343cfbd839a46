"""Headroom's lossless compressors, one tool output at a time.

The pipeline has every compressor off that removes something or leaves a marker behind which only
Headroom's own retrieval tool could resolve. What comes back is checked all the same.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from headroom.config import ReadLifecycleConfig
from headroom.parser import CCR_RETRIEVAL_MARKER_RE
from headroom.transforms.content_router import ContentRouterConfig

from tsheadroom.child.headroom import proofs, thrift
from tsheadroom.texts.tools import SEARCH_TOOLS, ToolCall

log = logging.getLogger(__name__)

# Headroom keeps a tokenizer for every model string it is told, for ever, and breaks on names of
# the Hugging Face family. The form must not depend on the model's name anyhow.
MODEL = "gpt-4o"
MODEL_LIMIT = 200_000  # without effect in 0.42, but asked for

MIN_CHARS = 500  # Headroom leaves shorter blocks alone
MAX_CHARS = 1_000_000  # half a second of Python scanners
# Headroom looks for the end of a JSON value behind each line's opening bracket: 48 KB of lines with
# one brace take it a minute. This many lines looked at are some 20 ms; code and logs stay far off.
MAX_NESTED_LINES = 200_000
# Headroom's native code cannot be interrupted, so what it is given is bounded by what it costs, as
# measured: its table of a list of objects has a cell for each of them and each key of any of them
# (ten million a second), and from each "<" it looks for the next ">" (two billion characters a
# second). Each bound is some three tenths of a second.
MAX_CELLS = 3_000_000
MAX_UNCLOSED = 500_000_000
_KEY = re.compile(r'"([^"\\\n]*+)"\s*+:')
_GUARDED_CHARS = 4_000  # shorter texts cannot reach any of these
# What Headroom writes for repeated lines. It undoes its folds to check them, and where a text has
# such a line of its own, that makes as many lines as it says.
_COUNTED = re.compile(r"\.\.\. \(repeat(?:ed|s) \d")
_MARKERS = ("<<ccr:", "Retrieve original", "headroom_retrieve")


def build() -> thrift.Router:
    """Headroom's router with everything off that removes something."""
    return thrift.Router(
        ContentRouterConfig(
            ccr_enabled=False,
            ccr_inject_marker=False,
            enable_kompress=False,
            relevance_split=False,
            smart_crusher_lossless_only=True,
            enable_log_compressor=False,
            enable_search_compressor=False,
            enable_dense_line_elision=False,
            enable_html_extractor=False,
            enable_tabular_compressor=False,
            enable_config_compressor=False,
            enable_image_optimizer=False,
            read_lifecycle=ReadLifecycleConfig(enabled=False),
        )
    )


def marked(text: str) -> bool:
    """True if a text holds a marker of Headroom that promises to bring something back."""
    return (
        any(marker in text for marker in _MARKERS)
        or CCR_RETRIEVAL_MARKER_RE.search(text) is not None
    )


def nested_lines(text: str) -> int:
    """The depth of nesting of each line, summed over the lines.

    That is how many lines Headroom looks at when it scans from each opened bracket to its end.
    """
    depth = total = 0
    for line in text.split("\n"):
        depth += line.count("{") + line.count("[") - line.count("}") - line.count("]")
        depth = max(depth, 0)
        total += depth
    return total


def cells(text: str) -> int:
    """How many cells a table of all objects in a JSON text has at most."""
    objects = text.count("{")
    # A key takes six characters at least, so that most texts need not be searched.
    if objects * len(text) // 6 <= MAX_CELLS:
        return 0
    return objects * len({match[1] for match in _KEY.finditer(text)})


def unclosed(text: str) -> int:
    """How many characters stand between each "<" and the next ">", summed up, about."""
    return sum(part.count("<") * len(part) for part in text.split(">"))


def worth_trying(text: str) -> bool:
    """True if Headroom can make this text shorter, and can be given it."""
    return len(text) >= MIN_CHARS and cheap_enough(text)


def cheap_enough(text: str) -> bool:
    """True if Headroom does not take far too long, or too much memory, with this text."""
    if len(text) > MAX_CHARS or _COUNTED.search(text) is not None:
        return False
    if len(text) < _GUARDED_CHARS:
        return True
    return (
        nested_lines(text) <= MAX_NESTED_LINES
        and cells(text) <= MAX_CELLS
        and unclosed(text) <= MAX_UNCLOSED
    )


def call_messages(call: ToolCall, inputs: Mapping[str, Any], text: str) -> list[dict[str, Any]]:
    """A tool call and its output, the least that Headroom needs to know what it looks at."""
    # Headroom spares some tools' outputs by name what it removes; nothing is removed here, and a
    # name that it does not know gets all that is lossless.
    name = call.tool if call.tool in SEARCH_TOOLS else "tool"
    use = {"type": "tool_use", "id": "call", "name": name, "input": dict(inputs)}
    result = {"type": "tool_result", "tool_use_id": "call", "content": text}
    return [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]


class Lossless:
    """The router, built once a process."""

    def __init__(self) -> None:
        self._router = build()
        self.worn = False  # Headroom was cut off in the middle of its work

    def compress(self, call: ToolCall, text: str) -> tuple[str, list[str]]:
        """A tool output's shorter form and what was applied; the same text if there is none."""
        if not worth_trying(text):
            return text, []
        inputs = {"command": call.command} if call.command else {}
        try:
            result = self._router.route(call_messages(call, inputs, text), MODEL_LIMIT)
            shorter = result.messages[1]["content"][0]["content"]
        except Exception as error:
            if isinstance(error, MemoryError):
                self.worn = True
                raise
            # Its own failure, whatever it is, must cost no more than the saving on one output.
            log.warning("Headroom failed on an output; left alone error=%s", type(error).__name__)
            return text, []
        except BaseException:
            self.worn = True
            raise
        if not isinstance(shorter, str) or len(shorter) >= len(text):
            return text, []
        if marked(shorter) and not marked(text):
            return text, []
        names = [name for name in result.transforms_applied if name != "router:noop"]
        return (shorter, names) if proofs.same(text, shorter) else (text, [])
