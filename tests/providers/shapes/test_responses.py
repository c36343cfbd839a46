"""What an item of OpenAI Responses is: who made it, and what a worker reads of it."""

from __future__ import annotations

from typing import Any

import pytest

from tsheadroom.providers.shapes.responses import RESPONSES


@pytest.mark.parametrize(
    ("item", "by_model", "role"),
    [
        ({"role": "user"}, False, "user"),
        ({"role": "developer"}, False, "system"),
        ({"role": "assistant"}, True, "assistant"),
        ({"type": "message", "role": "system"}, False, "system"),
        ({"type": "message", "role": "assistant"}, True, "assistant"),
        ({"type": "message"}, False, "user"),
        ({"type": "additional_tools", "role": "developer"}, False, "system"),
        ({"type": "additional_tools"}, False, "user"),
        ({"type": "something_new", "role": "developer"}, False, "system"),
        ({"type": "something_new", "role": "user"}, False, "user"),
        ({"type": "something_new", "role": "assistant"}, True, "assistant"),
        ({"type": "something_new"}, True, "assistant"),
        ({"type": "reasoning"}, True, "assistant"),
        ({"type": "function_call"}, True, "assistant"),
        ({"type": "custom_tool_call"}, True, "assistant"),
        ({"type": "web_search_call"}, True, "assistant"),
        ({"type": "mcp_call"}, True, "assistant"),
        ({"type": "mcp_approval_request"}, True, "assistant"),
        ({"type": "compaction"}, True, "assistant"),
        ({"type": "program"}, True, "assistant"),
        ({"type": "program_output"}, True, "assistant"),  # what ran there is part of the answer
        ({"type": "function_call_output"}, False, "tool"),
        ({"type": "computer_call_output"}, False, "user"),
        ({"type": "mcp_approval_response"}, False, "user"),
        ({"type": "compaction_trigger"}, False, "user"),
        ({"type": "item_reference"}, False, "user"),
    ],
)
def test_who_made_an_item(item: dict[str, Any], by_model: bool, role: str) -> None:
    assert RESPONSES.by_model(item.get("role", ""), item.get("type", "")) is by_model
    assert RESPONSES.role(item) == role
