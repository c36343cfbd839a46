"""Puts the forms in force into the client's own bytes. Each is checked against this very body."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from tsheadroom.aperture import answer, utf8
from tsheadroom.aperture.call import HookCall
from tsheadroom.aperture.names import Digests
from tsheadroom.conversations import forms
from tsheadroom.conversations.forms import Refused
from tsheadroom.conversations.turn import Turn
from tsheadroom.errors import place_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Spliced:
    """The answer to a call, and how much shorter it is."""

    body: bytes = answer.ALLOW
    modified: bool = False
    grown_by: int = 0  # bytes of the conversation; negative when it got shorter
    tokens_saved: int = 0
    not_spliced: int = 0  # forms that could not be used in this very body


def spliced(call: HookCall, digests: Digests, turn: Turn, *, observe: bool) -> Spliced:
    """Splice into the body every form in force whose pointers hold in it.

    With `observe`, all of it is worked out, but the answer is `allow`.
    """
    changes: list[answer.Change] = []
    not_spliced = 0
    for index in sorted(turn.forms):
        form = turn.forms[index]
        try:
            if not forms.stands(form, digests.names, turn.forms):
                raise Refused("a pointer's target no longer stands in this body")
            changes += forms.changes(form, call.items[index][0], digests.moves(index))
        except Refused as why:
            not_spliced += 1
            log.warning("form not spliced item=%d reason=%s", index, why)
        except Exception as error:  # a defect of ours: it must not cost the other forms
            not_spliced += 1
            log.error("form not spliced item=%d: a defect err=%s", index, place_of(error))
    if not changes:
        return Spliced(not_spliced=not_spliced)
    saved = sum(form.tokens_saved for form in turn.forms.values())
    if observe:
        return Spliced(tokens_saved=saved, not_spliced=not_spliced)
    body: bytes | None = answer.modify(call, changes)
    if body is not None and not call.is_utf8:
        body = utf8.mended(body)
    if body is None:
        log.warning("no form spliced: the body is hardly UTF-8 at all")
        return Spliced(not_spliced=len(turn.forms))
    return Spliced(
        body=body,
        modified=True,
        grown_by=answer.grown_by(changes),
        tokens_saved=saved,
        not_spliced=not_spliced,
    )
