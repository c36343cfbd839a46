"""The model: it follows the plan that the user names, and tells its place by the conversation."""

from __future__ import annotations

import hashlib
import json
import re

from scripts.lab.clients import filling, plan
from scripts.lab.clients.apis import Api
from scripts.lab.clients.apis.parts import Answer, Body, Call, Json, items
from scripts.lab.clients.plan import Action, Read, Run

_STEP = re.compile(r"(?:view|work)_(\d{3})_\d+_[0-9a-f]{8}")
_REPORT = "The repository has been looked at, changed and tested. Nothing else is open."
_VALUES: dict[str, Json] = {"string": "Nothing of note.", "number": 0, "integer": 0, "array": []}


def shows_file(call: str) -> bool:
    """True if a call of the model, told by its id, shows nothing but a file's text."""
    return "view_" in call


def answer(api: Api, body: Body) -> Answer:
    """What the model answers to a request, but for the signature of its thinking.

    A request that has no tools, or no plan, asks for a title, a summary or the like.
    """
    conversation = items(api, body)
    asked = _asked(api, conversation)
    tools = api.tools(body)
    if asked is None or not tools:
        return Answer(_aside(api.schema(body)))
    at, name, workspace = asked
    step = _next_step(conversation[at + 1 :])
    steps = plan.PLANS[name]
    made: list[tuple[filling.Made, Action]] = []
    while step < len(steps) and not made:
        made = filling.calls(steps[step], tools, workspace, step)
        step += not made
    if not made:
        return Answer(_REPORT, plan.thought(step))
    salt = hashlib.sha256(f"{name} {workspace}".encode()).hexdigest()[:8]
    calls = [
        Call(
            id=f"{'view' if _shows(action) else 'work'}_{step:03}_{number}_{salt}",
            tool=call.tool,
            arguments=call.arguments,
            free=tools[call.tool].free,
            namespace=tools[call.tool].namespace,
        )
        for number, (call, action) in enumerate(made)
    ]
    return Answer(plan.said(step), plan.thought(step), calls=calls)


def _asked(api: Api, conversation: list[Json]) -> tuple[int, str, str] | None:
    """The last item in which the user names a plan, the plan, and the workspace's path."""
    for at in range(len(conversation) - 1, -1, -1):
        for text in api.said(conversation[at]):
            found = plan.MARK.search(text)
            if found and found[1] in plan.PLANS:
                return at, found[1], found[2].rstrip('"')
    return None


def _next_step(after: list[Json]) -> int:
    """The step that follows those whose calls stand in these items."""
    return max((int(step) for step in _STEP.findall(json.dumps(after))), default=-1) + 1


def _shows(action: Action) -> bool:
    return isinstance(action, Read) or (isinstance(action, Run) and action.shows)


def _aside(schema: Json) -> str:
    return json.dumps(_value(schema)) if schema else "Look at a repository"


def _value(schema: Json) -> Json:
    """A value that a JSON schema allows."""
    if schema.get("enum"):
        return schema["enum"][0]
    kind = str(schema.get("type", "object")).lower()
    if kind == "object":
        return {name: _value(inner) for name, inner in (schema.get("properties") or {}).items()}
    return _VALUES.get(kind, False)
