"""Recorded conversations are read in each shape, and what is none is refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulate import made
from tsheadroom.simulate import recordings
from tsheadroom.simulate.recordings import Answer, RecordingInvalid


def test_messages_of_the_assistant_are_answers(tmp_path: Path) -> None:
    items = [made.user("a"), {**made.model("b"), "at": 2.5, "usage": [1, 20, 300]}, made.user("c")]
    recording = made.recorded(tmp_path, items, client="claude-code", client_version="2.1.32")
    assert recording.answers == [Answer(1, 2.5, 321)]
    assert recording.items == [made.user("a"), made.model("b"), made.user("c")]
    assert (recording.group, recording.trace, recording.shape) == ("set", "trace", "messages")
    assert (recording.client, recording.version) == ("claude-code", (2, 1, 32))


def test_elsewhere_an_answer_is_where_the_time_stands(tmp_path: Path) -> None:
    items: list[made.Item] = [
        {"type": "message", "role": "user", "content": []},
        {"type": "reasoning", "at": 0.0},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "x"},
        {"type": "message", "role": "assistant", "content": [], "at": None, "usage": "?"},
    ]
    recording = made.recorded(tmp_path, items, shape="responses", client_version="?")
    assert recording.answers == [Answer(1), Answer(4)]
    assert recording.version == ()
    assert all("at" not in item for item in recording.items)


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    for name in ("b", "a"):
        made.write(tmp_path / "set" / f"{name}.jsonl", [])
    found = recordings.find([tmp_path / "set", tmp_path / "other.jsonl"])
    assert [path.name for path in found] == ["a.jsonl", "b.jsonl", "other.jsonl"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingInvalid, match=r"empty holds no \*\.jsonl"):
        recordings.find([tmp_path / "empty"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "each line must be a JSON object"),
        (b"[1]\n", "each line must be a JSON object"),
        (b'{"trace": "x"}\nnull\n', "each line must be a JSON object"),
        (b"{\n", "cannot be read"),
        (b"\xff\n", "cannot be read"),
        (b"[" * 100_000 + b"]" * 100_000, "cannot be read"),
        (b'{"shape": "cohere"}\n', "not one of messages, responses, chat, gemini"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, text: bytes, why: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(text)
    with pytest.raises(RecordingInvalid, match=why):
        recordings.read(path)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1", "1e400", "1" + "0" * 400, '"3"', "[]"])
def test_a_number_that_is_no_measurement_counts_as_none(tmp_path: Path, number: str) -> None:
    path = tmp_path / "x.jsonl"
    head = f'{{"client_version": {number}}}'
    item = f'{{"role": "assistant", "at": {number}, "usage": [{number}, 2, {number}]}}'
    path.write_text(f"{head}\n{item}\n")
    recording = recordings.read(path)
    assert recording.answers == [Answer(0, 0.0, 2)]
    assert recording.version in ((), (3,))
