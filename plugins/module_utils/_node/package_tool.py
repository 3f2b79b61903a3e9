# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""What one package database is asked and told, whatever its family."""

from __future__ import annotations

import abc
import fcntl
import os
import time
import typing as t

from .commands import Answer, Commands
from .disk import Disk
from .errors import PatchError

_QUERY_SECONDS = 60


class About(t.NamedTuple):
    """What a package says it is."""

    name: str
    version: str


class PackageTool(abc.ABC):
    """Ask and change one package database.

    Args:
        commands: how to run its programs.
        timeout: seconds for one change.
    """

    #: Name of the version scheme, and of the family.
    family = ""
    #: Ending of its package files.
    suffix = ""
    #: Files whose POSIX locks keep others out, the outermost first.
    locks = ()  # type: t.Tuple[str, ...]
    #: Files whose locks the package manager takes itself, so that they can only be waited for.
    inner_locks = ()  # type: t.Tuple[str, ...]

    def __init__(self, commands: Commands, timeout: float) -> None:
        self.commands = commands
        self._timeout = timeout
        self._held = []  # type: t.List[int]

    @abc.abstractmethod
    def version(self, name: str) -> t.Optional[str]:
        """Return the version of an installed package, or None."""

    @abc.abstractmethod
    def unfinished(self, name: str) -> str:
        """Return the state of a package that was not installed to the end, or nothing."""

    @abc.abstractmethod
    def held(self, name: str, version: str) -> str:
        """Return what keeps a package from C(version) by an administrator's wish, or nothing."""

    @abc.abstractmethod
    def state(self, name: str) -> str:
        """Return all that the database says of a package, to be compared; who wants it to stay is not part of that."""

    @abc.abstractmethod
    def record(self, name: str) -> t.Dict[str, str]:
        """Return, as JSON data, what installing another version changes in the database for good; see settle()."""

    @abc.abstractmethod
    def settle(self, name: str, record: t.Mapping[str, str]) -> None:
        """Make the database say again what record() returned; may be repeated."""

    @abc.abstractmethod
    def about(self, path: str) -> About:
        """Read a package file; raise PatchError C(wrong_package) when it is none."""

    @abc.abstractmethod
    def is_installed(self, path: str) -> bool:
        """Tell whether a package file is the one that is installed."""

    @abc.abstractmethod
    def install(self, path: str) -> None:
        """Install, upgrade, repair or downgrade to a package file."""

    @abc.abstractmethod
    def put_back(self, path: str) -> None:
        """Install the old version again, also where scripts of the version to be removed fail."""

    @abc.abstractmethod
    def remove(self, name: str, configuration: bool = True) -> None:
        """Remove a package, perhaps with its configuration; it may be absent."""

    @abc.abstractmethod
    def files(self, name: str) -> t.Set[str]:
        """Return the paths that a package put on the node."""

    @abc.abstractmethod
    def configuration(self, name: str) -> t.Set[str]:
        """Return the configuration files of a package, also those that outlived it."""

    @abc.abstractmethod
    def sizes(self, path: str) -> t.Dict[str, int]:
        """Return the files that a package file would put on the node, with the bytes of each."""

    @abc.abstractmethod
    def strays(self, name: str, path: str) -> t.Set[str]:
        """Return what installing C(path), or a part of that, may leave even when the old version is put back.

        Of that, only what is not there before is left over. Folders above it go without saying.
        """

    @abc.abstractmethod
    def half_unpacked(self, name: str, packages: t.Sequence[str]) -> t.Set[str]:
        """Return what a killed installation of one of the files C(packages) has left beside the right places."""

    @abc.abstractmethod
    def changed(self, name: str, path: str, scratch: str, disk: Disk) -> t.Set[str]:
        """Return the files on the node whose content installing C(path) does not bring back as it is.

        Args:
            name: the package.
            path: the package file of the installed version.
            scratch: a folder to unpack to, which is removed again.
            disk: how to write.
        """

    @abc.abstractmethod
    def keep_aside(self, name: str, folder: str, disk: Disk) -> t.Optional[str]:
        """Make a package file of the installed version in C(folder); return its path, or None where that cannot be."""

    @abc.abstractmethod
    def trial(self, path: str) -> None:
        """Raise PatchError C(install_failed) when it is known before that a package file cannot be installed."""

    @abc.abstractmethod
    def others(self, path: str) -> t.List[str]:
        """Return which other packages installing a package file would remove or take files from."""

    def lock(self, timeout: float) -> None:
        """Hold the database's lock in this process until unlock().

        Raises:
            PatchError: C(package_locked) when the time is up.
        """
        if self._held:  # to open a file again and close it would let go of its lock
            return
        end = time.monotonic() + timeout
        try:
            for path in (*self.locks, *self.inner_locks):
                handle = self.take(path, end - time.monotonic(), timeout)
                if handle is not None and path in self.locks:
                    self._held.append(handle)
                elif handle is not None:
                    os.close(handle)
        except PatchError:
            self.unlock()
            raise

    def take(self, path: str, left: float, timeout: float) -> t.Optional[int]:
        """Wait C(left) of C(timeout) seconds for the POSIX lock of a file, whose folder may be missing."""
        if not os.path.isdir(os.path.dirname(path)):
            return None
        deadline = time.monotonic() + left
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        while not _locked(handle):
            if time.monotonic() >= deadline:
                os.close(handle)
                message = "another program has held {0} for {1} s; run again when it has ended"
                raise PatchError("package_locked", message.format(path, timeout))
            time.sleep(0.2)
        return handle

    def unlock(self) -> None:
        """Let go of what lock() holds."""
        while self._held:
            os.close(self._held.pop())

    def run(self, argv: t.Sequence[str], environ: t.Optional[t.Mapping[str, str]] = None) -> Answer:
        """Run a program that changes the node, and keep all that it prints."""
        return self.commands.run(argv, self._timeout, environ, limit=None)

    def change(self, argv: t.Sequence[str], environ: t.Optional[t.Mapping[str, str]] = None) -> None:
        """Run a program that changes the node; raise PatchError C(install_failed)."""
        self.judge(argv, self.run(argv, environ))

    def judge(self, argv: t.Sequence[str], answer: Answer) -> None:
        """Raise PatchError unless a program that changes the node has ended well."""
        if answer.rc != 0 or answer.timed_out:
            reason = "package_locked" if "locked by another process" in answer.text else "install_failed"
            raise PatchError(reason, "{0} {1}".format(argv[0], answer.excuse(argv[0] + ": error", "error: ")))

    def ask(self, *argv: str) -> Answer:
        """Run a program that only reads, and keep all that it prints: a list of files may be long."""
        return self.commands.run(argv, _QUERY_SECONDS, limit=None)


def _locked(handle: int) -> bool:
    """Take the POSIX lock of an open file unless another process has it."""
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
