"""The compression settings: their fields, and the file that they are kept in.

Each field stands once, in `Settings`: name, default, allowed values, and the words in which an
operator is told of them. `tsheadroom.config.example.json` shows all fields; `/config` serves them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from tsheadroom.errors import TsheadroomError
from tsheadroom.files import FileRefused, check_regular, open_regular

log = logging.getLogger(__name__)

# Far above any sensible value; they keep numbers inside what every reader of the file can hold.
MAX_COUNT = 1_000_000_000
MAX_NAME_LENGTH = 256  # the longest model, tool or login name that makes sense
MAX_NAMES = 1_000  # each request is compared with these lists
MAX_FILE_BYTES = 1 << 20  # of the file; a PUT brings 64 KiB at most, and all settings are some KB

# GET /config shows these beside the settings. A PUT may send them back; their values are ignored.
READ_ONLY = frozenset({"headroom_version"})

Mode = Literal["on", "observe", "freeze", "drain", "off"]
FoldFiles = Literal["careful", "all", "never"]
Rewrite = Literal["never", "cold", "cost", "always"]
# Headroom takes an unknown name for "coding", its most aggressive profile but one: never pass one.
SavingsProfile = Literal["agent-90", "balanced", "coding", "general"]


def _at_least(low: int) -> Meta:
    return Meta(ge=low, le=MAX_COUNT, description=f"an integer >= {low}")


def _one_of(choices: object) -> str:
    return f"one of {', '.join(get_args(choices))}"


# What a field takes. The description ends the sentence "NAME must be ...", which an operator reads
# when a value is refused.
_Switch = Annotated[bool, Meta(description="true or false")]
_Gutter = Annotated[
    bool | Literal["sparse"], Meta(description='true, false or "sparse"')
]  # how much of line numbers goes: nothing, their padding, or most numbers, too
_Count = Annotated[int, _at_least(0)]
# A pointer costs about as much as two lines; shorter runs than that can only lose.
_FoldLines = Annotated[int, _at_least(2)]
_Percent = Annotated[int, Meta(ge=0, le=100, description="an integer from 0 to 100 (percent)")]
_Ratio = Annotated[Annotated[float, Meta(gt=0, le=1)] | None, Meta(description="in (0, 1] or null")]
_Name = Annotated[str, Meta(pattern=r"\S", max_length=MAX_NAME_LENGTH)]  # not blank
_Names = Annotated[
    tuple[_Name, ...],
    Meta(max_length=MAX_NAMES, description=f"a list of at most {MAX_NAMES} names"),
]
_Model = Annotated[_Name | None, Meta(description='a model name, "disabled" or null')]
_Profile = Annotated[SavingsProfile | None, Meta(description=f"{_one_of(SavingsProfile)}, or null")]
_Mode = Annotated[Mode, Meta(description=_one_of(Mode))]
_FoldFiles = Annotated[FoldFiles, Meta(description=_one_of(FoldFiles))]
_Rewrite = Annotated[Rewrite, Meta(description=_one_of(Rewrite))]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What is compressed, and how far: see README.md. The first eight are the Go daemon's."""

    compress_user_messages: _Switch = False
    compress_system_messages: _Switch = True
    protect_recent: _Count = 4
    protect_analysis_context: _Switch = True
    target_ratio: _Ratio = None
    min_tokens_to_compress: _Count = 250
    kompress_model: _Model = None
    savings_profile: _Profile = None
    lossy: _Switch = False
    folds: _Switch = True
    fold_min_lines: _FoldLines = 6
    fold_files: _FoldFiles = "careful"
    gutter: _Gutter = True
    terminal: _Switch = True
    json: _Switch = True
    lossless: _Switch = True
    exclude_tools: _Names = ()
    exclude_models: _Names = ()
    exclude_callers: _Names = ()
    mode: _Mode = "on"
    rewrite: _Rewrite = "never"
    holdout: _Percent = 0


# Name of each setting -> its type, constraints and description included.
_FIELDS: Mapping[str, Any] = {field.name: field.type for field in msgspec.structs.fields(Settings)}


class SettingsInvalid(TsheadroomError):
    """The given settings are not valid, so nothing was changed. The text names the first error."""


class SettingsChanged(TsheadroomError):
    """Somebody else changed the settings after the editor read them: its ETag is old."""


class SettingsNotWritten(TsheadroomError):
    """The settings file could not be written, so nothing was changed. The text says why."""


def parse_object(text: bytes) -> dict[str, Any]:
    """Decode the JSON object in `text`. Anything else raises SettingsInvalid."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsInvalid(f"settings must be a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise SettingsInvalid("settings must be a JSON object")
    return value


def merge(current: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return `current` with `changes` on top. The first bad field raises SettingsInvalid."""
    good = {name: _checked(name, value) for name, value in changes.items() if name not in READ_ONLY}
    return msgspec.structs.replace(current, **good)


def _checked(name: str, value: Any) -> Any:
    """The value as `Settings` holds it. Strict: "4" and 4.0 are no integers, 1 is not true."""
    field = _FIELDS.get(name)
    if field is None:
        raise SettingsInvalid(f"{name[:MAX_NAME_LENGTH]} is not a setting")
    try:
        return msgspec.convert(value, field, strict=True)
    except msgspec.ValidationError:
        (meta,) = field.__metadata__
        raise SettingsInvalid(f"{name} must be {meta.description}") from None


def encode(settings: Settings) -> bytes:
    """Return the settings as the file holds them: indented JSON with a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(settings), indent=2) + b"\n"


def read_bounded(path: Path) -> bytes:
    """Read a settings file; links are followed. Raises OSError, and FileRefused for what is none.

    It never waits: the path may lead to a FIFO or to a device.
    """
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise FileRefused(f"{path} has more than {MAX_FILE_BYTES >> 20} MiB, so it is not read")
    return data


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file's content. Raises OSError or FileRefused; the old content is still there.

    The data goes to a temporary file first, which then takes the file's name. So after a crash
    the file holds all of the old content or all of the new, never a part.
    """
    target = Path(os.path.realpath(path))  # a symlink stays a symlink
    mode = 0o644
    if target.exists():
        check_regular(path, old := target.stat())
        mode = old.st_mode & 0o777
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
    """Return the ETag of these settings, in quotes as HTTP wants it; it depends on nothing else."""
    return f'"{hashlib.sha256(encode(settings)).hexdigest()[:16]}"'


class SettingsStore:
    """The settings in force, and the file that they are kept in.

    Readers take `current`. It is immutable, and a change replaces it as a whole, so a reader never
    sees half of a change. Only one caller may change it at a time (`web/config.py` holds a lock),
    and does so in a thread, because writing waits for the disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.current = Settings()

    @property
    def etag(self) -> str:
        """The ETag of the settings in force."""
        return etag_of(self.current)

    def load(self) -> None:
        """Read the file at start. Without a usable file the defaults are in force.

        A missing file is normal; one that cannot be read or is not valid is logged as a warning.
        """
        try:
            self.current = self._read()
        except FileNotFoundError:
            log.info("no settings file yet; using the defaults path=%s", self.path)
        except (OSError, FileRefused, SettingsInvalid) as error:
            log.warning(
                "settings file unusable; using the defaults path=%s err=%s", self.path, error
            )

    def reload(self) -> bool:
        """Read the file again. Returns True if that worked.

        If the file is missing, unreadable or not valid, the settings in force stay.
        """
        try:
            self.current = self._read()
        except (OSError, FileRefused, SettingsInvalid) as error:
            log.warning(
                "settings file unusable; keeping the settings path=%s err=%s", self.path, error
            )
            return False
        log.info("settings read again path=%s etag=%s", self.path, self.etag)
        return True

    def _read(self) -> Settings:
        changes = parse_object(read_bounded(self.path))
        unknown = [name for name in changes if name not in _FIELDS and name not in READ_ONLY]
        for name in unknown:
            # A newer daemon's field, perhaps. Dropping every other setting for it would be worse.
            log.warning("unknown setting ignored path=%s name=%s", self.path, name)
            del changes[name]
        return merge(Settings(), changes)

    def update(self, body: bytes, if_match: str | None = None) -> Settings:
        """Merge a JSON object of some settings, write the file, then put the result in force.

        `if_match` is the header of that name: ETags with commas between them, or `*`. Raises
        SettingsChanged, SettingsInvalid or SettingsNotWritten; then nothing has changed.
        """
        if if_match is not None and not self._matches(if_match):
            raise SettingsChanged("the settings were changed meanwhile; read them again")
        merged = merge(self.current, parse_object(body))
        try:
            write_atomically(self.path, encode(merged))
        except (OSError, FileRefused) as error:
            reason = (isinstance(error, OSError) and error.strerror) or error
            raise SettingsNotWritten(
                f"cannot write the settings file {self.path}: {reason}"
            ) from error
        self.current = merged
        log.info("settings changed path=%s etag=%s", self.path, self.etag)
        return merged

    def _matches(self, if_match: str) -> bool:
        tags = [tag.strip() for tag in if_match.split(",")]
        return "*" in tags or self.etag in tags
