"""Headroom's learned text compressor: can it run here, and how fast is it?

Headroom would look for its weights on the network, spend 220 MB a process on trying without them,
and let a long text hold the worker for many times what a caller waits.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from pathlib import Path

log = logging.getLogger(__name__)

DISABLED = "disabled"
DEFAULT = "chopratejas/kompress-v2-base"
TOKENIZER = "answerdotai/ModernBERT-base"
# What Headroom 0.42 pins; another model is taken at what its `main` was when it was fetched.
REVISIONS = {
    DEFAULT: "b1563631b35bfdcee37587ad530147497d820d4c",
    TOKENIZER: "8949b909ec900327062f0ebf497f51aef5e6f0c8",
}
# In the order in which Headroom tries them; one is enough.
_WEIGHTS = ("onnx/kompress-int8-wo.onnx", "onnx/kompress-fp32.onnx", "onnx/kompress-int8.onnx")
_TOKENIZER_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")

TEXT_SECONDS = 2.5
"""What one text may take: the caller waits 4 by default, and is not alone."""

_TRIAL = " ".join(f"word{at} of a text that is read to see how long this takes" for at in range(27))
"""About as much as the model reads in one go (350 words)."""


class Kompress:
    """The text model of one process; `wanted` is True if `lossy` was on when the process started.

    It is not loaded later: that would take longer than a call may, need memory that this process
    was not given, and start threads, after which a fork server cannot fork any more.
    """

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self._lacks: dict[str, str] = {}
        self.pace = 0.0  # seconds a word, as measured when it was loaded

    def usable(self, model: str | None) -> bool:
        """True if this model (None: Headroom's own) is there. Loads it when first asked."""
        return model != DISABLED and not self.lacks(model)

    def lacks(self, model: str | None) -> str:
        """Why prose stays as it is, in words; empty where it does not, or is meant to."""
        name = model or DEFAULT
        if name == DISABLED:
            return ""
        if name not in self._lacks:
            self._lacks[name] = self._why_not(name)
            if self._lacks[name]:
                log.warning("prose stays as it is: %s", self._lacks[name])
        return self._lacks[name]

    def affordable(self, text: str) -> bool:
        """True if a text can be expected to be done in time."""
        return len(text.split()) * self.pace <= TEXT_SECONDS

    def _why_not(self, name: str) -> str:
        if not self._wanted:
            return "lossy was off when the daemon started; restart it to load the text model"
        return missing(name) or self._load(name)

    def _load(self, name: str) -> str:
        from headroom.transforms.kompress_compressor import (
            KompressCompressor,
            KompressConfig,
            warm_kompress_model,
        )

        if not warm_kompress_model(name, allow_download=False):
            return f"the text model does not load model={name}"
        # No marker: nobody could resolve it. The first reading pays for what ONNX prepares.
        compressor = KompressCompressor(KompressConfig(model_id=name, enable_ccr=False))
        compressor.compress(_TRIAL, allow_download=False)
        started = time.perf_counter()
        compressor.compress(_TRIAL, allow_download=False)
        self.pace = (time.perf_counter() - started) / len(_TRIAL.split())
        return ""


def missing(name: str) -> str:
    """What keeps a model from being loaded here, in words; empty when nothing does."""
    packages = [p for p in ("onnxruntime", "transformers") if importlib.util.find_spec(p) is None]
    if packages:
        return f"install tsheadroom[ml] for it; not installed: {', '.join(packages)}"
    wanted = []
    if not any(_cached(name, file) for file in _WEIGHTS):
        wanted.append(_fetch(name, _WEIGHTS[:1]))
    if not all(_cached(TOKENIZER, file) for file in _TOKENIZER_FILES):
        wanted.append(_fetch(TOKENIZER, _TOKENIZER_FILES))
    if wanted:
        return f"not in {hub_cache()}; fetch it with: {' && '.join(wanted)}"
    return ""


def hub_cache() -> Path:
    """Where the Hugging Face libraries keep what they have fetched."""
    if os.environ.get("HF_HUB_CACHE"):
        return Path(os.environ["HF_HUB_CACHE"])
    home = os.environ.get("HF_HOME") or str(Path("~/.cache/huggingface").expanduser())
    return Path(home) / "hub"


def _cached(repo: str, file: str) -> bool:
    folder = hub_cache() / f"models--{repo.replace('/', '--')}"
    revision = REVISIONS.get(repo)
    if revision is None:
        try:
            revision = (folder / "refs" / "main").read_text().strip()
        except (OSError, UnicodeDecodeError):
            return False
    return (folder / "snapshots" / revision / file).is_file()


def _fetch(repo: str, files: tuple[str, ...]) -> str:
    pinned = f" --revision {REVISIONS[repo]}" if repo in REVISIONS else ""
    return f"hf download {repo} {' '.join(files)}{pinned}"
