"""The environment in which Headroom stays offline and writes no file.

Each variable was found by watching what Headroom 0.42 opens and connects to. The daemon
passes it at exec, and the child sets it again before the import, because the place of the
vocabularies is known only in the child's own interpreter.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

OFFLINE = {
    "HEADROOM_OFFLINE": "1",
    "HEADROOM_STATELESS": "1",
    "HEADROOM_CCR_BACKEND": "memory",
    "HEADROOM_TOIN_BACKEND": "none",
    "HEADROOM_BEACON": "off",
    "HEADROOM_TELEMETRY": "off",
    "HEADROOM_DETECT_BACKEND": "python",
    # Three failures would pass everything through for a minute, for every conversation.
    "HEADROOM_PIPELINE_BREAKER_THRESHOLD": "0",
    # Of the learned text compressor, for one text; 20 s by default, five times what a caller waits.
    "HEADROOM_KOMPRESS_TIME_BUDGET_SECONDS": "3",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "PYTHONDONTWRITEBYTECODE": "1",
}

SCRUBBED_PREFIXES = ("HEADROOM_", "TSHEADROOM_", "TS_")
"""Headroom's own knobs change behaviour; the rest are the daemon's, an auth key among them."""

TOKENIZERS = Path("litellm", "litellm_core_utils", "tokenizers")
"""Where litellm, which Headroom depends on, ships vocabularies under tiktoken's cache names."""


def offline(base: Mapping[str, str]) -> dict[str, str]:
    """`base` without what a child must not inherit, plus what keeps Headroom quiet."""
    kept = {key: value for key, value in base.items() if not key.startswith(SCRUBBED_PREFIXES)}
    return kept | OFFLINE


def apply(environ: MutableMapping[str, str] = os.environ) -> None:
    """Make this process's environment the offline one; to be called before Headroom's import."""
    wanted = offline(environ)
    tokenizers = find_tokenizers()
    if tokenizers is not None:
        wanted["TIKTOKEN_CACHE_DIR"] = str(tokenizers)
    for key in [key for key in environ if key not in wanted]:
        del environ[key]
    environ.update(wanted)


def find_tokenizers() -> Path | None:
    """litellm's folder of vocabularies, found by path: its import takes seconds."""
    for entry in sys.path:
        folder = Path(entry or ".") / TOKENIZERS
        if folder.is_dir():
            return folder
    return None


def forbid_network() -> None:
    """Fail every outgoing connection of Python code at once.

    A vocabulary that is missing after all would else cost a ten seconds' stall behind a firewall,
    and conversations are nobody's business but the provider's.
    """
    import socket  # here: the daemon imports this module for offline() only

    def refuse(*_: object, **__: object) -> None:
        raise OSError("a worker has no network")

    for name in ("connect", "connect_ex", "sendto"):
        setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        setattr(socket, name, refuse)
