# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The file that a definition brings to this node: read, compared with its checksum, proven by its signature."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
import typing as t
import urllib.parse

from . import fetch
from .commands import Commands
from .disk import Disk, copy_file
from .platforms import this_node
from .signature import Signature

#: Seconds after which nobody is expected to go on with a file that was read in part.
STALE_SECONDS = 3 * 24 * 3600
_ENDING = ".download"
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}\Z")


class Download:
    """Read a file into a folder of its own below C(state_dir), from where it is moved once it is proven.

    A run that is killed leaves what it has read there, at most one file, and the next run goes on with it.

    Args:
        name: the program.
        options: those of the definition's kind; empty to tidy up only.
        state_dir: C(state_dir) of the definition.
        disk: how to write.
        commands: how to run the program that proves signatures.
    """

    def __init__(
        self, name: str, options: t.Mapping[str, t.Any], state_dir: str, disk: Disk, commands: Commands
    ) -> None:
        self._options = options
        self._folder = os.path.join(state_dir, name + _ENDING)
        self._disk = disk
        self._commands = commands

    @property
    def sha256(self) -> str:
        """The checksum of the file for this node, in lower case."""
        return self._source().sha256.lower()

    @property
    def size(self) -> int:
        """Its size in bytes where that is known before: of a file on this node."""
        path = fetch.local_path(self._source().urls[0])
        return os.path.getsize(path) if path is not None and os.path.isfile(path) else 0

    @property
    def file_name(self) -> str:
        """The name of the file where its URL ends with one, else nothing."""
        path = urllib.parse.urlsplit(self._source().urls[0]).path
        name = urllib.parse.unquote(path.rpartition("/")[2])
        return name if _FILE_NAME.match(name) else ""

    def _source(self) -> fetch.Source:
        return fetch.source_of(self._options, this_node())

    def _signature(self) -> t.Optional[Signature]:
        text = self._source().signature
        return Signature(text, self._options["public_key"]) if text else None

    def check(self) -> None:
        """Raise PatchError when it is known before that the file cannot be had; change nothing."""
        self._source()
        signature = self._signature()
        if signature is not None:
            signature.check()

    def to(self, path: str) -> None:
        """Put the file, proven and durable, at C(path), which must not exist.

        Raises:
            PatchError: what fetch() raises, or C(bad_signature).
            OSError: it cannot be written.
        """
        source, signature = self._source(), self._signature()
        part = os.path.join(self._folder, "part-" + source.sha256.lower()[:32])
        if not os.path.isfile(part):  # what is there is of another file
            self.sweep()
            self._disk.make_dir(self._folder, 0o700)
        fetch.fetch(source, part, self._disk)
        if signature is not None:
            signature.verify(part, self._folder, self._commands, self._disk)
        try:
            self._disk.rename(part, path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._disk.step("copy " + path)
            copy_file(part, path)
            self._disk.sync_file(path)
        self.sweep()

    def sweep(self) -> None:
        """Remove what to() left."""
        self._disk.remove_tree(self._folder)


def sweep_stale(state_dir: str, disk: Disk) -> None:
    """Remove what killed runs for other programs have read and nobody has gone on with; the node's lock is held."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(state_dir):
            if entry.name.endswith(_ENDING) and entry.is_dir(follow_symlinks=False):
                newest = max(os.lstat(path).st_mtime for path in [entry.path, *_inside(entry.path)])
                if time.time() - newest > STALE_SECONDS:
                    disk.remove_tree(entry.path)


def _inside(folder: str) -> t.List[str]:
    return [os.path.join(folder, name) for name in os.listdir(folder)]
