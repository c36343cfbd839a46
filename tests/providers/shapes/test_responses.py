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
        ({"type": "multi_agent_call_output"}, True, "assistant"),
        ({"type": "function_call_output"}, False, "tool"),
        ({"type": "computer_call_output"}, False, "user"),
        ({"type": "mcp_approval_response"}, False, "user"),
        ({"type": "compaction_trigger"}, False, "user"),
        ({"type": "item_reference"}, True, "assistant"),
        ({"type": "tool_search_output", "execution": "client"}, False, "user"),
        ({"type": "tool_search_output", "execution": "server"}, True, "assistant"),
    ],
)
def test_who_made_an_item(item: dict[str, Any], by_model: bool, role: str) -> None:
    at_provider = item.get("execution") == "server"
    kind = item.get("role", ""), item.get("type", "")
    assert RESPONSES.by_model(*kind, at_provider=at_provider) is by_model
    assert RESPONSES.role(item) == role


HEADER = "Script completed\nWall time 0.1 seconds\nOutput:\n"
FAILED = "Script failed\nWall time 2.0 seconds\nOutput:\n"


def parts(item: Any) -> list[dict[str, Any]]:
    return list(RESPONSES.parts(item))


def output(text: str, slot: tuple[str | int, ...], **more: Any) -> dict[str, Any]:
    plain = {"kind": "tool_result", "slot": slot, "text": text, "call": "c", "error": False}
    return {**plain, **more}


def told(*said: str, kind: str = "custom_tool_call_output") -> list[dict[str, Any]]:
    content = [{"type": "input_text", "text": text} for text in said]
    return parts({"type": kind, "call_id": "c", "output": content})


def at(index: int) -> tuple[str | int, ...]:
    return ("output", index, "text")


def test_the_header_of_a_script_is_no_part_of_its_output() -> None:
    assert told(HEADER, "text") == [output("text", at(1))]
    assert told(HEADER, "a", "bc") == [output("a\nbc", at(1), pieces=[[at(1), 1], [at(2), 2]])]
    assert told(FAILED, "text") == [output("text", at(1), error=True)]
    assert told(HEADER, "text", kind="function_call_output") == [output("text", at(1))]


def test_what_only_looks_like_a_header_is_output() -> None:
    assert told(HEADER) == [output(HEADER, at(0))]  # all that there is
    assert told("text", HEADER)[0]["text"] == f"text\n{HEADER}"
    assert told(HEADER + "x", "text")[0]["text"] == f"{HEADER}x\ntext"


def shell(*chunks: Any) -> list[dict[str, Any]]:
    return parts({"type": "shell_call_output", "call_id": "c", "output": list(chunks)})


def chunk(stdout: str, stderr: str = "", **outcome: Any) -> dict[str, Any]:
    ended = {"type": "exit", "exit_code": 0, **outcome}
    return {"stdout": stdout, "stderr": stderr, "outcome": ended}


def test_a_shells_output_is_what_its_commands_printed() -> None:
    assert shell(chunk("out")) == [output("out", ("output", 0, "stdout"))]
    slots = [("output", 0, "stderr"), ("output", 1, "stdout"), ("output", 1, "stderr")]
    assert shell(chunk("", "a"), chunk("bc", "d")) == [
        output("a\nbc\nd", slots[0], pieces=[[slots[0], 1], [slots[1], 2], [slots[2], 1]])
    ]
    assert shell(chunk("a"), chunk("b", exit_code=2))[0]["error"] is True
    assert shell(chunk("a", type="timeout", exit_code=None))[0]["error"] is True


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            {"type": "shell_call", "call_id": "c", "action": {"commands": ["cd x", "ls"]}},
            ("c", "shell", {"command": "cd x\nls"}),
        ),
        (
            {"type": "shell_call", "call_id": "c", "action": {"commands": [7]}},
            ("c", "shell", {"commands": [7]}),
        ),
        (
            {"type": "local_shell_call", "id": "c", "action": {"command": ["ls"]}},
            ("c", "local_shell", {"command": ["ls"]}),
        ),
        (
            {"type": "apply_patch_call", "call_id": "c", "operation": {"path": "a", "diff": "+b"}},
            ("c", "apply_patch", {"path": "a", "diff": "+b"}),
        ),
    ],
)
def test_calls_that_are_no_functions(item: dict[str, Any], expected: tuple[str, str, Any]) -> None:
    call, name, given = expected
    assert parts(item) == [{"kind": "tool_use", "call": call, "name": name, "input": given}]


def test_a_patch_says_if_it_failed() -> None:
    item = {"type": "apply_patch_call_output", "call_id": "c", "output": "log"}
    assert parts({**item, "status": "completed"}) == [output("log", ("output",))]
    assert parts({**item, "status": "failed"}) == [output("log", ("output",), error=True)]
    assert parts({**item, "output": None}) == []


def test_a_call_over_mcp_holds_its_output() -> None:
    item = {"type": "mcp_call", "id": "c", "name": "f", "arguments": '{"x":1}', "output": "text"}
    use = {"kind": "tool_use", "call": "c", "name": "f", "input": {"x": 1}}
    assert parts(item) == [use, output("text", ("output",))]
    assert parts({**item, "error": "e"}) == [use, output("text", ("output",), error=True)]
    assert parts({**item, "output": None}) == [use]


@pytest.mark.parametrize(
    "item",
    [
        None,
        7,
        {"type": ["message"], "content": "x"},
        {"type": 7, "output": "x"},
        {"type": "function_call_output", "output": {"text": "x"}},
        {"type": "function_call_output", "output": [7, None, {"text": 7}]},
        {"type": "shell_call_output", "output": "x"},
        {"type": "shell_call_output", "output": [7, {"stdout": 7, "outcome": 7}, {"outcome": {}}]},
        {"type": "something_new", "output": "x"},
    ],
)
def test_odd_items_have_no_parts(item: Any) -> None:
    assert parts(item) == []
    assert RESPONSES.role(item) in ("user", "assistant", "tool")
