"""Whether Headroom's learned text compressor can run here: asked of files, not of the network.

Without its weights Headroom would pass prose unchanged and spend 220 MB a process on trying.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

DISABLED = "disabled"
DEFAULT = "chopratejas/kompress-v2-base"
# What Headroom 0.42 opens of each repository, at the revisions that it pins.
_FILES = {
    DEFAULT: ("b1563631b35bfdcee37587ad530147497d820d4c", "onnx/kompress-int8-wo.onnx"),
    "answerdotai/ModernBERT-base": (
        "8949b909ec900327062f0ebf497f51aef5e6f0c8",
        "tokenizer.json",
    ),
}


@functools.cache
def usable(model: str | None) -> bool:
    """Whether this model, or Headroom's default, can be loaded; says so once in the log if not."""
    if model == DISABLED:
        return False
    missing = [
        name for name in ("onnxruntime", "transformers") if importlib.util.find_spec(name) is None
    ]
    if missing:
        log.info("prose stays as it is: not installed packages=%s", ",".join(missing))
        return False
    absent = [repo for repo in _needed(model or DEFAULT) if not _cached(repo)]
    if absent:
        log.warning("prose stays as it is: no weights in the cache repos=%s", ",".join(absent))
        return False
    return True


def hub_cache() -> Path:
    """Where the Hugging Face libraries keep what they have fetched."""
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"])
    home = os.environ.get("HF_HOME") or str(Path("~/.cache/huggingface").expanduser())
    return Path(home) / "hub"


def _needed(model: str) -> list[str]:
    return list(_FILES) if model == DEFAULT else [model]


def _cached(repo: str) -> bool:
    snapshots = hub_cache() / f"models--{repo.replace('/', '--')}" / "snapshots"
    if repo in _FILES:
        revision, file = _FILES[repo]
        return (snapshots / revision / file).is_file()
    return snapshots.is_dir() and any(snapshots.glob("*/*"))
