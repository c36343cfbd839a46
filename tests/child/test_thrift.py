"""What Headroom's router is spared changes nothing of what it makes, and nothing is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from headroom.transforms import content_router
from headroom.transforms.content_router import ContentRouter
from headroom.transforms.pipeline import TransformPipeline

from tests.child.test_lossy import OUTPUTS
from tests.child.test_traces import TRACES, items_of
from tsheadroom.child.compress.samples import SAMPLES
from tsheadroom.child.headroom import lossless, thrift
from tsheadroom.texts.tools import ToolCall

ROWS = [{"id": at, "name": f"service {at}", "state": "ok"} for at in range(60)]
MADE_UP = [
    json.dumps(ROWS),
    "before\n" + json.dumps(ROWS) + "\nafter, and no more of it",
    "<note>" + json.dumps(ROWS) + "</note>\n```json\n" + json.dumps(ROWS, indent=1) + "\n```",
    "[]{}" * 30_000,
    "\u4e2d" * 200_000,
    *SAMPLES,
    *OUTPUTS.values(),
]


def recorded() -> list[str]:
    parts = [part for path in TRACES for item in items_of(path) for part in item["parts"]]
    return [part["text"] for part in parts if part["kind"] == "tool_result"]


def messages(text: str) -> list[dict[str, Any]]:
    return lossless.call_messages(ToolCall("c", "tool"), {}, text)


def test_it_makes_what_the_whole_pipeline_makes() -> None:
    router = lossless.build()
    whole = TransformPipeline(transforms=[ContentRouter(router.config)])
    shorter = 0
    for text in filter(lossless.worth_trying, MADE_UP + recorded()):
        given = messages(text)
        ours = router.route(messages(text), lossless.MODEL_LIMIT)
        theirs = whole.apply(given, model=lossless.MODEL, model_limit=lossless.MODEL_LIMIT)
        assert ours.messages == theirs.messages
        assert ours.transforms_applied == theirs.transforms_applied
        shorter += ours.messages != given
    assert shorter > 5


def test_what_it_overrides_is_there() -> None:
    for name in ("_try_ml_compressor", "_record_to_toin"):
        assert name in vars(ContentRouter), name


def test_it_keeps_no_text() -> None:
    router = lossless.build()
    router.route(messages(MADE_UP[1]), lossless.MODEL_LIMIT)
    assert not router._cache._results
    assert not router._lossless_first_memo
    assert not content_router._TOKEN_ESTIMATOR._count_cache._counts


@pytest.mark.parametrize("change", [{"enable_kompress": True}, {"min_ratio_aggressive": 0.5}])
def test_what_needs_the_rest_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"without a text model|depend on tokens"):
        thrift.Router(replace(lossless.build().config, **change))
