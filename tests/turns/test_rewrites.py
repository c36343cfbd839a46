from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.answered import answered
from tests.conversation import Body, Provider, call, dumps
from tsheadroom.conversations.forms import Form, Target
from tsheadroom.conversations.ledger import Conversations
from tsheadroom.providers.prices import Price, price_of
from tsheadroom.providers.shapes import Part
from tsheadroom.settings import Settings
from tsheadroom.turns import rewrites as plan
from tsheadroom.turns.rewrites import Stale, Terms, View
from tsheadroom.turns.turns import Turns
from tsheadroom.workers import Job, Reply

PRICE = Price(0.1, 1.25, 300.0, True, 20, False)
CHEAP = Terms("always", PRICE, turns=10)


def numbered(word: str, first: int = 1, lines: int = 60) -> str:
    return "\n".join(f"{first + n:6}→{word} line {n} of a file" for n in range(lines))


OLD, NEW = numbered("old"), numbered("new")


def tool(name: str, output: str, error: bool = False, **inputs: Any) -> tuple[str, Any, str, bool]:
    return name, inputs, output, error


def read(output: str, path: str = "a.py", **more: Any) -> tuple[str, Any, str, bool]:
    return tool("Read", output, file_path=path, **more)


def view(*calls: tuple[str, Any, str, bool], forms: dict[int, Form] | None = None) -> View:
    """A conversation of a first message, then a call and its result each."""
    items: list[list[Part]] = [[{"kind": "text", "slot": ("content",), "text": "go"}]]
    for number, (name, inputs, output, error) in enumerate(calls):
        made = {"kind": "tool_use", "call": f"t{number}", "name": name, "input": inputs}
        slot = ("content", 0, "content")
        got = {"kind": "tool_result", "call": f"t{number}", "slot": slot, "text": output}
        items += [[made], [{**got, "error": error}]]
    return View(items, items, [100.0] * len(items), forms or {})


def found(seen: View, *, lossy: bool = False) -> list[int]:
    return [stale.item for stale in plan.superseded(seen, lossy=lossy)]


EDIT = tool("Edit", "done", file_path="a.py", old_string="x", new_string="y")
WRITE = tool("Write", "done", file_path="a.py", content="x" * 50)

SUPERSEDED = {
    "a later full read": [read(OLD), read(NEW)],
    "a later full read, after a part": [read(OLD, offset=3), read(NEW)],
    "the agent's own write": [read(OLD), WRITE],
    "another tool's name for it": [
        tool("view", OLD, path="a.py"),
        tool("str_replace_based_edit_tool", NEW, command="view", path="a.py"),
    ],
}
CURRENT = {
    "nothing later": [read(OLD)],
    "another file": [read(OLD), read(NEW, "b.py")],
    "an earlier copy": [WRITE, read(OLD)],
    "a part": [read(OLD), read(NEW, offset=1)],
    "a range": [read(OLD), tool("view", NEW, path="a.py", view_range=[1, 60])],
    "a part that does not say so": [read(OLD), read(numbered("new", first=40))],
    "a view with a hole": [read(OLD), read(NEW + "\n...\n" + numbered("new", first=90))],
    "a view that stopped": [read(OLD), read(numbered("new", lines=2000))],
    "a stub": [read(OLD), read("File unchanged since last read.")],
    "a failed read": [read(OLD), tool("Read", NEW, True, file_path="a.py")],
    "a failed write": [read(OLD), tool("Write", "denied", True, file_path="a.py", content="x")],
    "a write that only says that it failed": [
        read(OLD),
        tool("Write", "<tool_use_error>no</tool_use_error>", file_path="a.py", content="x"),
    ],
    "an edit": [read(OLD), EDIT],
    "a failed read is no view": [tool("Read", OLD, True, file_path="a.py"), read(NEW)],
    "a short text": [read(numbered("old", lines=3)), read(NEW)],
    "a search": [tool("Grep", OLD, path="a.py", pattern="x"), read(NEW)],
}


@pytest.mark.parametrize("calls", SUPERSEDED.values(), ids=SUPERSEDED)
def test_what_is_superseded(calls: list[Any]) -> None:
    assert found(view(*calls)) == [2]


@pytest.mark.parametrize("calls", CURRENT.values(), ids=CURRENT)
def test_what_is_not(calls: list[Any]) -> None:
    assert found(view(*calls)) == []


def test_lossy_takes_a_view_before_a_successful_edit_for_stale() -> None:
    assert found(view(read(OLD), EDIT), lossy=True) == [2]
    failed = tool("Edit", "no match", True, file_path="a.py", old_string="x", new_string="y")
    assert found(view(read(OLD), failed), lossy=True) == []
    said = tool("Edit", "Error: no match", file_path="a.py", old_string="x", new_string="y")
    assert found(view(read(OLD), said), lossy=True) == []


def pointer_to(item: int) -> Form:
    return Form(b"p" * 16, (), (Target(item, b"d", b""),), 5)


def test_the_target_of_a_pointer_stays() -> None:
    calls = [read(OLD), read(NEW), tool("Bash", "x", command="y")]
    assert found(view(*calls)) == [2]
    assert found(view(*calls, forms={6: pointer_to(2)})) == []


def test_a_copy_that_went_out_shortened_is_none() -> None:
    whole = view(read(OLD), read(NEW))
    shorter = [*whole.forwarded]
    shorter[4] = [{**shorter[4][0], "text": numbered("new", lines=20)}]
    assert found(View(whole.sent, shorter, whole.tokens, {})) == []
    shorter[4] = [{**shorter[4][0], "text": NEW.replace("     ", "")}]  # its padding is no loss
    assert found(View(whole.sent, shorter, whole.tokens, {})) == [2]


@pytest.mark.parametrize("item", [2, 4])
def test_an_output_of_several_texts_is_neither_view_nor_copy(item: int) -> None:
    """A notice takes the place of one text, and the others would still stand there."""
    seen = view(read(OLD), read(NEW))
    part = seen.forwarded[item][0]
    part["pieces"] = [[part["slot"], 10], [("content", 0, "more"), len(part["text"]) - 11]]
    assert found(seen) == []


def test_the_notice_is_short_and_names_the_file() -> None:
    stale = plan.superseded(view(read(OLD), read(NEW)), lossy=False)[0]
    assert "a.py" in stale.notice
    assert "further below" in stale.notice
    assert stale.saved > len(OLD) / 4 - 40


def chosen(
    seen: View, terms: Terms, idle_s: float | None = None, allowed: set[int] | None = None
) -> list[int]:
    picked = plan.choose(seen, terms, idle_s, lambda item: allowed is None or item in allowed)
    return sorted(stale.item for stale in picked)


LONG = view(read(OLD), read(NEW), *[tool("Bash", "x", command=str(n)) for n in range(30)])
CHEAPER = replace(PRICE, read=0.01)
UNCACHED = PRICE.of_request(breakpoints=False, hour=False)
AN_HOUR = PRICE.of_request(breakpoints=True, hour=True)
COST = {
    "long enough": (Terms("cost", PRICE, 1000), None, [2]),
    "too short": (Terms("cost", PRICE, 100), None, []),
    "reads cost too little": (Terms("cost", CHEAPER, 1000), None, []),
    "nothing is cached": (Terms("cost", UNCACHED, 1), None, [2]),
    "always": (Terms("always", PRICE, 1), None, [2]),
    "always, but never a loss": (Terms("always", CHEAPER, 1), None, []),
    "cold": (Terms("cold", PRICE, 1), 301.0, [2]),
    "warm": (Terms("cold", PRICE, 1000), 299.0, []),
    "not known whether it is cold": (Terms("cold", PRICE, 1000), None, []),
    "cached for an hour": (Terms("cold", AN_HOUR, 1), 400.0, []),
}


@pytest.mark.parametrize(("terms", "idle_s", "expected"), COST.values(), ids=COST)
def test_a_rewrite_is_made_only_when_it_pays(
    terms: Terms, idle_s: float | None, expected: list[int]
) -> None:
    assert chosen(LONG, terms, idle_s) == expected


def test_only_what_is_allowed_is_chosen() -> None:
    assert chosen(LONG, CHEAP, allowed={2}) == [2]
    assert chosen(LONG, CHEAP, allowed=set()) == []


def test_the_best_point_to_start_from_is_chosen() -> None:
    """An early view whose tail is long stays, the late ones go."""
    early = read("old line\n" * 60, "early.py")
    calls = [early, *[tool("Bash", "x", command=str(n)) for n in range(30)]]
    late = [read(numbered("old", lines=600)), read(NEW), read(NEW, "early.py")]
    seen = view(*calls, *late)
    big = View(seen.sent, seen.forwarded, [3000.0] * len(seen.sent), {})
    assert found(big) == [2, 64]
    assert chosen(big, Terms("cost", PRICE, 120)) == [64]


def test_a_view_named_by_an_earlier_notice_may_be_replaced_too() -> None:
    """The earlier notice stays as it is, byte for byte, and rests on the newest copy."""
    seen = view(read(OLD), read(NEW), read(numbered("newest")))
    digests = [bytes([n]) * 16 for n in range(7)]

    def canonical(item: int) -> bytes:
        text = seen.sent[item][0]["text"]
        return dumps({"role": "user", "content": [{"type": "tool_result", "content": text}]})

    slot = ("content", 0, "content")
    first = plan.forms([Stale(2, slot, OLD, "a.py", 4, False)], seen, canonical, digests)
    assert first[2].targets == (Target(4, digests[4], b""),)
    out = [*seen.forwarded]
    out[2] = [{**out[2][0], "text": first[2].edits[0].new.decode()}]
    then = View(seen.sent, out, seen.tokens, first)
    assert found(then) == [4]
    second = plan.forms([Stale(4, slot, NEW, "a.py", 6, False)], then, canonical, digests)
    assert second[2].edits == first[2].edits
    assert second[2].token == first[2].token
    assert second[2].targets == second[4].targets == (Target(6, digests[6], b""),)


class NoForms:
    """Workers that leave everything alone."""

    def submit(self, job: Job) -> asyncio.Future[Reply]:
        done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        done.set_result(Reply())
        return done


@dataclass
class Talk:
    """A conversation through the turns, as the provider sees it."""

    settings: Settings
    metadata: dict[str, str] = field(default_factory=dict)
    more: Body = field(default_factory=dict)
    now: float = 1.0

    def __post_init__(self) -> None:
        ledger = Conversations(directory=None, clock=lambda: self.now)
        self.turns = Turns(ledger, NoForms(), deadline=9.0)
        self.messages: list[Body] = [{"role": "user", "content": "go"}]
        self.provider = Provider()

    async def turn(self) -> Body:
        system = [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]
        body = {"system": system, "messages": self.messages, **self.more}
        raw = call(body, **self.metadata)
        answer, _ = await answered(self.turns, raw, self.settings)
        got: Body = json.loads(answer).get("request_body", body)
        return got

    async def step(self, made: tuple[str, Any, str, bool], *before: Body) -> bool:
        """One more answer and its result; whether something was rewritten."""
        name, inputs, output, error = made
        own = f"t{len(self.messages)}"
        use = {"type": "tool_use", "id": own, "name": name, "input": inputs}
        done: Body = {"type": "tool_result", "tool_use_id": own, "content": output}
        if error:
            done["is_error"] = True
        self.messages += [{"role": "assistant", "content": [*before, use]}]
        self.messages += [{"role": "user", "content": [done]}]
        got = await self.turn()
        try:
            self.provider.receive(got, None)
        except AssertionError:
            self.provider = Provider()
            self.provider.receive(got, None)
            return True
        return False

    async def run(self, *calls: tuple[str, Any, str, bool]) -> list[int]:
        """The turns at which something was rewritten."""
        self.provider.receive(await self.turn(), None)
        return [number for number, made in enumerate(calls) if await self.step(made)]


BASH = [tool("Bash", "x", command=str(n)) for n in range(6)]
SESSION = [read(OLD), EDIT, read(NEW), *BASH]
ON = Settings(rewrite="always")


async def test_a_rewrite_is_made_once_and_replayed() -> None:
    talk = Talk(ON)
    assert await talk.run(*SESSION) == [3]
    sent = dumps((await talk.turn())["messages"]).decode()
    assert "old line" not in sent
    assert "new line" in sent


THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
BOUND = {"model": "claude-opus-5-5"}
UNCACHED_BODY: Body = {"system": "without a breakpoint everything pays"}
NEVER: dict[str, tuple[Settings, dict[str, str], Body]] = {
    "by default": (Settings(), {}, UNCACHED_BODY),
    "a model without a price": (ON, {"model": "unheard-of"}, {}),
    "a model that is not its vendor's": (ON, {"model": "gpt-oss-120b"}, {}),
    "thinking on a model that binds it": (ON, BOUND, THINKING),
    "frozen": (Settings(rewrite="always", mode="freeze"), {}, {}),
    "drained": (Settings(rewrite="always", mode="drain"), {}, {}),
    "recent items": (Settings(rewrite="always", protect_recent=100), {}, {}),
    "warm": (Settings(rewrite="cold"), {}, {}),
    "a loss": (Settings(rewrite="cost"), {}, {}),
    "no turn": (ON, {"url": "/v1/messages/count_tokens"}, {}),
}


@pytest.mark.parametrize(("settings", "metadata", "more"), NEVER.values(), ids=NEVER)
async def test_never(settings: Settings, metadata: dict[str, str], more: Body) -> None:
    assert await Talk(settings, metadata, more).run(*SESSION) == []


async def test_without_a_cache_there_is_nothing_to_lose() -> None:
    assert await Talk(Settings(rewrite="cost"), {}, UNCACHED_BODY).run(*SESSION) == [3]


async def test_thinking_that_binds_nothing_or_is_off_is_no_reason() -> None:
    assert await Talk(ON, {}, THINKING).run(*SESSION) == [3]
    assert await Talk(ON, BOUND, {"thinking": {"type": "disabled"}}).run(*SESSION) == [3]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "", "signature": "x"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "reasoning", "encrypted_content": "x"},
    ],
)
async def test_never_before_a_thinking_block(block: Body) -> None:
    async def rewritten(at: int) -> bool:
        talk = Talk(ON)
        await talk.turn()
        steps = [
            await talk.step(made, *([block] if number == at else []))
            for number, made in enumerate(SESSION)
        ]
        return any(steps)

    assert await rewritten(0)  # the block stands before the view
    assert not await rewritten(1)
    assert not await rewritten(2)


async def test_what_the_model_made_is_never_rewritten() -> None:
    """A call over MCP holds its output, and the provider has made both."""

    def asked(n: int, text: str) -> Body:
        path = json.dumps({"path": "a.py"})
        return {"type": "mcp_call", "id": f"m{n}", "name": "read_file", "arguments": path,
                "server_label": "files", "output": text}  # fmt: skip

    ledger = Conversations(directory=None)
    ledger.open()
    turns = Turns(ledger, NoForms(), deadline=60.0)
    items: list[Body] = [{"role": "user", "content": "go"}]
    for n, text in enumerate((OLD, NEW, NEW, NEW)):
        sent = call({"input": items}, provider="openai", model="gpt-5.5")
        answer, _ = await answered(turns, sent, ON)
        assert json.loads(answer) == {"action": "allow"}
        items += [asked(n, text), {"role": "assistant", "content": "so"}]
        items += [{"role": "user", "content": "and now?"}]


async def test_cold_waits_for_the_cache_to_expire() -> None:
    talk = Talk(Settings(rewrite="cold"))
    assert await talk.run(*SESSION) == []
    price = price_of("anthropic", "claude-sonnet-4-5")
    assert price
    talk.now += price.ttl_s
    assert not await talk.step(BASH[0])
    talk.now += price.ttl_s + 1
    assert await talk.step(BASH[1])


async def test_a_repeated_request_is_not_rewritten_again() -> None:
    talk = Talk(ON)
    await talk.run(*SESSION)
    assert await talk.turn() == await talk.turn()


async def test_a_request_that_was_answered_is_answered_the_same_after_a_change_of_settings() -> (
    None
):
    talk = Talk(Settings())
    assert await talk.run(*SESSION) == []
    before = await talk.turn()
    talk.settings = ON
    assert await talk.turn() == before
    assert await talk.step(BASH[0])
