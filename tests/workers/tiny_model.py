"""A text model and a tokenizer with the interface of the real ones, a few hundred bytes each.

The model looks each word's score up in a table: it keeps what the maker said, drops the rest. The
ONNX file is written by hand (its protobuf fields by number, as onnx.proto has them), because the
package that writes them is not needed for anything else.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from tsheadroom.child.headroom import kompress

KEPT = ["seven", "wizards", "box", "quietly", "near", "old", "river", "bank"]
DROPPED = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
UNKNOWN_SCORE = 0.6  # a word that the tokenizer does not know is kept, if barely

FLOAT, INT64 = 1, 7


def install(cache: Path, model: str = kompress.DEFAULT, *, keep: float = 0.9) -> None:
    """Put the model and the tokenizer where the Hugging Face libraries look for them."""
    scores = [0.0, UNKNOWN_SCORE, 1.0, 1.0] + [keep] * len(KEPT) + [0.1] * len(DROPPED)
    weights = _snapshot(cache, model) / "onnx" / "kompress-int8-wo.onnx"
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_bytes(onnx(scores))
    tokenizer = _snapshot(cache, kompress.TOKENIZER)
    tokenizer.mkdir(parents=True, exist_ok=True)
    for name, content in _tokenizer_files().items():
        (tokenizer / name).write_text(json.dumps(content))


def _snapshot(cache: Path, repo: str) -> Path:
    folder = cache / f"models--{repo.replace('/', '--')}"
    revision = kompress.REVISIONS.get(repo)
    if revision is None:
        revision = "1" * 40
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(revision)
    return folder / "snapshots" / revision


def onnx(scores: list[float]) -> bytes:
    """input_ids, attention_mask [batch, seq] -> final_scores [batch, seq]."""
    raw = struct.pack(f"<{len(scores)}f", *scores)
    table = _field(1, len(scores)) + _field(2, FLOAT) + _field(8, "scores") + _field(9, raw)
    node = _field(1, "scores") + _field(1, "input_ids") + _field(2, "final_scores")
    graph = _field(1, node + _field(4, "Gather")) + _field(2, "tiny") + _field(5, table)
    graph += _field(11, _value("input_ids", INT64)) + _field(11, _value("attention_mask", INT64))
    graph += _field(12, _value("final_scores", FLOAT))
    opset = _field(1, "") + _field(2, 17)
    return _field(1, 8) + _field(7, graph) + _field(8, opset)


def _value(name: str, kind: int) -> bytes:
    shape = b"".join(_field(1, _field(2, dimension)) for dimension in ("batch", "seq"))
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, shape)))


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _tokenizer_files() -> dict[str, object]:
    pad, unknown, start, end = SPECIAL
    words = {word: at for at, word in enumerate([*SPECIAL, *KEPT, *DROPPED])}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": words[w], "content": w, **flags, "special": True} for w in SPECIAL]
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    first, last = ({"SpecialToken": {"id": word, "type_id": 0}} for word in (start, end))
    ends = {word: {"id": word, "ids": [words[word]], "tokens": [word]} for word in (start, end)}
    tokenizer = {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, sequence, last],
            "pair": [sequence, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": ends,
        },
        "model": {"type": "WordLevel", "vocab": words, "unk_token": unknown},
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 8192,
        "pad_token": pad,
        "unk_token": unknown,
        "cls_token": start,
        "sep_token": end,
    }
    return {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": config,
        "config.json": {"model_type": "modernbert"},
    }
