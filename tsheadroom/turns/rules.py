"""What applies to a call: whether it is touched, what may be decided, what workers are told."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from tsheadroom.aperture.call import Call, Fingerprints
from tsheadroom.conversations import Request, Status, Turn
from tsheadroom.conversations import forms as decisions
from tsheadroom.economy.billing import HOLDOUT
from tsheadroom.providers.prices import price_of
from tsheadroom.settings import Settings
from tsheadroom.turns import rewrites as plan

# Settings that say when to compress; the rest says how, and goes to the workers.
_NOT_FOR_WORKERS = ("exclude_models", "exclude_callers", "mode", "rewrite", "holdout")
# Where the provider itself may delete old items, nothing may point at them.
_COMPACTION = b'"compaction"'
# Blocks whose signature covers everything before them.
_THINKING = (
    b'"thinking"',
    b'"redacted_thinking"',
    b'"encrypted_content"',
    b'"thoughtSignature"',
    b'"thought_signature"',
)


def passed_by(call: Call, settings: Settings) -> str:
    """Why a call goes on as it came, whatever is known of it; "" when it does not."""
    if not call.items:
        return "empty"
    if settings.mode == "off":
        return "mode_off"
    return "bypassed" if call.metadata.bypassed else ""


def frozen(call: Call, request: Request, settings: Settings) -> str:
    """Why no new form is made, as the name of a counter; "" when one may be.

    What was forwarded in a form before is replayed all the same: a setting that changes must not
    break a conversation that is under way.
    """
    if not call.metadata.is_turn:
        return "not_a_turn"
    if settings.mode in ("freeze", "drain"):
        return f"mode_{settings.mode}"
    if call.model in settings.exclude_models:
        return "excluded_model"
    if (call.metadata.login_name or "") in settings.exclude_callers:
        return "excluded_caller"
    return HOLDOUT if in_holdout(request, settings) else ""


def in_holdout(request: Request, settings: Settings) -> bool:
    """Whether a conversation belongs to the control group, by a hash of what it began with.

    All of what stands before the first answer: a first item alone is often the same for everybody.
    """
    if not settings.holdout:
        return False
    began = request.by_model.index(True) if True in request.by_model else len(request.by_model)
    name = decisions.digest_of([request.scope, *request.digests[:began]])
    return int.from_bytes(name[:4]) % 100 < settings.holdout


def request_of(call: Call, prints: Fingerprints, settings: Settings) -> Request:
    """The part of a call that decides which conversation it continues."""

    def thinks_after(index: int) -> bool:
        start = call.items[index][0] if index < len(call.items) else call.conversation[1]
        return any(call.data.find(mark, start, call.conversation[1]) >= 0 for mark in _THINKING)

    return Request(
        scope=_scope(call.shape.key, call.metadata.login_name or "", settings.mode),
        digests=prints.digests,
        by_model=call.by_model,
        has_prefix_cache=not _is_anthropic(call)
        or call.has(b'"cache_control"')
        or call.has(b'"thinking"')
        or call.has(b'"redacted_thinking"'),
        thinks_after=thinks_after,
    )


def rewrite_terms(call: Call, turn: Turn, settings: Settings) -> plan.Terms | None:
    """What a rewrite would cost here; None where none is allowed."""
    price = price_of(call.metadata.provider or "", call.model)
    if price is None or turn.status is not Status.CONTINUED or not turn.known:
        return None
    if price.binds_thinking and _thinks(call):
        return None
    return plan.Terms(
        policy=settings.rewrite,
        price=price.of_request(breakpoints=call.has(b'"cache_control"'), hour=call.has(b'"1h"')),
        turns=sum(
            made and not before
            for before, made in zip([False, *call.by_model], call.by_model, strict=False)
        ),
        idle_s=turn.idle_s,
        lossy=settings.lossy,
    )


@lru_cache(maxsize=8)
def _for_workers(settings: Settings) -> dict[str, Any]:
    config: dict[str, Any] = msgspec.to_builtins(settings)
    return {name: value for name, value in config.items() if name not in _NOT_FOR_WORKERS}


def worker_config(call: Call, settings: Settings) -> dict[str, Any]:
    """What workers are told to do with the items of this call."""
    config = _for_workers(settings)
    if config["folds"] and ("context_management" in call.members or call.has(_COMPACTION)):
        return {**config, "folds": False}
    return config


def _thinks(call: Call) -> bool:
    span = call.members.get("thinking")
    return span is not None and b'"disabled"' not in call.data[span[0] : span[1]]


def _scope(key: str, login: str, mode: str) -> bytes:
    """What must not share forms: other callers, other body shapes, and what was never sent."""
    observed = "observe" if mode == "observe" else ""
    return "\0".join((key, login, observed)).encode("utf-8", "surrogatepass")


def _is_anthropic(call: Call) -> bool:
    return "anthropic" in (call.metadata.provider or "").lower() or "claude" in call.model.lower()
