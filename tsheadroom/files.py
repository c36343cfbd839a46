"""Opens files and directories that somebody else may have prepared.

A name in the state directory may lead elsewhere: a symbolic link to another file, a FIFO on which
an open waits for ever, a device. So the kind and the owner are checked on what was opened, and
nothing here ever waits.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from tsheadroom.errors import TsheadroomError

log = logging.getLogger(__name__)

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class FileRefused(TsheadroomError):
    """What stands at a path is not of the kind, owner or size that is used; the text says why."""


def open_directory(path: Path) -> int:
    """Open a directory for use as `dir_fd`. The path may lead through links; its target is checked.

    Others must not be able to write there, or they could put files of theirs in the place of ours.
    Raises FileRefused and OSError.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check_owner(path, info := os.fstat(directory))
        others = _writable_by_others(info)
        if others and info.st_uid == os.geteuid():
            os.fchmod(directory, stat.S_IMODE(info.st_mode) & ~0o022)
            log.warning("other users could write to a directory; now they cannot path=%s", path)
        elif others:
            raise FileRefused(
                f"{path} can be written by other users (mode {stat.S_IMODE(info.st_mode):o});"
                " name a directory inside of it, which is then made for this user only"
            )
    except BaseException:
        os.close(directory)
        raise
    return directory


def open_regular(name: str | Path, flags: int, *, directory: int | None = None) -> int:
    """Open a regular file that is ours or root's. New ones are for their owner only.

    With `directory` (of open_directory) the name is one inside of it, and must not be a link.
    Without, links are followed. Raises FileRefused and OSError.
    """
    # Before it is opened as well: to open a device may do something.
    regular(name, directory)
    # And if a FIFO or a link has come since, neither is it waited for nor is the link followed.
    flags |= os.O_NONBLOCK | os.O_CLOEXEC | (os.O_NOFOLLOW if directory is not None else 0)
    opened = os.open(name, flags, 0o600, dir_fd=directory)
    try:
        check_regular(name, os.fstat(opened))
    except BaseException:
        os.close(opened)
        raise
    return opened


def regular(name: str | Path, directory: int | None) -> os.stat_result | None:
    """What is known of a regular file, as in open_regular but not opened; None if there is none.

    Raises FileRefused if something else has this name, and OSError.
    """
    try:
        info = os.stat(name, dir_fd=directory, follow_symlinks=directory is None)
    except FileNotFoundError:
        return None
    check_regular(name, info)
    return info


def check_regular(name: str | Path, info: os.stat_result) -> None:
    """Raise FileRefused if this is not a regular file of ours or of root's."""
    if not stat.S_ISREG(info.st_mode):
        kind = _KINDS.get(stat.S_IFMT(info.st_mode), "no regular file")
        raise FileRefused(f"{name} is {kind}, not a regular file; move it away")
    _check_owner(name, info)


def _check_owner(name: str | Path, info: os.stat_result) -> None:
    if info.st_uid not in (os.geteuid(), 0):
        raise FileRefused(
            f"{name} belongs to user {info.st_uid}, and this process runs as {os.geteuid()};"
            " chown it, or name another one"
        )


def _writable_by_others(info: os.stat_result) -> bool:
    if info.st_mode & stat.S_IWOTH:
        return True
    # Kubernetes gives a volume to a pod so: root's, and writable by a group of the pod's own.
    ours = info.st_uid != os.geteuid() and info.st_gid in (os.getegid(), *os.getgroups())
    return bool(info.st_mode & stat.S_IWGRP) and not ours
