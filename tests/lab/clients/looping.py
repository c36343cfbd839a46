"""A client in a few lines for each API: it declares tools, and answers each call of one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from scripts.lab.clients import plan
from scripts.lab.clients.apis import api_of
from scripts.lab.clients.apis.parts import Api, Body, Json

PATHS = {
    "anthropic": "/v1/messages",
    "responses": "/v1/responses",
    "chat": "/v1/chat/completions",
    "gemini": "/v1beta/models/gemini-3:streamGenerateContent",
}
WORKSPACE = "/srv/work"
_FIELDS = {
    "read": ["path", "offset", "limit"],
    "bash": ["command"],
    "edit": ["path", "old_string", "new_string"],
    "write": ["path", "content"],
    "task": ["prompt"],
}

Output = Callable[[str, Json], str]
"""What a tool prints, by the call's id and its arguments."""


def api(name: str) -> Api:
    found = api_of(PATHS[name])
    assert found is not None
    return found


def first(name: str, said: str = plan.prompt("sub", WORKSPACE)) -> Body:
    """The first request of a conversation."""
    schemas = {
        tool: {"type": "object", "properties": {field: {"type": "string"} for field in fields}}
        for tool, fields in _FIELDS.items()
    }
    if name == "anthropic":
        tools: list[Json] = [{"name": n, "input_schema": s} for n, s in schemas.items()]
        thinking = {"thinking": {"type": "adaptive"}, "system": "You are an agent."}
        return {**thinking, "tools": tools, "messages": [{"role": "user", "content": said}]}
    if name == "responses":
        tools = [{"type": "function", "name": n, "parameters": s} for n, s in schemas.items()]
        text = [{"type": "input_text", "text": said}]
        item = {"type": "message", "role": "user", "content": text}
        return {"tools": tools, "reasoning": {"effort": "low"}, "input": [item]}
    if name == "chat":
        functions = [{"name": n, "parameters": s} for n, s in schemas.items()]
        tools = [{"type": "function", "function": function} for function in functions]
        return {"tools": tools, "messages": [{"role": "user", "content": said}]}
    functions = [{"name": n, "parametersJsonSchema": s} for n, s in schemas.items()]
    content = {"role": "user", "parts": [{"text": said}]}
    config = {"thinkingConfig": {"includeThoughts": True}}
    declared = [{"functionDeclarations": functions}]
    return {"tools": declared, "generationConfig": config, "contents": [content]}


def following(name: str, body: Body, answer: Json, output: Output) -> Body | None:
    """The request after an answer; None if the answer calls no tool."""
    added = _ADDED[name](answer, output)
    member = api(name).member
    return {**body, member: [*body[member], *added]} if added else None


def _anthropic(answer: Json, output: Output) -> list[Json]:
    results = [
        {
            "type": "tool_result",
            "tool_use_id": block["id"],
            "content": output(block["id"], block["input"]),
        }
        for block in answer["content"]
        if block["type"] == "tool_use"
    ]
    said = {"role": "assistant", "content": answer["content"]}
    return [said, {"role": "user", "content": results}] if results else []


def _responses(answer: Json, output: Output) -> list[Json]:
    results = [
        {
            "type": "function_call_output",
            "call_id": item["call_id"],
            "output": output(item["call_id"], json.loads(item["arguments"])),
        }
        for item in answer["output"]
        if item["type"] == "function_call"
    ]
    return [*answer["output"], *results] if results else []


def _chat(answer: Json, output: Output) -> list[Json]:
    message = answer["choices"][0]["message"]
    results = []
    for call in message.get("tool_calls") or []:
        printed = output(call["id"], json.loads(call["function"]["arguments"]))
        results.append({"role": "tool", "tool_call_id": call["id"], "content": printed})
    return [message, *results] if results else []


def _gemini(answer: Json, output: Output) -> list[Json]:
    content = answer["candidates"][0]["content"]
    results: list[Any] = []
    for part in content["parts"]:
        call = part.get("functionCall")
        if call:
            printed = {"output": output(call["id"], call["args"])}
            response = {"name": call["name"], "id": call["id"], "response": printed}
            results.append({"functionResponse": response})
    kept = [part for part in content["parts"] if not part.get("thought")]
    said = {"role": "model", "parts": kept}
    return [said, {"role": "user", "parts": results}] if results else []


_ADDED = {
    "anthropic": _anthropic,
    "responses": _responses,
    "chat": _chat,
    "gemini": _gemini,
}
