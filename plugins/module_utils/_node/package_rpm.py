# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""RPM's package database, of Red Hat's and SUSE's families."""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from .._core.schemes import compare_rpm
from . import package_holds
from .commands import Answer
from .disk import Disk
from .errors import PatchError
from .package_tool import About, PackageTool

#: A line of rpm -V: what differs, perhaps a letter, and the path; or that it is missing, and perhaps why.
_VERIFIED = re.compile(r"[A-Z0-9.?]{8,9} +(?:[a-z] +)?(/.*)\Z|missing +(?:[a-z] +)?(/.*?)(?: \([^()]*\))?\Z")

#: What rpm adds to the name of a file until all are unpacked: the second in which it began.
_UNPACKED = re.compile(r";[0-9a-f]{8}\Z")

#: A script that failed; for most of them rpm only warns. Those of the version that goes have names in -un.
_SCRIPT = re.compile(r"(?:warning|error): (?:lua script failed: \[string \")?%(?!\w*un\()\w+\((.+?)\)")

#: How lines begin in which rpm says something about itself.
_SAID = ("warning: ", "error: ", "rpm: ")
#: What rpm may leave beside a configuration file.
_COPIES = (".rpmnew", ".rpmsave", ".rpmorig")
_GHOST = 1 << 6
_LESS, _GREATER, _EQUAL = 2, 4, 8


class Rpm(PackageTool):
    """RPM's database, of Red Hat's and SUSE's families."""

    family = "rpm"
    suffix = ".rpm"
    _built = "%{NEVRA} %{BUILDTIME} %{BUILDHOST} %{SHA1HEADER}"
    _format = "%{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n"

    def version(self, name: str) -> t.Optional[str]:
        """See PackageTool. Of several that are installed together the last one counts."""
        answer = self.ask("rpm", "-q", "--qf", self._format, name)
        lines = [line.split() for line in answer.text.strip().splitlines()]
        found_ones = [words[1] for words in lines if len(words) == 2 and words[0] == name]
        return found_ones[-1] if answer.rc == 0 and found_ones else None

    def unfinished(self, name: str) -> str:
        """See PackageTool. RPM knows no such states."""
        return ""

    def held(self, name: str, version: str) -> str:
        """See PackageTool."""
        return package_holds.held(name, version)

    def state(self, name: str) -> str:
        """See PackageTool."""
        return "\n".join(sorted(self._lines(self._built + " %{INSTALLTIME}", name)))

    def _lines(self, form: str, *query: str) -> t.List[str]:
        """Return a line for each package, or each file of packages, where there is one."""
        answer = self.ask("rpm", "-q", "--nosignature", "--qf", form + "\\n", *query)
        lines = answer.text.strip().split("\n") if answer.rc == 0 else []
        return [line for line in lines if line and not line.startswith(_SAID)]

    def record(self, name: str) -> t.Dict[str, str]:
        """See PackageTool."""
        return {}

    def settle(self, name: str, record: t.Mapping[str, str]) -> None:
        """See PackageTool."""

    def is_installed(self, path: str) -> bool:
        """See PackageTool."""
        return self._lines(self._built, "-p", path) == self._lines(self._built, self.about(path).name)[-1:]

    def about(self, path: str) -> About:
        """See PackageTool."""
        answer = self.ask("rpm", "-q", "--nosignature", "--qf", self._format, "-p", path)
        words = answer.text.split()
        if answer.rc != 0 or len(words) < 2:
            raise PatchError("wrong_package", "the file is no RPM package: {0}".format(answer.excuse()))
        return About(*words[:2])

    def install(self, path: str) -> None:
        """See PackageTool."""
        answer = self._install(path)
        self.judge(["rpm"], answer)
        name = self.about(path).name + "-"
        for line in answer.text.split("\n"):
            match = _SCRIPT.match(line)
            if match and match.group(1).startswith(name):
                raise PatchError("install_failed", "rpm: " + line[:160])

    def _install(self, path: str, *more: str) -> Answer:
        return self.run(["rpm", "-U", "--oldpackage", "--replacepkgs", "--nosignature", *more, path])

    def put_back(self, path: str) -> None:
        """See PackageTool.

        What the old version lacked of other packages does not matter: it was there without. And a script of the version
        to be removed that fails leaves both in the database.
        """
        answer = self._install(path, "--nodeps")
        if answer.rc != 0 and re.search(r"script(let)? failed", answer.text):
            answer = self._install(path, "--nodeps", "--noscripts")
        self.judge(["rpm"], answer)

    def remove(self, name: str, configuration: bool = True) -> None:
        """See PackageTool."""
        if self.version(name) is not None:
            answer = self.run(["rpm", "-e", name])
            self.judge(["rpm"], self.run(["rpm", "-e", "--noscripts", name]) if answer.rc else answer)

    def files(self, name: str) -> t.Set[str]:
        """See PackageTool."""
        return self._paths("-ql", name)

    def _paths(self, *query: str) -> t.Set[str]:
        return {line for line in self.ask("rpm", *query).text.splitlines() if line.startswith("/")}

    def strays(self, name: str, path: str) -> t.Set[str]:
        """See PackageTool. Besides what the new version has, there are copies beside configuration files."""
        kept = self.configuration(name)
        return {line + ending for line in kept for ending in _COPIES} | self._packed(path)

    def configuration(self, name: str) -> t.Set[str]:
        """See PackageTool."""
        return self._paths("-qc", name)

    def _packed(self, path: str) -> t.Set[str]:
        return self._paths("-qlp", "--nosignature", path)

    def half_unpacked(self, name: str, packages: t.Sequence[str]) -> t.Set[str]:
        """See PackageTool. rpm never removes them, and stumbles over those of the same second."""
        places = self.files(name).union(*map(self._packed, packages))
        left = set()  # type: t.Set[str]
        for folder in {os.path.dirname(place) for place in places}:
            with contextlib.suppress(OSError):
                left.update(os.path.join(folder, name) for name in os.listdir(folder) if _UNPACKED.search(name))
        return {path for path in left if _UNPACKED.sub("", path) in places}

    def sizes(self, path: str) -> t.Dict[str, int]:
        """See PackageTool. Names of one file are one file."""
        sizes, seen = {}, set()  # type: t.Dict[str, int], t.Set[t.Tuple[str, str]]
        form = "[%{FILEDEVICES} %{FILEINODES} %{FILEFLAGS} %{LONGFILESIZES} %{FILENAMES}\\n]"
        for line in self.ask("rpm", "-qp", "--nosignature", "--qf", form, path).text.split("\n"):
            words = line.split(" ", 4)
            if len(words) == 5 and words[4].startswith("/") and not int(words[2]) & _GHOST:
                sizes[words[4]] = 0 if (words[0], words[1]) in seen else int(words[3])
                seen.add((words[0], words[1]))
        return sizes

    def changed(self, name: str, path: str, scratch: str, disk: Disk) -> t.Set[str]:
        """See PackageTool."""
        answer = self.run(["rpm", "-V", "--nodeps", "--noscripts", name])
        found_ones = (_VERIFIED.match(line) for line in answer.text.split("\n"))
        changed = {match.group(1) or match.group(2) for match in found_ones if match} | self.configuration(name)
        return {path for path in changed if not os.path.isdir(path)}

    def trial(self, path: str) -> None:
        """See PackageTool."""
        self.change(["rpm", "-U", "--test", "--oldpackage", "--replacepkgs", "--nosignature", path])

    def others(self, path: str) -> t.List[str]:
        """See PackageTool. They are those that it Obsoletes, and other versions of it beside the last one."""
        name, dummy = self.about(path)
        form = "%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE} %{ARCH}"
        others = ["{0}-{1}".format(name, version) for version in self._lines(form, name)]
        last = others.pop().rpartition(" ")[2] if others else ""
        others = [other for other in others if other.endswith(" " + last)]
        obsoletes = "[%{OBSOLETENAME} %{OBSOLETEFLAGS} %{OBSOLETEVERSION}\\n]"
        for line in self.ask("rpm", "-qp", "--nosignature", "--qf", obsoletes, path).text.split("\n"):
            words = line.split()
            if len(words) > 1 and words[1].isdigit() and words[0] != name:
                for version in self._lines(form, words[0]):
                    if _matches(version.partition(" ")[0], int(words[1]), "".join(words[2:])):
                        others.append("{0}-{1}".format(words[0], version))
        return sorted(other.replace(" ", ".") for other in others)

    def keep_aside(self, name: str, folder: str, disk: Disk) -> t.Optional[str]:
        """See PackageTool. RPM cannot make a package of what is installed."""
        return None

    def lock(self, timeout: float) -> None:
        """See PackageTool. The lock is only waited for: rpm takes it itself."""
        base = self.ask("rpm", "--eval", "%{_dbpath}").text.strip()
        self.inner_locks = (os.path.join(base, ".rpm.lock"),) if base.startswith("/") else ()
        super().lock(timeout)


def _matches(version: str, flags: int, limit: str) -> bool:
    """Tell whether a version is one that a relation of another package means."""
    if not limit:
        return True
    try:
        order = compare_rpm(version, limit)
    except ValueError:
        return True
    return bool(flags & (_LESS if order < 0 else _GREATER if order > 0 else _EQUAL))
