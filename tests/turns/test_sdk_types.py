"""What goes out is still a request that the provider's own SDK describes.

Each conversation holds items of every kind that its API knows. It is sent turn by turn, with real
forms. The outgoing body must have the structure that came in, be valid by the SDK's types, and
differ in texts of tool outputs only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from anthropic.types.beta import BetaMessageParam
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from google.genai.types import Content
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputParam
from pydantic import TypeAdapter, ValidationError

from tests.answered import answered
from tests.turns.inprocess import InProcess
from tsheadroom.aperture.call import HookCall, read
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.telemetry.events import Event
from tsheadroom.turns.turns import Turns

Items = list[dict[str, Any]]
Path = tuple[str | int, ...]

ROWS = json.dumps({"rows": [{"id": n, "name": f"row {n}"} for n in range(40)]}, indent=2)
SOURCE = "\n".join(f"    value_{n} = compute({n}, scale={n * 7})" for n in range(60))
PIXEL = "iVBORw0KGgo="


def validated(value: object) -> None:
    """Go through a value that pydantic has checked: an Iterable in it is only checked then."""
    if isinstance(value, dict):
        for inner in value.values():
            validated(inner)
    elif not isinstance(value, str | bytes) and hasattr(value, "__iter__"):
        for inner in value:
            validated(inner)


# OpenAI Responses.

EXPLICIT = {"prompt_cache_breakpoint": {"mode": "explicit"}}


def responses() -> Items:
    def said(text: str) -> dict[str, Any]:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": content}  # fmt: skip

    def function(call: str, name: str, **arguments: Any) -> dict[str, Any]:
        return {"type": "function_call", "call_id": call, "name": name,
                "arguments": json.dumps(arguments)}  # fmt: skip

    def output(call: str, said: Any, kind: str = "function_call_output") -> dict[str, Any]:
        return {"type": kind, "call_id": call, "output": said}

    def text(value: str, **more: Any) -> dict[str, Any]:
        return {"type": "input_text", "text": value, **more}

    header = text("Script completed\nWall time 0.1 seconds\nOutput:\n")
    image = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{PIXEL}"}
    exited = {"type": "exit", "exit_code": 0}
    patch = {"type": "update_file", "path": "a.py", "diff": "@@\n-a\n+b\n"}
    return [
        {"type": "additional_tools", "role": "developer",
         "tools": [{"type": "custom", "name": "exec"}]},
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [text("go", **EXPLICIT), image]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"},
        function("f1", "list_rows", table="a"),
        output("f1", ROWS),
        function("f2", "read_file", path="a.py"),
        output("f2", [text(SOURCE, **EXPLICIT)]),
        {"type": "custom_tool_call", "call_id": "x1", "name": "exec", "input": "text(1);"},
        output("x1", [header, text(SOURCE)], "custom_tool_call_output"),
        {"type": "custom_tool_call", "call_id": "x2", "name": "exec", "input": "text(2);"},
        output("x2", [header, text(ROWS), image, text("done")], "custom_tool_call_output"),
        {"type": "shell_call", "call_id": "s1", "action": {"commands": ["list rows", "date"]}},
        output(
            "s1",
            [
                {"stdout": ROWS.replace("row", "line"), "stderr": "", "outcome": exited},
                {"stdout": "", "stderr": "", "outcome": exited},
            ],
            "shell_call_output",
        ),
        {"type": "local_shell_call", "id": "l1", "call_id": "l1", "status": "completed",
         "action": {"type": "exec", "command": ["list", "rows"], "env": {}}},
        {"type": "local_shell_call_output", "id": "l1", "output": ROWS.replace("row", "entry")},
        {"type": "apply_patch_call", "call_id": "p1", "operation": patch, "status": "completed"},
        {"type": "apply_patch_call_output", "call_id": "p1", "status": "completed",
         "output": "Done."},
        {"type": "mcp_list_tools", "id": "ml_1", "server_label": "db", "tools": []},
        {"type": "mcp_approval_request", "id": "ma_1", "name": "rows", "arguments": "{}",
         "server_label": "db"},
        {"type": "mcp_approval_response", "approval_request_id": "ma_1", "approve": True},
        {"type": "mcp_call", "id": "mc_1", "name": "rows", "arguments": "{}",
         "server_label": "db", "output": ROWS},
        {"type": "web_search_call", "id": "ws_1", "status": "completed",
         "action": {"type": "search", "query": "rows"}},
        {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["rows"]},
        {"type": "code_interpreter_call", "id": "ci_1", "code": "1", "container_id": "c",
         "outputs": [{"type": "logs", "logs": ROWS}], "status": "completed"},
        {"type": "image_generation_call", "id": "ig_1", "result": PIXEL, "status": "completed"},
        {"type": "program", "id": "pr_1", "call_id": "pr_1", "code": "1", "fingerprint": "f"},
        {"type": "program_output", "id": "po_1", "call_id": "pr_1", "result": ROWS,
         "status": "completed"},
        {"type": "tool_search_call", "call_id": "ts_1", "arguments": {"query": "x"},
         "execution": "client"},
        {"type": "tool_search_output", "call_id": "ts_1", "tools": [], "execution": "client"},
        said("Let me go on."),
        {"role": "user", "content": "yes"},
        {"type": "compaction", "encrypted_content": "what is left"},
        {"role": "user", "content": "and now?"},
        function("f3", "read_file", path="a.py"),
        output("f3", SOURCE),
        {"type": "computer_call", "id": "cc_1", "call_id": "cc_1", "status": "completed",
         "pending_safety_checks": [], "action": {"type": "screenshot"}},
        {"type": "computer_call_output", "call_id": "cc_1",
         "output": {"type": "computer_screenshot", "image_url": "data:image/png;base64,x"}},
        function("f4", "read_file", path="b.py"),
        output("f4", SOURCE + "\n# the end"),
    ]  # fmt: skip


def is_responses(items: Items) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseInputParam)
    validated(adapter.validate_python(items))


# OpenAI Chat.


def chat() -> Items:
    def asked(call: str, name: str, **arguments: Any) -> dict[str, Any]:
        function = {"name": name, "arguments": json.dumps(arguments)}
        calls = [{"id": call, "type": "function", "function": function}]
        return {"role": "assistant", "content": None, "tool_calls": calls}

    def told(call: str, content: Any) -> dict[str, Any]:
        return {"role": "tool", "tool_call_id": call, "content": content}

    def text(value: str, **more: Any) -> dict[str, Any]:
        return {"type": "text", "text": value, **more}

    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    custom = {"id": "c3", "type": "custom", "custom": {"name": "exec", "input": "x"}}
    return [
        {"role": "developer", "content": [text("Be brief.", **EXPLICIT)]},
        {"role": "user", "content": [text("go"), image]},
        asked("c1", "list_rows", table="a"),
        told("c1", ROWS),
        asked("c2", "read_file", path="a.py"),
        told("c2", [text(SOURCE, **EXPLICIT)]),
        {"role": "assistant", "content": [text("So."), {"type": "refusal", "refusal": "No."}],
         "tool_calls": [custom]},
        told("c3", [text(ROWS), text("done")]),
        {"role": "system", "content": "Go on."},
        {"role": "assistant", "function_call": {"name": "list_rows", "arguments": "{}"}},
        {"role": "function", "name": "list_rows", "content": ROWS.replace("row", "line")},
        asked("c4", "read_file", path="b.py"),
        told("c4", SOURCE + "\n# the end"),
    ]  # fmt: skip


def is_chat(items: Items) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(list[ChatCompletionMessageParam])
    validated(adapter.validate_python(items))


# Anthropic Messages.

EPHEMERAL = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def anthropic() -> Items:
    def use(call: str, name: str, **inputs: Any) -> dict[str, Any]:
        return {"type": "tool_use", "id": call, "name": name, "input": inputs}

    def result(call: str, content: Any, **more: Any) -> dict[str, Any]:
        return {"type": "tool_result", "tool_use_id": call, "content": content, **more}

    def text(value: str, **more: Any) -> dict[str, Any]:
        return {"type": "text", "text": value, **more}

    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    image = {"type": "image", "source": source}
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain",
                                               "data": "words"}}  # fmt: skip
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    found = {"type": "web_search_result", "title": "t", "url": "https://example.com",
             "encrypted_content": "e"}  # fmt: skip
    return [
        {"role": "user", "content": [text("go", **EPHEMERAL), image, document]},
        {"role": "assistant", "content": [thinking, text("So."), use("t1", "rows", table="a"),
                                          use("t2", "Read", file_path="/a.py")]},
        {"role": "user", "content": [result("t1", ROWS),
                                     result("t2", [text(SOURCE)], **EPHEMERAL)]},
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "d"},
                                          use("t3", "rows", table="b")]},
        {"role": "user", "content": [result("t3", [text(ROWS), image, text("more")]),
                                     text("and?")]},
        {"role": "assistant", "content": [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [found]},
            {"type": "compaction", "content": "so far"},
            use("t4", "Read", file_path="/a.py"),
            use("t5", "Bash", command="false"),
        ]},
        {"role": "user", "content": [result("t4", SOURCE),
                                     result("t5", "Exit code 1", is_error=True)]},
        {"role": "assistant", "content": [use("t6", "Read", file_path="/b.py")]},
        {"role": "user", "content": [result("t6", SOURCE + "\n# the end")]},
    ]  # fmt: skip


def is_anthropic(items: Items) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(list[BetaMessageParam])
    validated(adapter.validate_python(items))


# Gemini.


def gemini(*, snake: bool = False) -> Items:
    def name(camel: str) -> str:
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in camel) if snake else camel

    def asked(call: str, tool: str, **args: Any) -> dict[str, Any]:
        made = {name("functionCall"): {"id": call, "name": tool, "args": args}}
        return {"role": "model", "parts": [{**made, name("thoughtSignature"): "c2ln"}]}

    def told(call: str, tool: str, **response: Any) -> dict[str, Any]:
        said = {"id": call, "name": tool, "response": response}
        return {"role": "user", "parts": [{name("functionResponse"): said}]}

    image = {name("inlineData"): {name("mimeType"): "image/png", "data": PIXEL}}
    result = {"outcome": "OUTCOME_OK", "output": ROWS}
    return [
        {"role": "user", "parts": [{"text": "go"}, image]},
        {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"text": "So."}]},
        {"role": "user", "parts": [{"text": "yes"}]},
        asked("g1", "list_rows", table="a"),
        told("g1", "list_rows", output=ROWS),
        asked("g2", "read_file", absolute_path="/a.py"),
        told("g2", "read_file", output=SOURCE),
        asked("g3", "list_rows", table="b"),
        told("g3", "list_rows", rows=[{"name": "x", "more": None}, 7, True], note="n"),
        {"role": "model", "parts": [
            {name("executableCode"): {"code": "1", "language": "PYTHON"}},
            {name("codeExecutionResult"): result},
        ]},
        {"role": "user", "parts": [{name("fileData"): {name("fileUri"): "gs://x/y"}}]},
        asked("g4", "read_file", absolute_path="/missing.py"),
        told("g4", "read_file", error="no such file"),
        asked("g5", "read_file", absolute_path="/b.py"),
        told("g5", "read_file", output=SOURCE + "\n# the end"),
    ]  # fmt: skip


def gemini_in_snake_case() -> Items:
    return gemini(snake=True)


def is_gemini(items: Items) -> None:
    for item in items:
        Content.model_validate(item)


# Bedrock Converse.

POINT = {"cachePoint": {"type": "default"}}


def converse() -> Items:
    def use(call: str, name: str, **inputs: Any) -> dict[str, Any]:
        return {"toolUse": {"toolUseId": call, "name": name, "input": inputs}}

    def result(call: str, *content: dict[str, Any], **more: str) -> dict[str, Any]:
        return {"toolResult": {"toolUseId": call, "content": list(content), **more}}

    thought = {"reasoningText": {"text": "Hm.", "signature": "s"}}
    image = {"image": {"format": "png", "source": {"bytes": PIXEL}}}
    return [
        {"role": "user", "content": [{"text": "go"}, image, POINT]},
        {"role": "assistant", "content": [{"reasoningContent": thought}, {"text": "So."},
                                          use("t1", "rows", table="a"),
                                          use("t2", "read_file", path="a.py")]},
        {"role": "user", "content": [POINT, result("t1", {"text": ROWS}),
                                     result("t2", {"text": SOURCE}, status="success"), POINT]},
        {"role": "assistant", "content": [use("t3", "rows", table="b")]},
        {"role": "user", "content": [result("t3", {"json": {"rows": ["x", {"y": 7}]}}, image)]},
        {"role": "assistant", "content": [use("t4", "run", command="x")]},
        {"role": "user", "content": [result("t4", {"text": "no"}, status="error"), POINT]},
        {"role": "assistant", "content": [use("t5", "read_file", path="b.py")]},
        {"role": "user", "content": [result("t5", {"text": SOURCE + "\n# the end"})]},
    ]  # fmt: skip


def is_converse(items: Items) -> None:
    model = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
    shape = model.operation_model("Converse").input_shape
    report = ParamValidator().validate({"modelId": "m", "messages": items}, shape)
    if report.has_errors():
        raise ValueError(report.generate_report())


SHAPES = [
    (responses, "input", is_responses),
    (chat, "messages", is_chat),
    (anthropic, "messages", is_anthropic),
    (gemini, "contents", is_gemini),
    (gemini_in_snake_case, "contents", is_gemini),
    (converse, "messages", is_converse),
]
shapes = pytest.mark.parametrize(
    ("make", "key", "check"), SHAPES, ids=[make.__name__ for make, _, _ in SHAPES]
)
# What leads to a text of a tool's output, in any of the shapes; everything else is not to change.
OUTPUTS = {"output", "stdout", "stderr", "functionResponse", "function_response", "toolResult"}


def is_output(items: Items, path: Path) -> bool:
    item = items[int(path[0])]
    if item.get("type") in ("mcp_call", "code_interpreter_call"):
        return False  # the provider made it
    block = item["content"][path[2]] if path[1] == "content" and len(path) > 3 else {}
    answers = item.get("role") in ("tool", "function") or block.get("type") == "tool_result"
    return answers or not OUTPUTS.isdisjoint(path)


def changed(sent: Any, got: Any, path: Path = ()) -> Iterator[Path]:
    """The places of texts that differ; fails if anything but a text does."""
    if isinstance(sent, str) and isinstance(got, str):
        if sent != got:
            assert len(got) < len(sent)
            yield path
        return
    assert type(sent) is type(got), path
    if isinstance(sent, dict):
        assert list(sent) == list(got), path
        for name in sent:
            yield from changed(sent[name], got[name], (*path, name))
    elif isinstance(sent, list):
        assert len(sent) == len(got), path
        for index, inner in enumerate(sent):
            yield from changed(inner, got[index], (*path, index))
    else:
        assert sent == got, path


@shapes
async def test_what_goes_out_is_still_that_request(
    make: Callable[[], Items], key: str, check: Callable[[Items], None]
) -> None:
    ledger = Conversations(directory=None)
    ledger.open()
    turns = Turns(ledger, InProcess(), deadline=60.0)
    items = make()
    check(items)
    places: list[Path] = []
    for body in bodies(key, items):
        sent = json.dumps({"metadata": {"login_name": "a@b"}, "request_body": body}).encode()
        answer, figures = await answered(turns, sent)
        got = json.loads(answer).get("request_body", body)
        assert {**got, key: None} == {**body, key: None}
        check(got[key])
        places = list(changed(body[key], got[key]))
        assert not figures.events[Event.FORMS_REFUSED]
        assert not figures.events[Event.FORMS_NOT_SPLICED]
    assert all(is_output(items, place) for place in places)
    assert len(places) >= 2, "too little was shortened to show anything"


def bodies(key: str, items: Items) -> Iterator[dict[str, Any]]:
    """The body of each request: what stood before each answer, and all of it."""
    called = read(json.dumps({"request_body": {key: items}}).encode())
    assert isinstance(called, HookCall)
    made = called.by_model
    for length in range(1, len(items) + 1):
        if length == len(items) or (made[length] and not made[length - 1]):
            yield {"model": "m", key: items[:length], "stream": True}


@shapes
def test_the_types_would_show_a_broken_request(
    make: Callable[[], Items], key: str, check: Callable[[Items], None]
) -> None:
    del key
    broken = 0
    for index, item in enumerate(make()):
        for name in ("output", "content", "parts"):
            if name in item and item[name] is not None:
                items = make()
                items[index][name] = 7
                with pytest.raises((ValidationError, ValueError)):
                    check(items)
                broken += 1
    assert broken


def test_the_types_would_show_a_broken_part_of_an_output() -> None:
    items = responses()
    shell = next(item for item in items if item.get("type") == "shell_call_output")
    del shell["output"][0]["stdout"]
    with pytest.raises(ValidationError):
        is_responses(items)
