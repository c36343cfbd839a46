"""Conversations as each provider's clients send them, breakpoints and all.

A talk is a tuple of words. Its first letter says what a word stands for: an answer of the model
with a call in it (A), that call's output (O), a user's text (U), or a compaction (C). How a word is
spelled depends on the request: breakpoints move, a text is a string or a block, signatures that
bind nothing are replaced.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

Talk = tuple[str, ...]
Item = dict[str, Any]

SHAPES = ("anthropic", "converse", "chat", "responses", "gemini")
KEYS = {"responses": "input", "gemini": "contents"}
MODELS = {
    "anthropic": "claude-sonnet-5-5",
    "converse": "us.anthropic.claude-sonnet-5-5-v1:0",
    "chat": "gpt-5.6",
    "responses": "gpt-5.6",
    "gemini": "gemini-3-pro",
}
PATHS = {
    "anthropic": "/v1/messages",
    "converse": "/model/m/converse",
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "gemini": "/v1beta/models/gemini-3-pro:streamGenerateContent",
}
COUNTING = {
    "anthropic": "/v1/messages/count_tokens",
    "converse": "/model/m/count-tokens",
    "chat": "/v1/responses/input_tokens",
    "responses": "/v1/responses/input_tokens",
    "gemini": "/v1beta/models/gemini-3-pro:countTokens",
}
_EPHEMERAL = {"cache_control": {"type": "ephemeral"}}
_EXPLICIT: list[Item] = [
    {"prompt_cache_breakpoint": {"mode": "explicit"}},
    {"prompt_cache_breakpoint": True},
]
_POINT = {"cachePoint": {"type": "default"}}
_BREAKPOINTS = ("cache_control", "prompt_cache_breakpoint")
SYSTEM: dict[str, list[Item]] = {
    "anthropic": [{"type": "text", "text": "s", **_EPHEMERAL}],
    "converse": [{"text": "s"}, _POINT],
    "chat": [],
    "responses": [],
    "gemini": [],
}
_FREE = {"thoughtSignature", "thought_signature"}


def by_model(word: str) -> bool:
    """True if the model made what the word stands for."""
    return word[0] in "AC"


def text_of(word: str) -> str:
    """What a word says. Most outputs can be shortened: by a pointer, or as JSON without layout."""
    number = int(word[1:])
    if word[0] != "O":
        return f"{word} says something"
    if number % 3 == 0:
        return json.dumps([{"name": f"thing {n}", "of": number} for n in range(6)], indent=4)
    file = number % 4
    lines = [f"line {n} of file {file}, which is printed more than once" for n in range(12)]
    return "\n".join([f"output {number}", *lines] if number % 2 else lines)


def _command(number: str) -> Item:
    """The input of a call. A command that prints no file, so that JSON may lose its layout."""
    return {"command": f"curl {number}" if int(number) % 3 == 0 else f"cat {int(number) % 4}"}


def spelled(
    shape: str, talk: Talk, look: Callable[[str], random.Random], signature: str, thinks: bool
) -> list[Item]:
    """The items of a request; `look` draws where breakpoints are, and how a word is spelled."""
    made = {
        "anthropic": _anthropic,
        "converse": _converse,
        "chat": _chat,
        "responses": _responses,
        "gemini": _gemini,
    }[shape]
    items: list[Item] = []
    for word in talk:
        items += made(word, look(word), signature, thinks)
    return items


def _mark(block: Item, mark: Item, how: random.Random) -> Item:
    """The block with a breakpoint as its first, its last or any other member; or without one."""
    if how.random() < 0.6:
        return block
    members = list(block.items())
    members[(at := how.randrange(len(members) + 1)) : at] = mark.items()
    return dict(members)


def _anthropic(word: str, how: random.Random, signature: str, thinks: bool) -> list[Item]:
    number, text = word[1:], text_of(word)
    if word[0] == "A":
        use = {
            "type": "tool_use",
            "id": f"t{number}",
            "name": "Bash",
            "input": _command(number),
        }
        thinking = {"type": "thinking", "thinking": "", "signature": f"s{number}"}
        blocks = [thinking, use] if thinks else [use]
        return [{"role": "assistant", "content": [*blocks[:-1], _mark(use, _EPHEMERAL, how)]}]
    if word[0] == "C":
        return [{"role": "assistant", "content": [{"type": "compaction", "content": text}]}]
    plain: Item = {"type": "text", "text": text}
    if word[0] == "U":
        if how.random() < 0.5:
            return [{"role": "user", "content": text}]
        return [{"role": "user", "content": [_mark(plain, _EPHEMERAL, how)]}]
    inner: Any = text if how.random() < 0.5 else [_mark(plain, _EPHEMERAL, how)]
    done = {"type": "tool_result", "tool_use_id": f"t{number}", "content": inner}
    blocks = [_mark(done, _EPHEMERAL, how)]
    if int(number) % 4 == 0:
        blocks.append(_mark({"type": "text", "text": "a reminder"}, _EPHEMERAL, how))
    return [{"role": "user", "content": blocks}]


def _converse(word: str, how: random.Random, signature: str, thinks: bool) -> list[Item]:
    number, text = word[1:], text_of(word)

    def pointed(*blocks: Item) -> list[Item]:
        found: list[Item] = []
        for block in blocks:
            found += [_POINT, block] if how.random() < 0.2 else [block]
        return [*found, _POINT] if how.random() < 0.3 else found

    if word[0] in "AC":
        use = {
            "toolUse": {
                "toolUseId": f"t{number}",
                "name": "Bash",
                "input": _command(number),
            }
        }
        thinking = {"reasoningContent": {"reasoningText": {"text": "", "signature": f"s{number}"}}}
        blocks = [thinking, use] if thinks else [use]
        return [{"role": "assistant", "content": pointed(*blocks)}]
    if word[0] == "U":
        return [{"role": "user", "content": pointed({"text": text})}]
    done = {"toolResult": {"toolUseId": f"t{number}", "content": [{"text": text}]}}
    more = [{"text": "a reminder"}] if int(number) % 4 == 0 else []
    return [{"role": "user", "content": pointed(done, *more)}]


def _chat(word: str, how: random.Random, signature: str, thinks: bool) -> list[Item]:
    number, text = word[1:], text_of(word)
    mark = how.choice(_EXPLICIT)
    if word[0] in "AC":
        function = {"name": "Bash", "arguments": json.dumps(_command(number))}
        call = {"id": f"t{number}", "type": "function", "function": function}
        return [{"role": "assistant", "content": None, "tool_calls": [call]}]
    plain = {"type": "text", "text": text}
    content: Any = text if how.random() < 0.4 else [_mark(plain, mark, how)]
    if word[0] == "U":
        return [{"role": "user", "content": content}]
    return [{"role": "tool", "tool_call_id": f"t{number}", "content": content}]


def _responses(word: str, how: random.Random, signature: str, thinks: bool) -> list[Item]:
    number, text = word[1:], text_of(word)
    mark = how.choice(_EXPLICIT)
    if word[0] == "A":
        sealed = f"{signature}{number}"
        call = {"type": "function_call", "call_id": f"t{number}", "name": "shell"}
        return [
            {"type": "reasoning", "summary": [], "encrypted_content": sealed},
            {**call, "arguments": json.dumps(_command(number))},
        ]
    if word[0] == "C":
        return [{"type": "compaction", "encrypted_content": text}]
    part = _mark({"type": "input_text", "text": text}, mark, how)
    if word[0] == "U":
        return [{"type": "message", "role": "user", "content": [part]}]
    said: Any = text if int(number) % 2 else [part]
    return [{"type": "function_call_output", "call_id": f"t{number}", "output": said}]


def _gemini(word: str, how: random.Random, signature: str, thinks: bool) -> list[Item]:
    number, text = word[1:], text_of(word)
    if word[0] in "AC":
        call = {"name": "shell", "id": f"t{number}", "args": _command(number)}
        sealed = {"thoughtSignature": f"{signature}{number}"} if signature else {}
        return [{"role": "model", "parts": [{"functionCall": call, **sealed}]}]
    if word[0] == "U":
        return [{"role": "user", "parts": [{"text": text}]}]
    told = {"name": "shell", "id": f"t{number}", "response": {"output": text}}
    return [{"role": "user", "parts": [{"functionResponse": told}]}]


def as_cached(items: list[Item]) -> tuple[str, ...]:
    """The items as a prompt cache sees them, each as JSON."""
    return tuple(json.dumps(_plain(item)) for item in items)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(inner) for inner in value if inner != _POINT]
    if not isinstance(value, dict):
        return value
    left_out = {*_BREAKPOINTS, *_FREE}
    if value.get("type") == "reasoning":
        left_out.add("encrypted_content")
    value = {key: _plain(inner) for key, inner in value.items() if key not in left_out}
    if isinstance(value.get("content"), str) and value.get("type") != "compaction":
        value["content"] = [{"type": "text", "text": value["content"]}]
    return value
