"""A conversation for tests: calls and outputs go in, what was forwarded is kept and checked."""

from __future__ import annotations

import copy
from typing import Any

from tests.workers.support import job_config
from tsheadroom.child.compress.compressor import Compressor, TurnResult
from tsheadroom.texts import pointers, steps, wrappers

EXACT = {"gutter", "fold", "padded", "repeat", "sparse"}  # what `expand` undoes to the letter


def numbered(lines: list[str], first: int = 1) -> str:
    """As Claude Code's Read prints a file."""
    return "\n".join(f"{at:>6}→{line}" for at, line in enumerate(lines, first))


def source(count: int, name: str = "line") -> list[str]:
    return [f"    {name}_{at} = compute({at}, scale={at * 7})" for at in range(count)]


class Talk:
    """Grows item by item; `items` are the originals, `sent` what the provider got."""

    def __init__(self, compressor: Compressor, config: dict[str, Any]) -> None:
        self.conversation = compressor.conversation()
        self.config = job_config(**config)
        self.items: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []
        self.last = TurnResult()
        self._calls = 0

    def turn(
        self,
        tool: str,
        inputs: dict[str, Any],
        text: str,
        *,
        error: bool = False,
        **config: Any,
    ) -> str:
        """One call and its output; returns what was forwarded for the output."""
        self._calls += 1
        call = f"toolu_{self._calls}"
        use = {"kind": "tool_use", "call": call, "name": tool, "input": inputs}
        slot = ["content", 0]
        part = {"kind": "tool_result", "slot": slot, "call": call, "text": text, "error": error}
        self.add(
            [
                {"role": "assistant", "context": True, "parts": [use]},
                {"role": "user", "context": False, "parts": [part]},
            ],
            **config,
        )
        return str(self.sent[-1]["parts"][0]["text"])

    def add(self, items: list[dict[str, Any]], **config: Any) -> TurnResult:
        start = len(self.items)
        self.items += items
        self.sent += copy.deepcopy(items)
        before = copy.deepcopy(items)
        self.last = self.conversation.compress(items, "claude-sonnet-4-5", self.config | config)
        assert items == before, "the input is not ours to change"
        for form in self.last.forms:
            for edit in form["edits"]:
                self._take(start + form["item"], edit)
        return self.last

    def read(self, path: str, text: str, **config: Any) -> str:
        return self.turn("Read", {"file_path": path}, text, **config)

    def run(self, command: str, text: str, *, error: bool = False) -> str:
        return self.turn("Bash", {"command": command}, text, error=error)

    def write(self, path: str, text: str, *, error: bool = False) -> None:
        said = "It failed." if error else f"File created at {path}"
        self.turn("Write", {"file_path": path, "content": text}, said, error=error)

    def lookup(self, item: int, slot: list[Any], call: str) -> str | None:
        """An earlier text as it goes out, as the daemon finds it."""
        return _text_of(self.sent[item], slot, call)

    def as_sent(self, item: int, slot: list[Any], call: str) -> str | None:
        """The same text as the client sent it."""
        return _text_of(self.items[item], slot, call)

    def _take(self, index: int, edit: dict[str, Any]) -> None:
        """Every form in every test: smaller, verified, and undone from what was sent alone."""
        part, original = self._replace(index, edit)
        assert len(edit["text"]) < len(original)
        assert pointers.verify(edit, original, self.lookup, self.as_sent)
        names = set(edit["transforms"])
        if part["kind"] == "tool_result" and names <= EXACT | {"terminal", "json"}:
            restored = pointers.expand(self.sent, index, part["call"], edit["transforms"])
            assert restored is not None
            same = [pointer for pointer in edit["pointers"] if pointer.get("arranged")]
            if same:
                assert restored == self.lookup(same[0]["item"], same[0]["slot"], same[0]["call"])
            else:
                rest = [name for name in edit["transforms"] if name in ("terminal", "json")]
                wrapped = wrappers.opened(original)
                shown = wrapped.close(steps.repeat(wrapped.payload, rest))
                assert shown in restored
                assert "pieces" in part or restored == shown

    def _replace(self, index: int, edit: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Put an edit into what was sent; the part that it is in, and the text that was there."""
        for part in self.sent[index]["parts"]:
            if "slot" not in part:
                continue
            texts = {tuple(slot): text for slot, text in wrappers.pieces(part)}
            if tuple(edit["slot"]) in texts:
                original = texts[tuple(edit["slot"])]
                texts[tuple(edit["slot"])] = edit["text"]
                part["text"] = wrappers.joined(texts.values())
                if "pieces" in part:
                    part["pieces"] = [[list(slot), len(text)] for slot, text in texts.items()]
                return part, original
        raise AssertionError("an edit of nothing")


def _text_of(item: dict[str, Any], slot: list[Any], call: str) -> str | None:
    for part in item["parts"]:
        if part.get("call") == call and slot[0] == "input" and part["kind"] == "tool_use":
            value: Any = part
            for key in slot:
                value = value[key]
            return str(value)
        if part.get("slot") == slot and part.get("call", "") == call:
            return wrappers.payload_of(part)
    return None
