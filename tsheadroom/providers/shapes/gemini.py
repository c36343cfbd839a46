"""`contents`: Gemini and Vertex generateContent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tsheadroom.providers.shapes.parts import (
    Json,
    Part,
    Result,
    output,
    strings,
    text,
    tool_use,
)


class Gemini:
    """Items are contents with a `role` (user, model, function) and `parts`."""

    key = "contents"

    def by_model(self, role: str, kind: str, *, at_provider: bool = False) -> bool:
        """True if the role is "model", Gemini's name for the assistant."""
        del kind, at_provider
        return role == "model"

    def role(self, item: Json) -> str:
        """The name that workers use for the item's role."""
        role = item.get("role") if isinstance(item, dict) else None
        return {"model": "assistant", "function": "tool"}.get(str(role), "user")

    def parts(self, item: Json) -> Iterator[Part]:
        """Yield texts, function calls, and functions' responses with all strings in them."""
        parts = item.get("parts") if isinstance(item, dict) else None
        called: Counter[str] = Counter()
        answered: Counter[str] = Counter()
        for index, part in enumerate(parts if isinstance(parts, list) else []):
            if not isinstance(part, dict) or part.get("thought"):
                continue
            if isinstance(part.get("text"), str):
                yield text(("parts", index, "text"), part["text"])
            call, _ = _member(part, "functionCall", "function_call")
            response, name = _member(part, "functionResponse", "function_response")
            if isinstance(call, dict):
                yield tool_use(_id(call, called), call.get("name"), call.get("args"))
            if isinstance(response, dict):
                where = ("parts", index, name, "response")
                told = response.get("response")
                failed = isinstance(told, dict) and bool(told.get("error"))
                result = Result(_id(response, answered), failed)
                yield from output(strings(where, told), result)


def _member(part: dict[str, Json], *names: str) -> tuple[Json, str]:
    """The first of these members, and its name. The API takes both ways of spelling them."""
    return next(((part[name], name) for name in names if name in part), (None, ""))


def _id(part: dict[str, Json], named: Counter[str]) -> str:
    """The id of a call. It is optional; without one, the function's name is used.

    `named` counts the parts of the item that have none: calls of one function are answered in the
    order in which they were made.
    """
    if part.get("id"):
        return str(part["id"])
    name = str(part.get("name") or "")
    named[name] += 1
    return name if named[name] == 1 else f"{name} {named[name]}"


GEMINI = Gemini()
