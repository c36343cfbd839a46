"""The lines between daemon and child: what both ends must compute or spell alike.

Only the standard library: a child may run in an interpreter that has Headroom and nothing of ours.

First line of a child:  {"ready": true, "headroom_version": "0.42.0", "lacks": "",
                         "confined": ["undumpable", "seccomp", "landlock"]}
Request, one line:      {"id": 7, "within": 3.9, "payload": {"conversation", "base", "prefix",
                         "frozen", "messages", "model", "config"}}
Progress, a line for each new item but the first: {"at": 12, "cpu": 7.25}
Reply, one line:        {"id": 7, "ok": true, "result": {"forms": [...], ...}}
                        {"id": 7, "ok": false, "error": "...", "error_type": "..."}

The child holds `base` items of the conversation whose chain is `prefix`; `messages` follow them.
The first `frozen` of `messages` were forwarded before (base is 0 then, and `prefix` is the chain
after them); the rest is new. `config` has a value for every setting that concerns texts.

A form is {"item", "edits", "tokens_saved"}; `item` counts from the conversation's first. An edit is
{"slot", "text", "pointers", "transforms", "lossy"}: the new text of one place in the item.
A caller waits for `within` seconds; what would take longer is left alone. Before each item that is
decided its number is written, with the CPU time of the process in seconds: if the child does not
survive the item, that one is to blame. `convicted` in a result numbers items that took more time or
memory than one may; `worn` says that this child should be replaced before its next call; `dropped`
names conversations that it no longer holds, because there was no room for them.
If the daemon does not take a form, its chain is another one than the child's; the next request
then names a prefix that the child does not hold, and the conversation is sent as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

UNKNOWN_BASE = "unknown_base"
"""error_type of a child that does not hold exactly the prefix that the request builds on."""

OUT_OF_TIME = "out_of_time"
"""error_type of a child that has not even taken in what was forwarded before in the time given."""

BAD_REQUEST = "bad_request"
"""error_type of a request that the child could not make sense of; the child itself is fine."""


class UnknownBaseError(Exception):
    """This child does not hold exactly the prefix that the request builds on."""

    error_type = UNKNOWN_BASE


class OutOfTimeError(Exception):
    """The caller will have gone before all that was forwarded earlier is taken in."""

    error_type = OUT_OF_TIME


class BadRequestError(Exception):
    """The request lacks what the child needs; the sentence names it, and the child goes on."""

    error_type = BAD_REQUEST


CHAIN_BYTES = 16
"""128 bits: chains are compared, never searched for collisions by someone who gains from one."""

EMPTY_CHAIN = b""
"""The chain of a conversation without items."""


def chain(previous: bytes, digest: str, token: bytes = b"") -> bytes:
    """The chain after one more item: what came before, the item, the form it went out with."""
    return blake2b(previous + bytes.fromhex(digest) + token, digest_size=CHAIN_BYTES).digest()


def form_token(edits: Iterable[tuple[Sequence[Any], str]]) -> bytes:
    """What a form adds to the chain, from its (slot, new text) pairs."""
    pairs = [[list(slot), text] for slot, text in edits]
    spelled = json.dumps(pairs, ensure_ascii=True, separators=(",", ":"))
    return blake2b(spelled.encode("ascii"), digest_size=CHAIN_BYTES).digest()
