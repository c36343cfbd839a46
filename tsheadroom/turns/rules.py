"""The rules for one call: what the settings mean for this request, worked out once.

Rules are about what is decided from now on. What was forwarded before is replayed in any case, so
that a changed setting breaks no conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from tsheadroom.aperture.call import HookCall
from tsheadroom.aperture.names import Digests
from tsheadroom.conversations import forms
from tsheadroom.conversations.prefixes import Request
from tsheadroom.providers import binding, caching
from tsheadroom.providers.prices import price_of
from tsheadroom.providers.vendor import KnownModel
from tsheadroom.settings import Settings
from tsheadroom.telemetry.events import Event
from tsheadroom.turns.rewrites import Terms

# These settings say when to compress. All others say how, and go to the workers.
_NOT_FOR_WORKERS = ("exclude_models", "exclude_callers", "mode", "rewrite", "holdout")
# Bytes of a conversation: four times what fits into a model's window. Images may take more.
_MAX_BYTES = 16 << 20
_NO_VALUE = (b"null", b'""')


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be done to one call."""

    request: Request  # how its conversation is found
    passed_by: Event | None  # the reason why the call goes on exactly as it came, if there is one
    left_alone: Event | None  # the reason why no new form is made, if there is one
    is_turn: bool  # False if it only looks at the conversation: then nothing is recorded
    observe: bool  # True if all is worked out, but nothing of it sent
    drain: bool  # True if forms are given up where the client broke the prefix itself
    rewrite: Terms | None  # None if history is not rewritten
    provider_may_delete: bool  # True if no new pointer is made, because it could lead nowhere soon
    for_workers: Mapping[str, Any]  # settings that tell workers what to do with the items

    @classmethod
    def of(cls, call: HookCall, digests: Digests, settings: Settings, known: KnownModel) -> Rules:
        """Work out the rules of a call under these settings. `known` is the model that it names."""
        request = _request_of(call, digests, settings, known)
        is_turn = caching.is_turn(call.metadata.url or "")
        left_alone = _left_alone(call, request, settings, is_turn=is_turn)
        config = _for_workers(settings)
        may_delete = config["folds"] and not left_alone and _provider_may_delete(call)
        return cls(
            request=request,
            passed_by=_passed_by(call, settings),
            left_alone=left_alone,
            is_turn=is_turn,
            observe=settings.mode == "observe",
            drain=settings.mode == "drain",
            rewrite=None if left_alone else _terms(call, settings, known),
            provider_may_delete=may_delete,
            for_workers={**config, "folds": False} if may_delete else config,
        )


def in_holdout(request: Request, percent: int) -> bool:
    """True if a conversation belongs to the control group.

    A hash of all that stands before its first answer decides. The first item alone is often the
    same in all conversations.
    """
    if not percent:
        return False
    made = request.by_model
    began = made.find(1) if 1 in made else len(made)
    name = forms.digest_of([request.scope, request.digests[:began].joined])
    return int.from_bytes(name[:4]) % 100 < percent


def _passed_by(call: HookCall, settings: Settings) -> Event | None:
    if not call.items:
        return Event.EMPTY
    if settings.mode == "off":
        return Event.MODE_OFF
    return Event.BYPASSED if call.metadata.bypassed else None


def _left_alone(
    call: HookCall, request: Request, settings: Settings, *, is_turn: bool
) -> Event | None:
    if not is_turn:
        return Event.NOT_A_TURN
    if settings.mode == "freeze":
        return Event.MODE_FREEZE
    if settings.mode == "drain":
        return Event.MODE_DRAIN
    if call.model in settings.exclude_models:
        return Event.EXCLUDED_MODEL
    if (call.metadata.login_name or "") in settings.exclude_callers:
        return Event.EXCLUDED_CALLER
    if any(call.member(name) not in _NO_VALUE for name in caching.EARLIER_ITEMS_ELSEWHERE):
        return Event.HISTORY_ELSEWHERE
    if call.is_cut or _is_huge(call):
        return Event.TOO_LARGE
    if not call.is_utf8:
        return Event.NOT_UTF8
    return Event.HOLDOUT if in_holdout(request, settings.holdout) else None


def _is_huge(call: HookCall) -> bool:
    return call.conversation[1] - call.conversation[0] > _MAX_BYTES


def _request_of(call: HookCall, digests: Digests, settings: Settings, known: KnownModel) -> Request:
    huge = _is_huge(call)

    def binds_after(index: int) -> bool:
        if huge:  # nothing new is decided in it, and to look through it takes long
            return True
        start = call.items[index][0] if index < len(call.items) else call.conversation[1]
        end = call.conversation[1]
        return binding.binds(call.shape.key, call.data, start, end, anthropic=known.by_anthropic)

    return Request(
        scope=_scope(call.shape.key, call.metadata.login_name or "", settings.mode),
        digests=digests.names,
        by_model=call.by_model,
        session=(call.metadata.session_id or "").encode("utf-8", "surrogatepass"),
        has_prefix_cache=lambda: caching.has_prefix_cache(
            call.data, *call.body, anthropic=known.by_anthropic
        ),
        binds_after=binds_after,
    )


def _scope(key: str, login: str, mode: str) -> bytes:
    """A name for what may share forms: the same caller, the same body shape, really sent or not."""
    observed = "observe" if mode == "observe" else ""
    return "\0".join((key, login, observed)).encode("utf-8", "surrogatepass")


def _terms(call: HookCall, settings: Settings, known: KnownModel) -> Terms | None:
    """None if no rewrite is allowed: by the settings, without a price, or with bound thinking."""
    if settings.rewrite == "never":
        return None
    price = price_of(known.vendor, known.name)
    if price is None or (price.binds_thinking and _thinks(call)):
        return None
    made = call.by_model
    return Terms(
        policy=settings.rewrite,
        price=price.of_request(
            breakpoints=caching.has_breakpoints(call.data, *call.body),
            hour=caching.asks_for_an_hour(call.data, *call.body),
        ),
        turns=(b"\0" + made).count(b"\0\1"),
        lossy=settings.lossy,
        protect_recent=settings.protect_recent,
    )


def _thinks(call: HookCall) -> bool:
    span = call.members.get("thinking")
    return span is not None and b'"disabled"' not in call.data[span[0] : span[1]]


@lru_cache(maxsize=8)
def _for_workers(settings: Settings) -> dict[str, Any]:
    config: dict[str, Any] = msgspec.to_builtins(settings)
    return {name: value for name, value in config.items() if name not in _NOT_FOR_WORKERS}


def _provider_may_delete(call: HookCall) -> bool:
    """True if the request lets the provider delete what a new pointer would lead to."""
    if call.member(caching.COMPACTION) != b"null" or call.member("truncation") == b'"auto"':
        return True
    return caching.may_delete_outputs(call.member(caching.CONTEXT_MANAGEMENT))
