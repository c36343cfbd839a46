"""Headroom in this process, as quiet as in a worker: set before anything imports it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from tsheadroom.child import environment

os.environ.update(environment.OFFLINE)
os.environ["TIKTOKEN_CACHE_DIR"] = str(environment.find_tokenizers())

from tests.child.talk import Talk
from tsheadroom.child.compress.compressor import Compressor

NewTalk = Callable[..., Talk]


@pytest.fixture(scope="session")
def compressor() -> Compressor:
    made = Compressor({})
    made.warm_up()
    return made


@pytest.fixture
def talk(compressor: Compressor) -> NewTalk:
    def new(**config: Any) -> Talk:
        return Talk(compressor, config)

    return new
