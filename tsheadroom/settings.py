"""The compression settings: read, validate, merge and write atomically.

Every field, its default and its allowed values stand here and nowhere else;
`tsheadroom.config.example.json` shows them all, and `/config` serves them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from tsheadroom.errors import TsheadroomError

log = logging.getLogger(__name__)

Mode = Literal["on", "observe", "freeze", "drain", "off"]
Rewrite = Literal["never", "cold", "cost", "always"]

MODES = ("on", "observe", "freeze", "drain", "off")
REWRITES = ("never", "cold", "cost", "always")
# Headroom takes an unknown name for "coding", its most aggressive profile but one: never pass one.
SAVINGS_PROFILES = ("agent-90", "balanced", "coding", "general")

# Far above any sensible value; they keep numbers inside what every reader of the file can hold.
MAX_COUNT = 1_000_000_000
MAX_NAME_LENGTH = 256  # the longest model, tool or login name that makes sense
MAX_NAMES = 1_000  # each request is compared with these lists

# Added to the document that GET shows; a PUT that sends it back is accepted, the value ignored.
READ_ONLY = frozenset({"headroom_version"})


class SettingsInvalid(TsheadroomError):
    """The settings given are not valid; nothing was changed."""


class SettingsChanged(TsheadroomError):
    """The settings are not those the editor started from (its ETag is old)."""


class SettingsNotWritten(TsheadroomError):
    """The settings file could not be written; nothing was changed."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is compressed, and how far. The first eight are the Go daemon's."""

    compress_user_messages: bool = False
    compress_system_messages: bool = True
    protect_recent: int = 4
    protect_analysis_context: bool = True
    target_ratio: float | None = None
    min_tokens_to_compress: int = 250
    kompress_model: str | None = None
    savings_profile: str | None = None
    lossy: bool = False
    folds: bool = True
    fold_min_lines: int = 20
    gutter: bool = True
    terminal: bool = True
    json: bool = True
    lossless: bool = True
    exclude_tools: tuple[str, ...] = ()
    exclude_models: tuple[str, ...] = ()
    exclude_callers: tuple[str, ...] = ()
    mode: Mode = "on"
    rewrite: Rewrite = "never"
    holdout: int = 0


Check = Callable[[Any], bool]


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_whole(low: int, high: int = MAX_COUNT) -> Check:
    def check(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return check


def _is_ratio(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and 0 < value <= 1)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != "" and len(value) <= MAX_NAME_LENGTH


def _is_model(value: Any) -> bool:
    return value is None or _is_name(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_NAMES and all(map(_is_name, value))


def _one_of(*values: str | None) -> Check:
    return lambda value: value in values if isinstance(value, str | None) else False


_BOOL = (_is_bool, "must be true or false")
_NAMES = (_is_names, f"must be a list of at most {MAX_NAMES} names")

# Field -> how it is checked, and the end of the sentence that an operator reads when it fails.
RULES: Mapping[str, tuple[Check, str]] = {
    "compress_user_messages": _BOOL,
    "compress_system_messages": _BOOL,
    "protect_recent": (_is_whole(0), "must be an integer >= 0"),
    "protect_analysis_context": _BOOL,
    "target_ratio": (_is_ratio, "must be in (0, 1] or null"),
    "min_tokens_to_compress": (_is_whole(0), "must be an integer >= 0"),
    "kompress_model": (_is_model, 'must be a model name, "disabled" or null'),
    "savings_profile": (
        _one_of(*SAVINGS_PROFILES, None),
        f"must be one of {', '.join(SAVINGS_PROFILES)}, or null",
    ),
    "lossy": _BOOL,
    "folds": _BOOL,
    # A pointer costs about as much as two lines; shorter runs than that can only lose.
    "fold_min_lines": (_is_whole(2), "must be an integer >= 2"),
    "gutter": _BOOL,
    "terminal": _BOOL,
    "json": _BOOL,
    "lossless": _BOOL,
    "exclude_tools": _NAMES,
    "exclude_models": _NAMES,
    "exclude_callers": _NAMES,
    "mode": (_one_of(*MODES), f"must be one of {', '.join(MODES)}"),
    "rewrite": (_one_of(*REWRITES), f"must be one of {', '.join(REWRITES)}"),
    "holdout": (_is_whole(0, 100), "must be an integer from 0 to 100 (percent)"),
}


def parse_object(text: bytes) -> dict[str, Any]:
    """The JSON object in `text`; raises SettingsInvalid."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsInvalid(f"settings must be a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise SettingsInvalid("settings must be a JSON object")
    return value


def merge(current: Settings, changes: Mapping[str, Any]) -> Settings:
    """`current` with `changes` on top; the first bad field raises SettingsInvalid."""
    for name, value in changes.items():
        if name in READ_ONLY:
            continue
        if name not in RULES:
            raise SettingsInvalid(f"{name[:MAX_NAME_LENGTH]} is not a setting")
        check, sentence = RULES[name]
        if not check(value):
            raise SettingsInvalid(f"{name} {sentence}")
    fields = msgspec.to_builtins(current)
    fields.update({name: value for name, value in changes.items() if name not in READ_ONLY})
    return msgspec.convert(fields, Settings)


def encode(settings: Settings) -> bytes:
    """The settings as the file has them: indented JSON and a newline."""
    return msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n"


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file: after a crash it holds either all of the old or all of the new."""
    target = Path(os.path.realpath(path))  # a symlink stays a symlink
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the rename itself
    finally:
        os.close(directory)


def etag_of(settings: Settings) -> str:
    """Names the settings' content, quoted as HTTP has it."""
    return f'"{hashlib.sha256(encode(settings)).hexdigest()[:16]}"'


class SettingsStore:
    """The settings in force and the file they live in.

    Readers take `current`, an immutable value; a change swaps it whole. Changes are made by one
    caller at a time (`web/config.py` holds a lock), in a thread, because they wait for the disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.current = Settings()

    @property
    def etag(self) -> str:
        """The ETag of the settings in force."""
        return etag_of(self.current)

    def load(self) -> None:
        """Read the file at start: missing is the defaults, unusable a warning and the defaults."""
        try:
            self.current = self._read()
        except FileNotFoundError:
            log.info("no settings file yet; using the defaults path=%s", self.path)
        except (OSError, SettingsInvalid) as error:
            log.warning(
                "settings file unusable; using the defaults path=%s err=%s", self.path, error
            )

    def reload(self) -> bool:
        """Read the file again; whatever is wrong with it, the settings in force stay."""
        try:
            self.current = self._read()
        except (OSError, SettingsInvalid) as error:
            log.warning(
                "settings file unusable; keeping the settings path=%s err=%s", self.path, error
            )
            return False
        log.info("settings read again path=%s etag=%s", self.path, self.etag)
        return True

    def _read(self) -> Settings:
        changes = parse_object(self.path.read_bytes())
        unknown = [name for name in changes if name not in RULES and name not in READ_ONLY]
        for name in unknown:
            # A newer daemon's field, perhaps. Dropping every other setting for it would be worse.
            log.warning("unknown setting ignored path=%s name=%s", self.path, name)
            del changes[name]
        return merge(Settings(), changes)

    def update(self, body: bytes, if_match: str | None = None) -> Settings:
        """Merge a partial object, write the file, then swap.

        Raises SettingsChanged, SettingsInvalid or SettingsNotWritten; then nothing has changed.
        """
        if if_match is not None and not self._matches(if_match):
            raise SettingsChanged("the settings were changed meanwhile; read them again")
        merged = merge(self.current, parse_object(body))
        try:
            write_atomically(self.path, encode(merged))
        except OSError as error:
            raise SettingsNotWritten(
                f"cannot write the settings file {self.path}: {error.strerror or error}"
            ) from error
        self.current = merged
        log.info("settings changed path=%s etag=%s", self.path, self.etag)
        return merged

    def _matches(self, if_match: str) -> bool:
        tags = [tag.strip() for tag in if_match.split(",")]
        return "*" in tags or self.etag in tags
