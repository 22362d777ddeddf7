"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO

_OPEN_FILES = "/proc/self/fd"
"""Where Linux lists the open files of a process."""


_LEFTOVER = re.compile(r"\.(.+)\.[0-9a-f]{16}\.part.*")
"""Names of hidden files."""

_MOST_NAME_BYTES = 200
"""Bytes of a file's name in that of its hidden file: a file system takes 255, of which what is added needs some."""


class PendingFile:
    """A new file under way to its name.

    Linux keeps it without any name until it is ready, so that nothing remains of it even after SIGKILL. Elsewhere,
    and on file systems that cannot do that, it is a hidden file beside the target; ``remove_leftovers`` finds it.

    Attributes
    ----------
    descriptor : int or None
        The open file, if it has no name.
    path : Path or None
        The hidden file, if it has one.
    """

    def __init__(self, target: Path, has_name: bool = False) -> None:
        """Begin; raises OSError if the target's folder cannot be written. has_name: make a hidden file anyway."""
        self.target = target
        self.descriptor: int | None = None
        self.path: Path | None = None
        flag = getattr(os, "O_TMPFILE", None)
        if flag is not None and not has_name and os.path.isdir(_OPEN_FILES):
            with suppress(OSError):  # the file system cannot; or nothing can be written, as the next attempt shows
                self.descriptor = os.open(target.parent, flag | os.O_RDWR, 0o666)
        if self.descriptor is None or len(os.fsencode(target.name)) > 255:
            self.discard()
            self.path = hidden(target)
            _make(self.path)

    def open(self) -> BinaryIO:
        """Open the file again, to read and to change it."""
        if self.path is not None:
            return self.path.open("rb+")
        assert self.descriptor is not None
        return os.fdopen(os.dup(self.descriptor), "rb+")

    def place(self, replace: bool, check: Callable[[BinaryIO], object] | None = None) -> None:
        """Give the file its name. It must have been flushed and, if it has a name, closed.

        The content is on the disk before the name is, so that a power cut leaves the whole file or none; a disk that
        turns out to be full or broken is noticed before, too.

        Parameters
        ----------
        replace : bool
            Whether a file of this name may go.
        check : callable or None
            Gets the file, on the disk and opened anew; what it raises goes on to the caller, and there is no name.

        Raises FileExistsError if there is a file and it is not to be replaced; OSError if the system refuses.
        """
        if not replace and os.path.lexists(self.target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.target))
        self._keep_rights()
        if self.descriptor is None:
            assert self.path is not None
            sync(self.path)
            self._check(check)
            if replace or not _linked(self.path, self.target):
                os.replace(self.path, self.target)
        else:
            os.fsync(self.descriptor)
            self._check(check)
            if not replace:
                self._link(self.target)  # refuses, should a file have appeared meanwhile
            else:
                between = hidden(self.target)
                self._link(between)
                os.replace(between, self.target)
        sync_folder(self.target.parent)

    def _check(self, check: Callable[[BinaryIO], object] | None) -> None:
        if check is not None:
            with self.open() as file:
                file.seek(0)
                check(file)

    def keep_time(self, source: Path) -> None:
        """Give the file the modification time of another; what is written later changes it. Raises OSError."""
        moment = os.stat(source)
        os.utime(self._file, ns=(moment.st_atime_ns, moment.st_mtime_ns))

    @property
    def _file(self) -> int | Path:
        """What the system's calls take for this file."""
        file = self.descriptor if self.path is None else self.path
        assert file is not None
        return file

    def _keep_rights(self) -> None:
        """Let those read the new file who could read the one that it replaces, and nobody else.

        Owner and group stay as far as this user may give files away, and so do extended attributes, access lists among
        them; not those that the system gives by its own rules.
        """
        try:
            before = os.lstat(self.target)
        except OSError:  # there is none
            return
        if not stat.S_ISREG(before.st_mode):
            return

        # The owner first, since a change of it may change the mode, and the mode before lists that refine it
        if hasattr(os, "chown"):
            for owner, group in ((-1, before.st_gid), (before.st_uid, -1)):
                with suppress(OSError):  # only root may give files away
                    os.chown(self._file, owner, group)
        with suppress(OSError):  # the file system knows no modes
            os.chmod(self._file, stat.S_IMODE(before.st_mode) & 0o777)
        if hasattr(os, "listxattr"):
            with suppress(OSError):  # the file system knows none
                for name in os.listxattr(self.target):
                    if not name.startswith("security."):
                        with suppress(OSError):
                            os.setxattr(self._file, name, os.getxattr(self.target, name))

    def _link(self, path: Path) -> None:
        # with a folder's descriptor given, Python follows the link that stands for the open file
        assert self.descriptor is not None
        os.link(f"{_OPEN_FILES}/{self.descriptor}", path, src_dir_fd=self.descriptor)

    def discard(self) -> None:
        """Close the file; remove it if it did not get its name. Doing it twice is harmless."""
        if self.descriptor is not None:
            with suppress(OSError):
                os.close(self.descriptor)
            self.descriptor = None
        if self.path is not None:
            with suppress(OSError):  # already in its place
                self.path.unlink()


def _make(path: Path) -> None:
    """Make a new, empty file; refuse whatever lies there, links to other places too. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    os.close(os.open(path, flags, 0o666))


def _linked(path: Path, name: Path) -> bool:
    """Give a file a second name; return whether the file system can. Raises FileExistsError if the name is taken."""
    try:
        os.link(path, name)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def hidden(target: Path) -> Path:
    """Return a new name beside a file for what is on its way there, short enough for any file system."""
    return target.with_name(f".{_shortened(target.name)}.{secrets.token_hex(8)}.part")


def _shortened(name: str) -> str:
    """Return a file's name, a long one as its beginning and a digest: 250 bytes leave no room for what is added."""
    encoded = os.fsencode(name)
    if len(encoded) <= _MOST_NAME_BYTES:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    kept = name
    while len(os.fsencode(kept)) > _MOST_NAME_BYTES - len(digest) - 1:  # whole characters only
        kept = kept[:-1]
    return f"{kept}~{digest}"


def sync(path: Path) -> None:
    """Bring a file's content to the disk. Raises OSError if it does not get there."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder to the disk, where the system can; what has its name does not fail any more."""
    with suppress(OSError):  # Windows opens no folders, some file systems cannot
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: Path, write: Callable[[Path], object], replace: bool = True) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place.

    Whatever interrupts it, even SIGKILL or a power failure, ``path`` is the old file or the new one, which keeps the
    rights of the old. Errors remove the temporary file and go on to the caller: OSError if the folder cannot be
    written, FileExistsError if there is a file and ``replace`` is False.
    """
    pending = PendingFile(path, has_name=True)
    try:
        assert pending.path is not None
        write(pending.path)
        pending.place(replace)
    finally:
        pending.discard()


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed writers of ``path`` left; nobody may be writing it now."""
    for temporary in path.parent.glob(f".{escape(_shortened(path.name))}.*part*"):
        temporary.unlink(missing_ok=True)


def remove_all_leftovers(paths: Iterable[Path]) -> None:
    """Do the same for ``PendingFile`` and many files at once, looking into each folder once."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(_shortened(path.name))
    for folder, wanted in names.items():
        with suppress(OSError):  # no such folder yet
            for found in os.listdir(folder):
                match = _LEFTOVER.fullmatch(found)
                if match and match[1] in wanted:
                    (folder / found).unlink(missing_ok=True)
