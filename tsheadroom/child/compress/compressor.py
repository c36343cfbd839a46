"""Decides the forms of a conversation's new items: what `held.py` calls, and where all steps meet.

An item's form is decided once, from what stands before it in the conversation as the provider got
it. So a conversation here is only ever added to.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from tsheadroom.child.compress import outputs, tokens
from tsheadroom.child.compress.folds import FoldTarget, Index
from tsheadroom.child.compress.memo import Memo
from tsheadroom.child.compress.samples import EVERY_STEP, SAMPLES
from tsheadroom.child.compress.settings import TextSettings
from tsheadroom.child.headroom.kompress import Kompress
from tsheadroom.child.headroom.lossless import Lossless
from tsheadroom.child.headroom.lossy import ASKED_CHARS, Lossy
from tsheadroom.child.watch import OverBudgetError, Stopwatch
from tsheadroom.texts import pointers, tools, wrappers
from tsheadroom.texts.tools import ToolCall, written_texts
from tsheadroom.texts.wrappers import Wrapped

log = logging.getLogger(__name__)

MIN_TARGET_CHARS = 100  # a shorter text is never worth pointing at
_FAILED = "<tool_use_error>"  # a failure that the client did not flag as one
_SMALL = 600  # bytes of bookkeeping an item, measured


@dataclass(slots=True)
class TurnResult:
    """What came of the new items of one request.

    `forms` are as `child/protocol.py` has them, but `item` counts from the first item given;
    `tokens_saved` is the sum of theirs. `notes` counts events by name. `convicted` are the items,
    counted likewise, that took more time or memory than one may.
    """

    forms: list[dict[str, Any]] = field(default_factory=list)
    tokens_saved: int = 0
    notes: dict[str, int] = field(default_factory=dict)
    convicted: list[int] = field(default_factory=list)

    def note(self, name: str) -> None:
        """Count one event of this name."""
        self.notes[name] = self.notes.get(name, 0) + 1


@dataclass(slots=True)
class _Taken:
    """What was recorded of an item whose form is not certain yet, so that it can be taken back."""

    chars: int
    asked: str
    answered: list[str] = field(default_factory=list)
    targets: list[FoldTarget] = field(default_factory=list)
    files: list[tuple[tuple[str, str], bool]] = field(default_factory=list)  # and if it was folded


class Compressor:
    """The compression of one process: Headroom's pipelines, built once.

    `options` are the settings at the daemon's start. Only `lossy` and `kompress_model` matter here:
    whether the text model is loaded, and which.
    """

    headroom_version: str = metadata.version("headroom-ai")

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options  # the settings at the daemon's start; what is absent is not wanted
        self.lacks = ""  # what was wanted of this process and is not here, in words
        self.memo = Memo()
        self.lossless = Lossless()
        self.lossy = Lossy(Kompress(wanted=bool(self._options.get("lossy"))))
        self.out_of_memory = False

    @property
    def worn(self) -> bool:
        """True if nobody knows what an interruption has left of Headroom, or of the memory."""
        return self.out_of_memory or self.lossless.worn or self.lossy.worn

    def warm_up(self) -> None:
        """Do what the first call would else pay for: vocabularies, lazy imports, patterns."""
        lossy = bool(self._options.get("lossy"))
        config = EVERY_STEP | {"lossy": lossy}
        for text in SAMPLES:
            conversation = self.conversation()
            use = {"kind": "tool_use", "call": "c", "name": "Bash", "input": {"command": "warm up"}}
            part = {"kind": "tool_result", "slot": [0], "call": "c", "text": text, "error": False}
            conversation.context({"role": "assistant", "parts": [use]})
            conversation.compress([{"role": "user", "parts": [part]}], "", config)
        if lossy:
            self.lacks = self.lossy.kompress.lacks(self._options.get("kompress_model"))

    def conversation(self) -> Conversation:
        """A new conversation, without items."""
        return Conversation(self)

    def count(self, text: str) -> int:
        """The tokens of a text; each text is counted once."""
        return self.memo.get("tokens", text, lambda: tokens.count(text), lambda _: 0)


class Conversation:
    """What a child holds of one conversation: its tool calls, and where which lines stand."""

    def __init__(self, compressor: Compressor) -> None:
        self.length = 0  # items taken in
        self._compressor = compressor
        self._earlier = outputs.Earlier()
        # Texts that calls write, by call, until the output says if that worked.
        self._pending: dict[ToolCall, list[tuple[int, list[str | int], str]]] = {}
        self._answered: set[str] = set()  # calls whose output pointers may lead to
        # Files whose latest reading has folds in it. Read once more, a file comes in full: the
        # model may be reading again because it could not use the folds.
        self._folded_files: set[tuple[str, str]] = set()
        self._pointer_written = False  # by the agent, into a file: no folds any more
        self._reported = False
        self._asked = ""  # what the user said last; only lossy looks at it
        self._taken = _Taken(0, "")
        self._watch = Stopwatch()
        self._unread = 0  # parts that could not be taken in since the last reply

    @property
    def size(self) -> int:
        """Bytes held, about."""
        return self._earlier.index.size + self.length * _SMALL

    def context(self, item: Mapping[str, Any]) -> None:
        """Take in an item that is forwarded as it stands here.

        A part that cannot be taken in is passed over: nothing will point at it.
        """
        for part in item["parts"]:
            try:
                self._take_in(item, part)
            except Exception as error:
                self._unread += 1
                log.warning("a part was passed over error=%s", type(error).__name__)
        self.length += 1

    def _take_in(self, item: Mapping[str, Any], part: Mapping[str, Any]) -> None:
        if part["kind"] == "tool_use":
            self._record_call(part)
        elif part["kind"] == "tool_result":
            self._record_forwarded(part)
        elif part["kind"] == "forget":
            self._forget()
        else:
            self._note_asked(item, part)
            self._earlier.chars += len(part["text"])

    def compress(
        self,
        items: list[dict[str, Any]],
        model: str,
        config: Mapping[str, Any],
        watch: Stopwatch | None = None,
    ) -> TurnResult:
        """Decide the forms of new items, in order, and hold them as forwarded with these forms.

        Items that say `context`, and the model's own, are taken in as they are. `model` changes
        nothing: the same item gets the same form whichever model reads it. An item that fails, or
        for which `watch` has no time, is left alone, and the others go on.
        Raises BadRequestError if `config` lacks a setting.
        """
        settings, result = TextSettings.of(config), TurnResult()
        self._watch = watch or Stopwatch()
        self._watch.more = self._compressor.lossy.seconds(settings) if settings.lossy else 0.0
        for at, item in enumerate(items):
            if item.get("context") or item.get("role") == "assistant":
                self.context(item)
            elif self._watch.over:
                result.note("item_without_time")
                self.context(item)
            else:
                self._decide(at, item, settings, result)
        if self._unread:
            result.notes["item_failed"] = result.notes.get("item_failed", 0) + self._unread
            self._unread = 0
        if self._pointer_written and not self._reported:
            self._reported = True
            result.note("folds_off")
            log.warning(
                "a fold pointer was written into a file; no more folds in this conversation"
            )
        return result

    def _decide(
        self, at: int, item: dict[str, Any], settings: TextSettings, result: TurnResult
    ) -> None:
        """Add the form of one new item to the result, if it gets one."""
        self._taken = _Taken(self._earlier.chars, self._asked)
        saved = result.tokens_saved

        def edits_of_parts() -> list[dict[str, Any]]:
            return [
                edit
                for part in item["parts"]
                for edit in self._edits(part, item["role"], settings, result)
            ]

        try:
            edits = self._watch.item(self.length, edits_of_parts)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            # Headroom's OfflineEgressBlocked and a panic of Rust code are no Exceptions.
            self._leave_alone(at, item, error, result)
            return
        if edits:
            saved = result.tokens_saved - saved
            result.forms.append({"item": at, "edits": edits, "tokens_saved": saved})
        self.length += 1

    def _leave_alone(
        self, at: int, item: dict[str, Any], error: BaseException, result: TurnResult
    ) -> None:
        """An item whose work was cut off goes out as it came, and is held so."""
        log.warning("an item is left alone error=%s", type(error).__name__)
        if isinstance(error, OverBudgetError):
            result.note("item_over_budget")
            result.convicted.append(at)
        elif isinstance(error, MemoryError):
            result.note("item_out_of_memory")
            result.convicted.append(at)
            self._compressor.out_of_memory = True
        else:
            result.note("item_failed")
        self._take_back()
        self.context(item)

    def _take_back(self) -> None:
        """Undo what was recorded of an item's outputs; what its calls wrote stands in any case."""
        taken = self._taken
        self._earlier.chars, self._asked = taken.chars, taken.asked
        self._answered.difference_update(taken.answered)
        for target in taken.targets:
            target.withdrawn = True
        for file, folded in reversed(taken.files):
            (self._folded_files.add if folded else self._folded_files.discard)(file)

    def _record_call(self, part: Mapping[str, Any]) -> None:
        """Take in a tool call. Pointers may name it from now on; what it writes may be pointed at
        once its output shows that it worked."""
        call = self._earlier.calls.add(part)
        inputs = part.get("input")
        self._earlier.chars += sum(map(len, _strings(inputs)))
        if not self._pointer_written and any(map(pointers.imitated, _strings(inputs))):
            self._pointer_written = True
        texts = [(self.length, way, text) for way, text in written_texts(inputs)]
        call.writes = bool(texts)
        if texts:
            self._pending[call] = texts

    def _forget(self) -> None:
        """The model does not see what stands before this place: nothing may point there."""
        self._earlier.index = Index()
        self._pending.clear()
        self._folded_files.clear()

    def _note_asked(self, item: Mapping[str, Any], part: Mapping[str, Any]) -> None:
        if item.get("role") == "user" and part["kind"] == "text":
            self._asked = str(part["text"])[:ASKED_CHARS]

    def _edits(
        self, part: dict[str, Any], role: str, settings: TextSettings, result: TurnResult
    ) -> list[dict[str, Any]]:
        """The edits of one part of a new item."""
        if part["kind"] == "tool_result":
            call = self._earlier.calls.by_id.get(part.get("call", ""))
            if call is not None:
                return self._output(part, call, settings, result)
        elif part["kind"] == "forget":
            self._forget()
            return []
        elif part["kind"] != "text":
            return []
        self._note_asked({"role": role}, part)
        wrapped = Wrapped(part["text"])
        draft = outputs.Draft(wrapped.payload)
        if settings.lossy and part["kind"] == "text":
            shorter, names = self._compressor.lossy.compress_text(role, draft.text, settings)
            draft = outputs.Draft(shorter, names, lossy=True)
        edit = self._edit(part["slot"], wrapped, draft, result)
        self._earlier.chars += len(edit["text"] if edit else wrapped.payload)
        return [] if edit is None else [edit]

    def _output(
        self, part: dict[str, Any], call: ToolCall, settings: TextSettings, result: TurnResult
    ) -> list[dict[str, Any]]:
        """The edits of one output, which may have several texts; each text has its own."""
        failed = _failed(part)
        with self._watch.whole:
            self._record_written(call, failed)
        edits, forwarded, arranged = [], [], ""
        pieces = wrappers.pieces(part)
        for slot, text in pieces:
            wrapped = wrappers.opened(text)
            draft = self._draft(wrapped, call, failed, settings, result)
            edit = self._edit(slot, wrapped, draft, result)
            forwarded.append(wrappers.opened(text if edit is None else edit["text"]).payload)
            edits += [] if edit is None else [edit]
            if edit and draft.arranged and not draft.lossy and len(pieces) == 1:
                arranged = wrapped.payload
        with self._watch.whole:
            target = self._record_output(part, call, failed, wrappers.joined(forwarded))
            if target and arranged:
                self._earlier.index.add_arranged(target, arranged)
        return edits

    def _draft(
        self,
        wrapped: Wrapped,
        call: ToolCall,
        failed: bool,
        settings: TextSettings,
        result: TurnResult,
    ) -> outputs.Draft:
        text = wrapped.payload
        draft = outputs.Draft(text)
        if call.tool in settings.exclude_tools:
            return draft
        kind = outputs.Kind.of(wrapped, call)
        tidied = outputs.tidy(text, kind, settings, self._compressor.memo)
        # Without its colours a text may hold what looks like a pointer, too.
        if pointers.imitated(text) or pointers.looks_folded(tidied.text):
            result.note("imitation")
            return draft
        draft = tidied
        if failed:
            return draft  # what went wrong is read closely, and is not what stands in a file
        again = _file_read(call) in self._folded_files
        if settings.folds and not self._pointer_written and not again:
            outputs.fold(draft, kind, call, self._earlier, settings)
        if settings.lossless:
            outputs.arrange(draft, kind, call, self._compressor.lossless, self._compressor.memo)
        if settings.lossy:
            outputs.shorten(draft, call, self._compressor.lossy, settings, self._asked)
        return draft

    def _edit(
        self, slot: Sequence[Any], wrapped: Wrapped, draft: outputs.Draft, result: TurnResult
    ) -> dict[str, Any] | None:
        """The draft as an edit, if it is smaller by bytes and by tokens."""
        new = wrapped.close(draft.text)
        if draft.text == wrapped.payload or (draft.pointers and not _restores(new, wrapped, draft)):
            return None
        saved = self._tokens_saved(wrapped.close(wrapped.payload), new)
        if saved <= 0 or not _encodable(new):
            result.note("not_smaller" if saved <= 0 else "not_encodable")
            return None
        result.tokens_saved += saved
        return {
            "slot": slot,
            "text": new,
            "pointers": draft.pointers,
            "transforms": draft.transforms,
            "lossy": draft.lossy,
        }

    def _tokens_saved(self, text: str, new: str) -> int:
        """How many tokens less the new text has; 0 if it is not smaller by bytes, too."""
        # Providers refuse a block without text.
        if _bytes(new) >= _bytes(text) or not new.strip():
            return 0
        return self._compressor.count(text) - self._compressor.count(new)

    def _record_forwarded(self, part: Mapping[str, Any]) -> None:
        call = self._earlier.calls.by_id.get(part.get("call", ""))
        if call is not None:
            failed = _failed(part)
            self._record_written(call, failed)
            self._record_output(part, call, failed, wrappers.payload_of(part))

    def _record_written(self, call: ToolCall, failed: bool) -> None:
        """The call has its answer: what it wrote stands in a file now, or does not."""
        texts = self._pending.pop(call, [])
        if not failed and (texts or call.acts):
            self._note_changed(call)
        for number, (item, way, text) in enumerate(texts, 1):
            if not failed and len(text) >= MIN_TARGET_CHARS:
                self._earlier.index.add(self._target(item, way, call, number, text), text)

    def _note_changed(self, call: ToolCall) -> None:
        """What the call changed may be read again for that.

        Which file a command prints is not certain, so all that commands printed may have changed.
        """
        changed = ("", call.path)
        self._folded_files = {
            file for file in self._folded_files if not file[0] and file != changed
        }

    def _record_output(
        self, part: Mapping[str, Any], call: ToolCall, failed: bool, text: str
    ) -> FoldTarget | None:
        """An output stands in the outgoing conversation from now on; `text` is its payload."""
        self._earlier.chars += len(text)
        reading = _file_read(call)
        if not failed and reading is not None:
            self._taken.files.append((reading, reading in self._folded_files))
            if pointers.imitated(text) and any(map(pointers.parse, text.split("\n"))):
                self._folded_files.add(reading)
            else:
                self._folded_files.discard(reading)
        if call.id in self._answered:
            return None
        self._answered.add(call.id)
        self._taken.answered.append(call.id)
        if failed or len(text) < MIN_TARGET_CHARS:
            return None
        target = self._target(self.length, part["slot"], call, 0, text)
        self._taken.targets.append(target)
        self._earlier.index.add(target, text)
        return target

    def _target(
        self, item: int, slot: list[str | int], call: ToolCall, written: int, text: str
    ) -> FoldTarget:
        data = text.encode("utf-8", "surrogatepass")
        return FoldTarget(item, slot, call, written, data, self._earlier.chars)


def _restores(new: str, wrapped: Wrapped, draft: outputs.Draft) -> bool:
    """True if a reader of the new text finds its pointers, and what stood around them.

    A payload can look like a wrapper itself. How a string was spelled may show in folded lines
    only.
    """
    again = wrappers.opened(new)
    return again.payload == draft.text and again.close(wrapped.payload) == wrapped.close(
        wrapped.payload
    )


def _file_read(call: ToolCall) -> tuple[str, str] | None:
    """What file an output is a reading of, if of one; a path is the same whichever tool reads."""
    if not tools.prints_file(call) or call.writes:
        return None
    return ("", call.path) if call.path else (call.tool, call.label)


def _bytes(text: str) -> int:
    """The bytes of a text in a request, as the daemon counts them: a tab there takes two."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _encodable(text: str) -> bool:
    """True if a reply can carry it. Headroom passes half a surrogate pair on as it came."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _failed(part: Mapping[str, Any]) -> bool:
    return bool(part.get("error")) or str(part["text"]).startswith(_FAILED)


def _strings(value: Any) -> Iterator[str]:
    """Yield every string in a tool call's input."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            todo += one.values()
        elif isinstance(one, list):
            todo += one
