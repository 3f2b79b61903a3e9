# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The package kind of patch: a pinned version from a repository, downloaded as one file and then treated as such."""

from __future__ import annotations

import glob
import os
import typing as t

from .commands import Commands, found
from .disk import Disk
from .errors import PatchError
from .package_file import PackageFile
from .package_tools import PackageTool
from .platforms import this_node

#: What zypper ends with while another program holds its lock.
_ZYPPER_LOCKED = 7
_REPO = """[patchwave]
name=patchwave
baseurl={url}
enabled=1
gpgcheck=1
gpgkey=file://{key}
repo_gpgcheck=0
"""


class Package(PackageFile):
    """Install a version of a package from a repository: the definition's own, with its key, or one of the node's.

    Only the package itself is changed: a version that needs others changed too is refused before the node is touched.
    The repository is used for this download alone; the node's list of repositories stays as it is.

    Args:
        name: the program.
        definition: the module's options.
        disk: how to write.
        tool: the package database.
        commands: how to run the package manager.
    """

    kind = "package"

    def __init__(
        self,
        name: str,
        definition: t.Mapping[str, t.Any],
        disk: Disk,
        tool: PackageTool,
        commands: Commands,
    ) -> None:
        super().__init__(name, definition, disk, tool)
        self._commands = commands
        self._repository = self._options.get("repository")

    def check_source(self) -> None:
        """See PackageFile."""
        if not found(self._manager()):
            raise PatchError("unsupported_node", "{0} is not on this node".format(self._manager()))

    def _manager(self) -> str:
        if self._tool.family == "dpkg":
            return "apt-get"
        order = ("zypper", "dnf", "yum") if "suse" in this_node().names else ("dnf", "yum", "zypper")
        return next((program for program in order if found(program)), order[0])

    def fetch_to(self, path: str) -> None:
        """See PackageFile."""
        folder = os.path.join(os.path.dirname(path), "download")
        self._disk.make_dir(folder, 0o700)
        key = os.path.join(folder, "key.asc")
        if self._repository:
            self._write(key, self._repository["key"])
        fetch = {"apt-get": self._apt, "zypper": self._zypper}.get(self._manager(), self._dnf)
        fetch(folder, key)
        pattern = os.path.join(glob.escape(folder), "packages", "**", "*" + self._tool.suffix)
        files = glob.glob(pattern, recursive=True)
        if not files:
            message = "{0} found no {1} {2}; check the repository"
            raise PatchError(
                "download_failed", message.format(self._manager(), self._package, self._options["version"])
            )
        if len(files) > 1:
            message = "{0} {1} needs {2} packages changed, and only itself can be put back; install those before"
            raise PatchError("install_failed", message.format(self._package, self._options["version"], len(files)))
        if self._repository and self._tool.family == "rpm":
            self._check_signature(files[0], key, folder)
        self._disk.sync_file(files[0])
        self._disk.rename(files[0], path)
        self._disk.remove_tree(folder)

    def _apt(self, folder: str, key: str) -> None:
        for name in ("lists", "lists/partial", "cache", "packages"):
            self._disk.make_dir(os.path.join(folder, name))
        options = {
            "Dir::State::Lists": os.path.join(folder, "lists"),
            "Dir::Cache": os.path.join(folder, "cache"),
            "APT::Sandbox::User": "root",
            "Acquire::Retries": "2",
        }
        if self._repository:
            source = os.path.join(folder, "sources.list")
            line = "deb [signed-by={0}] {1} {2} {3}\n"
            parts = (key, self._repository["url"], self._repository["suite"], " ".join(self._repository["components"]))
            self._write(source, line.format(*parts))
            options.update({"Dir::Etc::SourceList": source, "Dir::Etc::SourceParts": "/dev/null"})
        argv = ["apt-get", "-q", *("--option={0}={1}".format(*option) for option in options.items())]
        self._download([*argv, "--error-on=any", "update"], folder)
        wanted = "{0}={1}".format(self._package, self._options["version"])
        self._download([*argv, "download", wanted], os.path.join(folder, "packages"))

    def _dnf(self, folder: str, key: str) -> None:
        options = ["--setopt=cachedir=" + os.path.join(folder, "cache"), "--setopt=install_weak_deps=False"]
        if self._repository:
            options.append("--setopt=reposdir=" + self._write_repo(folder, key, self._repository["url"]))
        wanted = "{0}-{1}".format(self._package, self._options["version"])
        packages = "--downloaddir=" + os.path.join(folder, "packages")
        self._download([self._manager(), "-y", "-q", *options, "--downloadonly", packages, "install", wanted], folder)

    def _zypper(self, folder: str, key: str) -> None:
        packages = os.path.join(folder, "packages")
        options = ["--non-interactive", "--quiet", "--cache-dir", os.path.join(folder, "cache")]
        options += ["--pkg-cache-dir", packages]
        if self._repository:  # whose key the node does not know; the signature is compared afterwards
            options += ["--no-gpg-checks", "--reposd-dir", self._write_repo(folder, key, self._repository["url"])]
        wanted = "{0}={1}".format(self._package, self._options["version"])
        self._download([self._manager(), *options, "download", wanted], folder)

    def _write_repo(self, folder: str, key: str, url: str) -> str:
        """Make a folder that holds the definition's repository alone; return its path."""
        repos = os.path.join(folder, "repos")
        self._disk.make_dir(repos)
        self._write(os.path.join(repos, "patchwave.repo"), _REPO.format(url=url, key=key))
        return repos

    def _check_signature(self, path: str, key: str, folder: str) -> None:
        """Compare with the definition's key alone, in a key ring of its own."""
        keys = "--dbpath=" + os.path.join(folder, "keys")
        self._commands.run(["rpmkeys", keys, "--import", key], self._options["timeout"])
        answer = self._commands.run(["rpmkeys", keys, "--checksig", path], self._options["timeout"])
        if answer.rc != 0 or "signatures OK" not in answer.text:
            raise PatchError("bad_signature", "the package is not signed by repository.key of the definition")

    def _download(self, argv: t.Sequence[str], folder: str) -> None:
        proxy = self._options.get("proxy")
        environ = {name: proxy for name in ("http_proxy", "https_proxy")} if proxy else {}
        environ["ZYPP_LOCK_TIMEOUT"] = str(self._options["lock_timeout"])
        answer = self._commands.run(argv, self._options["timeout"], environ, cwd=folder)
        if argv[0] == "zypper" and answer.rc == _ZYPPER_LOCKED:
            raise PatchError("package_locked", "another program holds the lock of zypper; run again when it has ended")
        if answer.rc != 0 or answer.timed_out:
            reason = "bad_signature" if "NO_PUBKEY" in answer.text or "BADSIG" in answer.text else "download_failed"
            raise PatchError(reason, "{0} {1}".format(argv[0], answer.excuse()))

    def _write(self, path: str, text: str) -> None:
        self._disk.step("write " + path)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
