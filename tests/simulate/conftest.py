"""Headroom in this process, as quiet as in a worker: set before anything imports it."""

from __future__ import annotations

import os

from tsheadroom.child import environment

os.environ.update(environment.OFFLINE)
os.environ["TIKTOKEN_CACHE_DIR"] = str(environment.find_tokenizers())
