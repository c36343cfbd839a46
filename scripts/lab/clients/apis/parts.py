"""What the four APIs have in common: the parts of a request, and of a model's answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Json = Any  # a parsed JSON value
Body = dict[str, Any]
Path = tuple[str | int, ...]  # keys and indexes that lead to a value
Event = tuple[str, Json]  # of a stream: its name, "" if it has none, and its data

HEAD = -1  # the item of a unit that stands before the conversation
_MARKS = ("cache_control", "prompt_cache_breakpoint")


@dataclass(frozen=True, slots=True)
class Unit:
    """What a prompt cache counts: a tool, or a block of the system prompt or of an item."""

    item: int  # index of the item that it is in, or HEAD
    value: Json  # without breakpoints
    mark: bool = False  # True if the client has a breakpoint at its end


@dataclass(frozen=True, slots=True)
class Output:
    """A text of a tool's output: where it stands in the body, and the call that it answers."""

    path: Path
    call: str
    text: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a request declares. A free-form one takes a text and has no fields."""

    fields: Mapping[str, Json] = field(default_factory=dict)  # name -> JSON schema
    required: Sequence[str] = ()
    free: bool = False
    namespace: str = ""
    declaration: Json = None


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of the model. A free-form tool's `arguments` are a text."""

    id: str
    tool: str
    arguments: Json
    free: bool = False
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model answers. `signature` is what its thinking is sealed with."""

    text: str
    thinking: str = ""
    signature: str = ""
    calls: Sequence[Call] = ()

    @property
    def id(self) -> str:
        """Its own: clients take two answers with one id for one."""
        return self.signature[-24:]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as a provider reports them. `cached` of the `input` were read from its cache."""

    input: int
    cached: int
    output: int


class Api(Protocol):
    """One API: how its requests are read, and how its answers are written."""

    @property
    def member(self) -> str:
        """The body's member that has the conversation's items."""

    @property
    def binds(self) -> bool:
        """True if the provider refuses thinking that comes back behind another prefix."""

    @property
    def shape(self) -> str:
        """What `tsheadroom simulate` calls bodies of this kind."""

    @property
    def vendor(self) -> str:
        """Who bills for it, as Aperture's `cost_basis` names it."""

    def head(self, body: Body) -> Iterator[Json]:
        """Yield what stands before the conversation, in the order of the cache."""

    def blocks(self, item: Json) -> list[Json]:
        """The blocks of one item."""

    def outputs(self, item: Json) -> Iterator[Output]:
        """Yield an item's tool outputs; paths begin at the item."""

    def signatures(self, item: Json) -> Iterator[str]:
        """Yield what the item's thinking was sealed with."""

    def said(self, item: Json) -> list[str]:
        """The texts of an item that is the user's; of another one none."""

    def tools(self, body: Body) -> dict[str, Tool]:
        """The tools that the model may call, by name."""

    def schema(self, body: Body) -> Json:
        """The JSON schema that the answer has to have, or None."""

    def stream(self, body: Body, answer: Answer, usage: Usage) -> list[Event]:
        """An answer as the events of a stream."""

    def whole(self, events: list[Event]) -> Json:
        """The same answer as one object, for a client that asked for no stream."""


def items(api: Api, body: Body) -> list[Json]:
    """The items of the conversation. A text alone is one item of the user."""
    value = body.get(api.member)
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    return value if isinstance(value, list) else []


def units(api: Api, body: Body) -> list[Unit]:
    """A request's units in the order of the cache."""
    found = [Unit(HEAD, plain(value), _marked(value)) for value in api.head(body)]
    for index, item in enumerate(items(api, body)):
        role = item.get("role") or item.get("type")
        found += [
            Unit(index, [role, _uniform(plain(block))], _marked(block))
            for block in api.blocks(item)
        ]
    return found


def outputs(api: Api, body: Body) -> Iterator[Output]:
    """Yield all tool outputs of a request; paths begin at the body."""
    for index, item in enumerate(items(api, body)):
        for output in api.outputs(item):
            yield Output((api.member, index, *output.path), output.call, output.text)


def plain(value: Json) -> Json:
    """The value without breakpoints, which are no part of what is cached."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if key not in _MARKS}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def texts(path: Path, value: Json) -> Iterator[tuple[Path, str]]:
    """Yield each string in a value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts((*path, key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts((*path, index), inner)


def text_parts(path: Path, content: Json) -> Iterator[tuple[Path, str]]:
    """Yield the texts of a content that is a string or a list of parts, with their paths."""
    if isinstance(content, str):
        yield path, content
    for index, part in enumerate(content if isinstance(content, list) else []):
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            yield (*path, index, "text"), part["text"]


def declared(schema: Json) -> tuple[Mapping[str, Json], Sequence[str]]:
    """The fields of a tool's schema, and the names of those that a call must have."""
    schema = schema if isinstance(schema, dict) else {}
    return schema.get("properties") or {}, schema.get("required") or ()


def _marked(value: Json) -> bool:
    return isinstance(value, dict) and "cache_control" in value


def _uniform(block: Json) -> Json:
    """The block with a lone text spelled as a string: clients change between both spellings."""
    content = block.get("content") if isinstance(block, dict) else None
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        only = content[0]
        if only.keys() == {"type", "text"} and only["type"] == "text":
            return {**block, "content": only["text"]}
    return block
