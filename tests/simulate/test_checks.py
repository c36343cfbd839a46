"""Nothing but the text of a tool's output may differ, and that may only get shorter."""

from __future__ import annotations

from typing import Any

import pytest

from tsheadroom.simulate import checks
from tsheadroom.simulate.requests import encoded

OUTPUTS: dict[str, Any] = {
    "messages": lambda text: {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "1", "content": text}],
    },
    "chat": lambda text: {"role": "tool", "tool_call_id": "1", "content": text},
    "responses": lambda text: {"type": "function_call_output", "call_id": "1", "output": text},
    "gemini": lambda text: {
        "role": "user",
        "parts": [{"functionResponse": {"name": "f", "response": {"output": text}}}],
    },
}
OTHERS: dict[str, Any] = {
    "messages": lambda text: {"role": "user", "content": [{"type": "text", "text": text}]},
    "chat": lambda text: {"role": "user", "content": text},
    "responses": lambda text: {"type": "function_call", "call_id": "1", "arguments": text},
    "gemini": lambda text: {"role": "user", "parts": [{"text": text}]},
}


@pytest.mark.parametrize("shape", OUTPUTS)
def test_an_output_may_get_shorter_and_nothing_else(shape: str) -> None:
    output, other = OUTPUTS[shape], OTHERS[shape]
    long, short = "a long text", "short"
    assert not checks.wrong(encoded(output(long)), encoded(output(short)), shape)
    assert checks.wrong(encoded(output(short)), encoded(output(long)), shape)
    assert checks.wrong(encoded(output(short)), encoded(output(None)), shape)
    assert checks.wrong(encoded(other(long)), encoded(other(short)), shape)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"output": "x", "id": 1}, {"output": "x"}),
        ({"output": ["x", "y"]}, {"output": ["x"]}),
        ({"output": "x", "ok": 1}, {"output": "x", "ok": True}),
        ({"output": "x", "a": 1, "b": 2}, {"output": "x", "b": 2, "a": 1}),
        ({"output": {}}, {"output": []}),
    ],
)
def test_another_structure_is_wrong(before: Any, after: Any) -> None:
    assert checks.wrong(encoded(before), encoded(after), "responses")


def test_a_marker_counts_only_if_it_is_new() -> None:
    marker = b"[40 items. Retrieve original: hash=ab]"
    assert checks.promises(b"forty items", marker)
    assert not checks.promises(marker, marker)
    assert not checks.promises(b"forty items", b"[lines 1-40 unchanged: see Read a.py above]")
