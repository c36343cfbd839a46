"""The conversation that is heavy with JSON is what its maker makes."""

from scripts.lab import json_heavy, traffic


def test_the_file_is_what_the_maker_prints() -> None:
    path = traffic.DATA / "json_heavy.jsonl"
    assert path.read_text("utf-8") == json_heavy.lines()


def test_every_call_has_its_answer() -> None:
    waiting: list[str] = []
    for message in json_heavy.conversation()[1:]:
        for block in message["content"]:
            if block["type"] == "tool_use":
                waiting.append(block["id"])
            if block["type"] == "tool_result":
                assert waiting.pop() == block["tool_use_id"]
    assert waiting == []
