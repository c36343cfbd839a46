"""The environment in which Headroom stays offline and writes no file.

Each variable was found by watching what Headroom 0.42 opens and connects to. The daemon
passes it at exec, and the child sets it again before the import, because the place of the
vocabularies is known only in the child's own interpreter.

Of the daemon's own environment a child gets the names in `INHERITED` and nothing else: what secrets
are called there, nobody can list.
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
    # Nobody is asked, so nobody is shown the token that lies beside the models.
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "TRANSFORMERS_OFFLINE": "1",
    # ONNX Runtime keeps a database of what it would report, in the user's cache directory.
    "ORT_DISABLE_TELEMETRY": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "PYTHONDONTWRITEBYTECODE": "1",
}

INHERITED = frozenset(
    {
        # Where the interpreter, its modules and their libraries are; some systems need it.
        "PATH",
        "PYTHONHOME",
        "PYTHONPATH",
        "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
        # How text, times and memory are handled.
        "LANG",
        "LANGUAGE",
        "TZ",
        "TZDIR",
        "PYTHONUTF8",
        "MALLOC_ARENA_MAX",
        "OMP_NUM_THREADS",
        # Where the text model's files are.
        "HOME",
        "HF_HOME",
        "HF_HUB_CACHE",
        "TMPDIR",
    }
)
INHERITED_PREFIX = "LC_"

TOKENIZERS = Path("litellm", "litellm_core_utils", "tokenizers")
"""Where litellm, which Headroom depends on, ships vocabularies under tiktoken's cache names."""


def of_child(base: Mapping[str, str]) -> dict[str, str]:
    """The environment to start a child with, `base` being this process's own."""
    kept = {k: v for k, v in base.items() if k in INHERITED or k.startswith(INHERITED_PREFIX)}
    return kept | OFFLINE


def apply(environ: MutableMapping[str, str] = os.environ) -> None:
    """Make this process's environment the offline one; to be called before Headroom's import.

    Its other variables stay, but for Headroom's own: those change what comes out.
    """
    for key in [key for key in environ if key.startswith("HEADROOM_")]:
        del environ[key]
    environ.update(OFFLINE)
    tokenizers = find_tokenizers()
    if tokenizers is not None:
        environ["TIKTOKEN_CACHE_DIR"] = str(tokenizers)


def find_tokenizers() -> Path | None:
    """litellm's folder of vocabularies, found by path: its import takes seconds."""
    for entry in sys.path:
        folder = Path(entry or ".") / TOKENIZERS
        if folder.is_dir():
            return folder
    return None


def forbid_network() -> None:
    """Fail every outgoing connection at once; to be called while there is one thread.

    A vocabulary that is missing after all would else cost a ten seconds' stall behind a firewall,
    and conversations are nobody's business but the provider's. Python code is told so in words. On
    Linux the kernel tells all other code; the same filter forbids to run programs and to write to
    files (`seccomp`). Raises OSError where it cannot be had.
    """
    # Here: the daemon imports this module for of_child() only.
    import socket

    from tsheadroom.child import seccomp, system

    def refuse(*_: object, **__: object) -> None:
        raise OSError("a worker has no network")

    for name in ("connect", "connect_ex", "sendto", "sendmsg"):
        setattr(socket.socket, name, refuse)
    resolving = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")
    for name in (*resolving, "create_connection"):
        setattr(socket, name, refuse)
    if system.LINUX:
        system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)  # else only root may filter calls
        seccomp.install(alone=False)
