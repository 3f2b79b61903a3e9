# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""The journal of one transaction: what to undo, and how far it came."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import typing as t

from .disk import Disk
from .errors import PatchError

SCHEMA = 1
#: What the name of a journal ends with, behind that of the program.
ENDING = ".journal.json"

Entry = t.Dict[str, t.Any]

_KEYS = {"kind", "name", "phase", "before", "target", "undo"}


class Journal:
    """One JSON file, replaced as a whole before each phase, gone when the transaction has ended.

    An entry holds C(schema), C(kind), C(name), C(phase), C(before) (version or null), C(target) (version) and C(undo)
    (what the kind needs to put the node back).
    """

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self.path = path

    def load(self) -> t.Optional[Entry]:
        """Return the entry of an interrupted transaction, or None.

        Raises:
            PatchError: C(journal_invalid).
        """
        try:
            with open(self.path, encoding="utf-8") as stream:
                entry = json.load(stream)
        except FileNotFoundError:
            return None
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or entry.get("schema") != SCHEMA or not entry.keys() >= _KEYS:
            message = "cannot read {0} of an interrupted transaction; check dest by hand, then remove it".format(
                self.path
            )
            raise PatchError("journal_invalid", message)
        return entry

    def others(self) -> t.Iterator[Entry]:
        """Give the entries of interrupted transactions of other programs that can be read."""
        folder = os.path.dirname(self.path)
        for path in sorted(glob.glob(os.path.join(glob.escape(folder), "*" + ENDING))):
            with contextlib.suppress(OSError, PatchError):
                entry = Journal(self._disk, path).load() if path != self.path else None
                if entry is not None:
                    yield entry

    def write(self, entry: Entry) -> None:
        """Record the phase that comes next."""
        self._disk.write_json(self.path, entry)

    def remove(self) -> None:
        """End the transaction."""
        self._disk.remove(self.path)

    def sweep(self) -> None:
        """Remove what a crash during write() left."""
        if os.path.lexists(self.path + ".tmp"):
            self._disk.remove(self.path + ".tmp")
