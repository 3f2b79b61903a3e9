# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The package_file kind of patch: one .deb or .rpm, and the package of the old version kept aside."""

from __future__ import annotations

import os
import typing as t

from .._core.schemes import SCHEMES
from . import fetch
from .disk import Disk, copy_file, existing_ancestor, missing_dirs
from .download import Download
from .errors import PatchError
from .package_tools import PackageTool
from .transaction import SWITCH, Kind, Undo

Step = t.Tuple[str, t.Callable[[], None]]


class PackageFile(Kind):
    """Install a package file over the installed version of the same package.

    The old version is kept as a package file: made again from what is installed (Debian), or the file that an earlier
    patch installed. What was installed is kept below C(state_dir) for the next time.

    Args:
        name: the program.
        definition: the module's options.
        disk: how to write.
        tool: the package database.
        download: the package file, where it is not the kind itself that gets it.
    """

    kind = "package_file"

    def __init__(
        self,
        name: str,
        definition: t.Mapping[str, t.Any],
        disk: Disk,
        tool: PackageTool,
        download: t.Optional[Download] = None,
    ) -> None:
        self._options = definition[self.kind] or {}
        self._package = self._options.get("package") or name
        self._disk = disk
        self._tool = tool
        self.family = tool.family
        self._compare = SCHEMES[tool.family].compare
        self._source = download
        self._folder = os.path.join(definition["state_dir"], name + ".packages")
        self._files = set()  # type: t.Set[str]

    @property
    def sought(self) -> str:
        """See Kind."""
        return "package " + str(self._package)

    def probe(self) -> t.Optional[str]:
        """Return the version that the database says is installed."""
        return self._tool.version(self._package)

    def broken(self) -> bool:
        """See Kind."""
        return False

    def check(self) -> None:
        """See Kind."""
        self.check_source()
        if os.geteuid() != 0:
            raise PatchError("not_writable", "packages need root; use become")
        files = [path for path in self._tool.files(self._package) if not os.path.isdir(path)]
        for path in files:
            if os.path.lexists(path):
                self._disk.require_replaceable(path)
        folders = {os.path.dirname(path) for path in files} | {self._folder}
        for folder in sorted({existing_ancestor(folder) for folder in folders}):
            self._disk.require(folder, fetch.RESERVE)
        if self._tool.version(self._package) is not None and self._way_back(None) is None:
            message = "the package of the installed version of {0} is not in {1}, and {2} cannot make it again"
            raise PatchError("no_way_back", message.format(self._package, self._folder, self._tool.family))

    def check_source(self) -> None:
        """Raise PatchError when the package cannot be had here; change nothing."""
        if self._source is not None:
            self._source.check()

    def fetch_to(self, path: str) -> None:
        """Put the package file of the new version, checked, at C(path)."""
        if self._source is not None:
            self._source.to(path)

    def plan(self) -> Undo:
        """See Kind."""
        files = self._tool.files(self._package)
        real = {folder: os.path.realpath(folder) for folder in {os.path.dirname(path) for path in files}}
        # A process uses /usr/lib/x.so though the package says /lib/x.so.
        self._files = files | {os.path.join(real[os.path.dirname(path)], os.path.basename(path)) for path in files}
        return {
            "package": self._package,
            "before": self._tool.version(self._package),
            "folder": self._folder,
            "new": os.path.join(self._folder, "new" + self._tool.suffix),
            "old": os.path.join(self._folder, "old" + self._tool.suffix),
        }

    def _way_back(self, undo: t.Optional[Undo]) -> t.Optional[str]:
        """Return the file to put the old version back from; without C(undo) only tell whether there will be one."""
        kept = os.path.join(self._folder, "installed" + self._tool.suffix)
        version = self._tool.version(self._package)
        if os.path.exists(kept) and self._compare(self._tool.about(kept).version, version or "0") == 0:
            return kept
        if self._tool.family != "dpkg":
            return None
        return kept if undo is None else self._tool.keep_aside(undo["package"], undo["folder"], self._disk)

    def steps(self, undo: Undo) -> t.List[Step]:
        """See Kind."""

        def download() -> None:
            self._sweep(undo)
            os.makedirs(undo["folder"], 0o700, exist_ok=True)
            self.fetch_to(undo["new"])

        def stage() -> None:
            about = self._tool.about(undo["new"])
            if about.name != undo["package"] or self._compare(about.version, self._options["version"]) != 0:
                message = "the file is {0} {1}, not {2} {3}; check the definition".format(
                    *about, undo["package"], self._options["version"]
                )
                raise PatchError("wrong_package", message)
            self._tool.trial(undo["new"])
            strays = self._tool.strays(undo["package"], undo["new"])
            undo["strays"] = sorted({path for stray in strays for path in missing_dirs(stray)})
            way_back = self._way_back(undo) if undo["before"] is not None else None
            if way_back is not None:
                self._disk.rename(way_back, undo["old"])
                self._disk.sync_file(undo["old"])
                self._keep_changed(undo)

        def lock() -> None:
            self._tool.lock(self._options["lock_timeout"])

        return [("fetch", download), ("stage", stage), ("package_lock", lock)]

    def _keep_changed(self, undo: Undo) -> None:
        """Copy aside what somebody has changed since the old version was installed."""
        folder, undo["changed"] = os.path.join(undo["folder"], "changed"), self._tool.changed(undo["package"])
        self._disk.make_dir(folder, 0o700)
        for number, path in enumerate(undo["changed"]):
            if os.path.lexists(path):
                self._copy(path, os.path.join(folder, str(number)))
        self._disk.sync_dir(folder)

    def _copy(self, source: str, target: str) -> None:
        self._disk.step("copy " + source)
        copy_file(source, target)
        if not os.path.islink(target):
            self._disk.sync_file(target)

    def _put_back_changed(self, undo: Undo) -> None:
        for number, path in enumerate(undo.get("changed", [])):
            saved, scratch = os.path.join(undo["folder"], "changed", str(number)), path + ".patchwave"
            self._disk.remove(scratch)
            if os.path.lexists(saved):
                self._copy(saved, scratch)
                self._disk.rename(scratch, path)
            else:
                self._disk.remove(path)

    def switch(self, undo: Undo) -> None:
        """See Kind."""
        self._disk.step("install " + undo["new"])
        self._tool.install(undo["new"])
        self._disk.step("installed " + undo["new"])

    def is_old(self, undo: Undo, path: str, deleted: bool) -> bool:
        """See Kind."""
        return deleted and path in self._files

    def undo(self, undo: Undo, phase: str) -> None:
        """See Kind."""
        if phase == SWITCH:
            self._tool.lock(self._options.get("lock_timeout", 300))
            packages = [path for path in (undo["new"], undo["old"]) if os.path.exists(path)]
            self._remove_all(self._tool.half_unpacked(undo["package"], packages))
            if undo["before"] is None:
                self._tool.remove(undo["package"])
            elif os.path.exists(undo["old"]):  # else all this was done
                self._disk.step("install " + undo["old"])
                self._tool.install(undo["old"])
                self._disk.step("installed " + undo["old"])
                self._put_back_changed(undo)
            self._remove_all(undo["strays"])
        self._tool.unlock()
        if os.path.exists(undo["old"]):
            self._disk.rename(undo["old"], os.path.join(undo["folder"], "installed" + self._tool.suffix))
        self._sweep(undo)

    def _remove_all(self, paths: t.Iterable[str]) -> None:
        """Remove files, and folders with nothing else in them."""
        for path in sorted(paths, reverse=True):  # what is in a folder before it
            if os.path.isdir(path) and not os.path.islink(path):
                self._disk.remove_empty(path)
            else:
                self._disk.remove(path)

    def finish(self, undo: Undo) -> None:
        """See Kind."""
        self._tool.unlock()
        if os.path.exists(undo["new"]):
            self._disk.rename(undo["new"], os.path.join(undo["folder"], "installed" + self._tool.suffix))
        self._sweep(undo)

    def _sweep(self, undo: Undo) -> None:
        for name in ("new", "old"):
            self._disk.remove(undo[name])
        for name in ("kept", "download", "changed"):
            self._disk.remove_tree(os.path.join(undo["folder"], name))
        self._disk.remove(os.path.join(undo["folder"], "kept" + self._tool.suffix))
        self._disk.remove_empty(undo["folder"])
