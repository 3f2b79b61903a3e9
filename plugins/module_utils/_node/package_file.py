# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The package_file kind of patch: one .deb or .rpm, and the package of the old version kept aside."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import typing as t

from .._core.schemes import SCHEMES
from . import fetch
from .disk import Disk, existing_ancestor, missing_dirs
from .download import Download
from .errors import PatchError
from .package_tool import PackageTool
from .repository import Repository
from .saved_files import Entry, SavedFiles
from .transaction import SWITCH, Kind, Undo

Step = t.Tuple[str, t.Callable[[], None]]


class PackageFile(Kind):
    """Install a package file over the installed version of the same package.

    The old version is kept as a package file: the one that an earlier patch installed, one made again from what is
    installed (Debian), or one from the node's caches and repositories (RPM). What was installed is kept below
    C(state_dir) for the next time. What the package managers do not bring back, such as changed files, is kept beside.

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
        self._began = False

    @property
    def sought(self) -> str:
        """See Kind."""
        return "package " + str(self._package)

    def probe(self) -> t.Optional[str]:
        """Return the version that the database says is installed."""
        return self._tool.version(self._package)

    def broken(self) -> bool:
        """See Kind."""
        return bool(self._tool.unfinished(self._package))

    def unfinished(self) -> str:
        """See Kind."""
        return self._tool.unfinished(self._package)

    def check(self) -> None:
        """See Kind."""
        self.check_source()
        if os.geteuid() != 0:
            raise PatchError("not_writable", "packages need root; use become")
        holder = "" if self._options["ignore_hold"] else self._tool.held(self._package, self._options["version"])
        if holder:
            message = "{0} is held on this node ({1}); take that away, or set ignore_hold"
            raise PatchError("held", message.format(self._package, holder))
        files = [path for path in self._tool.files(self._package) if not os.path.isdir(path)]
        for path in files:
            if os.path.lexists(path):
                self._disk.require_replaceable(path)
        folders = {os.path.dirname(path) for path in files} | {self._folder}
        for folder in sorted({existing_ancestor(folder) for folder in folders}):
            self._disk.require(folder, fetch.RESERVE)

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
            "kept": self._kept() is not None,
            "files": os.path.join(self._folder, "files.json"),
            "secret": secrets.token_hex(16),
        }

    def _kept(self) -> t.Optional[str]:
        """Return the package file of what is installed, if an earlier patch has left it."""
        kept = os.path.join(self._folder, "installed" + self._tool.suffix)
        return kept if os.path.exists(kept) and self._tool.is_installed(kept) else None

    def _way_back(self, undo: Undo) -> t.Optional[str]:
        """Return a package file to put the old version back from, or None where the definition goes without."""
        if undo["kept"]:
            return self._kept()
        made = self._tool.keep_aside(undo["package"], undo["folder"], self._disk)
        if made is not None:
            return made
        sources = [dict(self._options, repository=None, proxy=None)]
        sources += [self._options] if self._options.get("repository") else []
        folder = os.path.join(undo["folder"], "download")
        for number, source in enumerate(sources, 1):
            try:
                return Repository(self._tool, self._disk, source).installed(undo["package"], undo["before"], folder)
            except PatchError:
                if number == len(sources) and self._options["way_back"] == "required":
                    raise
            self._disk.remove_tree(folder)
        return None

    def steps(self, undo: Undo) -> t.List[Step]:
        """See Kind."""

        def download() -> None:
            self._began = True
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
            self._refuse_others(undo, undo["new"])
            strays = self._tool.strays(undo["package"], undo["new"])
            undo["strays"] = sorted({path for stray in strays for path in missing_dirs(stray)})
            undo["record"] = self._tool.record(undo["package"])
            if undo["before"] is not None:
                self._keep(undo, strays)
            else:  # but for configuration of a package that was removed
                self._keep_rest(undo, set(self._tool.configuration(undo["package"])))
            self._require_room(self._tool.sizes(undo["new"]))

        def lock() -> None:
            self._tool.lock(self._options["lock_timeout"])
            if self._tool.state(undo["package"]) != undo["state"]:
                message = "another program has changed {0} since this run began; run again"
                raise PatchError("package_locked", message.format(undo["package"]))

        return [("fetch", download), ("stage", stage), ("package_lock", lock)]

    def _refuse_others(self, undo: Undo, path: str) -> None:
        """Raise PatchError when installing a package file would change other packages, which cannot be put back."""
        others = self._tool.others(path)
        if others:
            message = "{0} needs other packages changed, and only itself can be put back; change those before: {1}"
            raise PatchError("install_failed", message.format(undo["package"], ", ".join(others[:5])))

    def _require_room(self, sizes: t.Mapping[str, int]) -> None:
        """Raise PatchError unless files fit beside all that is there now, each on its file system."""
        needed = {}  # type: t.Dict[int, t.Tuple[str, int]]
        for path, size in sizes.items():
            folder = existing_ancestor(os.path.realpath(os.path.dirname(path)))
            device = os.stat(folder).st_dev
            needed[device] = (folder, needed.get(device, ("", 0))[1] + (size + 4095) // 4096 * 4096)
        for folder, size in needed.values():
            self._disk.require(folder, size + fetch.RESERVE)

    def _keep(self, undo: Undo, strays: t.Set[str]) -> None:
        """Keep the old version: as a package file, what that does not bring back, and what the database says."""
        files = self._tool.files(undo["package"])
        size = sum(os.lstat(path).st_size for path in files if os.path.lexists(path) and not os.path.isdir(path))
        self._require_room({os.path.join(undo["folder"], "kept", "old"): 2 * size})  # unpacked and packed
        way_back = self._way_back(undo)
        undo["way_back"] = way_back is not None
        changed = {path for path in strays - files if os.path.lexists(path) and not os.path.isdir(path)}
        if way_back is not None:
            self._refuse_others(undo, way_back)
            self._disk.rename(way_back, undo["old"])
            self._disk.sync_file(undo["old"])
            changed |= self._tool.changed(
                undo["package"], undo["old"], os.path.join(undo["folder"], "kept"), self._disk
            )
        self._keep_rest(undo, changed)

    def _saved(self, undo: Undo) -> SavedFiles:
        return SavedFiles(self._disk, undo.get("secret", ""))

    def _keep_rest(self, undo: Undo, changed: t.Set[str]) -> None:
        """Keep what no package file brings back: the content of some files, all else about all, and the database."""
        folder, undo["changed"] = os.path.join(undo["folder"], "changed"), sorted(changed)
        self._disk.make_dir(folder, 0o700)
        for number, path in enumerate(undo["changed"]):
            self._saved(undo).save(path, os.path.join(folder, str(number)))
        self._disk.sync_dir(folder)
        self._disk.write_json(undo["files"], self._saved(undo).look(self._tool.files(undo["package"]) | changed))
        undo["state"] = self._tool.state(undo["package"])

    def _restore(self, undo: Undo, entries: t.Mapping[str, Entry]) -> None:
        """Bring back what the old package file does not."""
        for number, path in enumerate(undo.get("changed", [])):
            saved = os.path.join(undo["folder"], "changed", str(number))
            if "secret" not in undo:  # of a release before it
                self._disk.remove(path + ".patchwave")
            if os.path.lexists(saved):
                self._saved(undo).put(saved, path, entries.get(path))
            elif not os.path.isdir(path):
                self._disk.remove(path)
        self._saved(undo).restore(entries)

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
            entries = self._entries(undo)
            if entries is None or not self._is_untouched(undo, entries):
                self._tool.lock(self._options.get("lock_timeout", 300))
                self._put_back(undo, entries or {})
            self._remove_half(undo)
            self._remove_all(undo["strays"])
            if undo.get("record"):
                self._tool.settle(undo["package"], undo["record"])
        self._tool.unlock()
        if undo.get("kept", True) and os.path.exists(undo["old"]):
            self._disk.rename(undo["old"], os.path.join(undo["folder"], "installed" + self._tool.suffix))
        self._sweep(undo)

    def _entries(self, undo: Undo) -> t.Optional[t.Dict[str, Entry]]:
        """Return what is known of the files before; None of a release that kept no such thing, and when all is done."""
        try:
            with open(undo.get("files", ""), encoding="utf-8") as stream:
                return dict(json.load(stream))
        except FileNotFoundError:
            return None

    def _is_untouched(self, undo: Undo, entries: t.Mapping[str, Entry]) -> bool:
        """Tell whether the old version is all there, because the package manager refused before it changed anything."""
        return bool(self._tool.state(undo["package"]) == undo["state"] and self._saved(undo).are_same(entries))

    def _put_back(self, undo: Undo, entries: t.Mapping[str, Entry]) -> None:
        self._remove_half(undo)
        if undo["before"] is None:
            self._tool.remove(undo["package"], not undo.get("changed"))
            self._restore(undo, entries)
        elif os.path.exists(undo["old"]):  # else all this was done
            self._disk.step("install " + undo["old"])
            self._tool.put_back(undo["old"])
            self._disk.step("installed " + undo["old"])
            self._restore(undo, entries)
        elif not undo.get("way_back", True):
            self._go_on(undo)

    def _go_on(self, undo: Undo) -> None:
        """Where there is no way back, make the new version whole; that is an error unless a killed run is recovered."""
        if os.path.exists(undo["new"]):
            with contextlib.suppress(PatchError) if not self._began else contextlib.nullcontext():
                if not self._tool.is_installed(undo["new"]):
                    self._tool.install(undo["new"])
            self._disk.rename(undo["new"], os.path.join(undo["folder"], "installed" + self._tool.suffix))
        if self._began:
            raise PatchError("no_way_back", "the definition has way_back none, and the old package was not to be had")

    def _remove_half(self, undo: Undo) -> None:
        packages = [path for path in (undo["new"], undo["old"]) if os.path.exists(path)]
        self._remove_all(self._tool.half_unpacked(undo["package"], packages))

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
        if undo.get("record"):
            self._tool.settle(undo["package"], {key: undo["record"][key] for key in undo["record"] if key == "want"})
        if os.path.exists(undo["new"]):
            self._disk.rename(undo["new"], os.path.join(undo["folder"], "installed" + self._tool.suffix))
        self._sweep(undo)

    def _sweep(self, undo: Undo) -> None:
        for name in ("new", "old", "files"):
            self._disk.remove(undo.get(name, os.path.join(undo["folder"], name)))
        for name in ("kept", "download", "changed"):
            self._disk.remove_tree(os.path.join(undo["folder"], name))
        self._disk.remove(os.path.join(undo["folder"], "kept" + self._tool.suffix))
        self._disk.remove_empty(undo["folder"])
