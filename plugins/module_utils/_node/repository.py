# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Get a package as a file from a repository, with the node's own package manager."""

from __future__ import annotations

import glob
import os
import re
import shutil
import typing as t

from .commands import Answer, found
from .disk import Disk
from .errors import PatchError
from .package_tool import PackageTool
from .platforms import this_node

#: What zypper ends with while another program holds its lock, and when it has done its work but for some repositories.
_ZYPPER_LOCKED, _ZYPPER_SKIPPED = 7, 106
#: Where the package managers of the RPM family keep what they have downloaded.
_CACHES = ("/var/cache/dnf", "/var/cache/libdnf5", "/var/cache/yum", "/var/cache/zypp")
#: What apt prints about a repository that is not signed by the key it needs.
_UNSIGNED = ("NO_PUBKEY", "BADSIG", "EXPKEYSIG", "REVKEYSIG", "is not signed", "invalid signature")
_REPO = """[patchwave]
name=patchwave
baseurl={url}
enabled=1
gpgcheck=1
gpgkey=file://{key}
repo_gpgcheck=0
skip_if_unavailable=0
"""


class Repository:
    """Download packages with apt-get, dnf, yum or zypper, whichever the node has; install nothing.

    Args:
        tool: the package database.
        disk: how to write.
        options: C(timeout), C(lock_timeout), C(ignore_hold), C(proxy), and C(repository) where it is not the node's.
    """

    def __init__(self, tool: PackageTool, disk: Disk, options: t.Mapping[str, t.Any]) -> None:
        self._tool = tool
        self._disk = disk
        self._options = options
        self._repository = options.get("repository")

    @property
    def manager(self) -> str:
        """The program that downloads."""
        if self._tool.family == "dpkg":
            return "apt-get"
        order = ("zypper", "dnf", "yum") if "suse" in this_node().names else ("dnf", "yum", "zypper")
        return next((program for program in order if found(program)), order[0])

    def download(self, name: str, version: str, folder: str, verb: str = "install") -> t.List[str]:
        """Download one version, and what it needs changed, to a new folder; return the package files.

        Args:
            name: the package.
            version: its version.
            folder: where to work; it must not exist.
            verb: C(reinstall) for the version that is installed, which dnf and yum do not download otherwise.
        """
        self._disk.make_dir(folder, 0o700)
        key = os.path.join(folder, "key.asc")
        if self._repository:
            self._write(key, self._repository["key"])
        if self.manager == "apt-get":
            self._apt(folder, key, name, version)
        elif self.manager == "zypper":
            self._zypper(folder, key, name, version)
        else:
            self._dnf(folder, key, verb, "{0}-{1}".format(name, version))
        files = glob.glob(os.path.join(glob.escape(folder), "packages", "**", "*" + self._tool.suffix), recursive=True)
        if not files:
            message = "{0} found no {1} {2}; check the repository"
            raise PatchError("download_failed", message.format(self.manager, name, version))
        if self._repository and self._tool.family == "rpm":
            for file in files:
                self._check_signature(file, key, folder)
        return files

    def _apt(self, folder: str, key: str, name: str, version: str) -> None:
        for part in ("lists", "lists/partial", "cache", "packages"):
            self._disk.make_dir(os.path.join(folder, part))
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
            options.update(
                dict.fromkeys(("Acquire::AllowInsecureRepositories", "APT::Get::AllowUnauthenticated"), "no")
            )
            options.update({"Acquire::AllowWeakRepositories": "no"})
        argv = ["apt-get", "-q", *("--option={0}={1}".format(*option) for option in options.items())]
        # Of several sources some may be dead; what counts is whether the others have the package.
        update = self._run([*argv, "update"], folder)
        if self._repository and any(mark in update.text for mark in _UNSIGNED):
            raise PatchError("bad_signature", "apt-get {0}".format(update.excuse("E: ", "W: GPG", "W: ")))
        answer = self._run([*argv, "download", "{0}={1}".format(name, version)], os.path.join(folder, "packages"))
        if answer.rc != 0 or answer.timed_out:
            failed = update.rc != 0 or any(line.startswith(("E: ", "W: ")) for line in update.text.split("\n"))
            excuse = update.excuse("E: Failed", "W: Failed", "E: ", "W: ") if failed else answer.excuse("E: ")
            raise PatchError("download_failed", "apt-get {0}".format(excuse))

    def _dnf(self, folder: str, key: str, verb: str, wanted: str) -> None:
        options = ["--setopt=cachedir=" + os.path.join(folder, "cache"), "--setopt=install_weak_deps=False"]
        if self._repository:
            options.append("--setopt=reposdir=" + self._write_repo(folder, key, self._repository["url"]))
        else:
            options.append("--setopt=*.skip_if_unavailable=1")
        if self._options.get("ignore_hold") or verb == "reinstall":
            options += ["--disableplugin=versionlock", "--disableexcludes=all"]
        options += ["--downloadonly", "--downloaddir=" + os.path.join(folder, "packages")]
        self._download([self.manager, "-y", "-q", *options, verb, wanted], folder)

    def _zypper(self, folder: str, key: str, name: str, version: str) -> None:
        packages = os.path.join(folder, "packages")
        options = ["--non-interactive", "--quiet", "--cache-dir", os.path.join(folder, "cache")]
        options += ["--pkg-cache-dir", packages]
        if self._repository:  # whose key the node does not know; the signature is compared afterwards
            options += ["--no-gpg-checks", "--reposd-dir", self._write_repo(folder, key, self._repository["url"])]
        self._download([self.manager, *options, "download", "{0}={1}".format(name, version)], folder)

    def _write_repo(self, folder: str, key: str, url: str) -> str:
        """Make a folder that holds the definition's repository alone; return its path."""
        repos = os.path.join(folder, "repos")
        self._disk.make_dir(repos)
        self._write(os.path.join(repos, "patchwave.repo"), _REPO.format(url=url, key=key))
        return repos

    def _check_signature(self, path: str, key: str, folder: str) -> None:
        """Compare with the definition's key alone, in a key ring of its own."""
        keys, timeout = "--dbpath=" + os.path.join(folder, "keys"), self._options["timeout"]
        self._tool.commands.run(["rpmkeys", keys, "--import", key], timeout)
        answer = self._tool.commands.run(["rpmkeys", keys, "--checksig", path], timeout)
        if answer.rc != 0 or not is_signed(answer.text, path):
            raise PatchError("bad_signature", "the package is not signed by repository.key of the definition")

    def _download(self, argv: t.Sequence[str], folder: str) -> None:
        answer = self._run(argv, folder)
        if argv[0] == "zypper" and answer.rc == _ZYPPER_LOCKED:
            raise PatchError("package_locked", "another program holds the lock of zypper; run again when it has ended")
        done = (0, _ZYPPER_SKIPPED) if argv[0] == "zypper" else (0,)
        if answer.rc not in done or answer.timed_out:
            raise PatchError("download_failed", "{0} {1}".format(argv[0], answer.excuse()))

    def _run(self, argv: t.Sequence[str], folder: str) -> Answer:
        proxy = self._options.get("proxy")
        environ = {name: proxy for name in ("http_proxy", "https_proxy")} if proxy else {}
        environ["ZYPP_LOCK_TIMEOUT"] = str(self._options["lock_timeout"])
        return self._tool.commands.run(argv, self._options["timeout"], environ, cwd=folder)

    def _write(self, path: str, text: str) -> None:
        self._disk.step("write " + path)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(text)

    def installed(self, name: str, version: str, folder: str) -> str:
        """Return the package file of the version that is installed, from the node's caches or its repositories.

        Raises:
            PatchError: C(no_way_back), nobody has the very package that is installed.
        """
        number = version.rpartition(":")[2]
        pattern = "{0}-{1}.*{2}".format(glob.escape(name), glob.escape(number), self._tool.suffix)
        kept = [path for cache in _CACHES for path in glob.glob(os.path.join(cache, "**", pattern), recursive=True)]
        why = "the packages that repositories have of that version are others"
        try:
            file = next((path for path in kept if self._tool.is_installed(path)), None)
            if file is not None:
                self._disk.make_dir(folder, 0o700)
                return str(shutil.copy(file, folder))
            if found(self.manager):
                for file in self.download(name, version, folder, "reinstall"):
                    if self._tool.is_installed(file):
                        return file
            else:
                why = self.manager + " is not on this node"
        except PatchError as error:
            why = error.message
        message = "the package of the installed {0} {1} cannot be had ({2}); give the node a repository that has it"
        raise PatchError("no_way_back", message.format(name, version, why) + ", or set way_back to none")


def is_signed(text: str, path: str) -> bool:
    """Tell whether rpmkeys says that a package is signed, in the words of rpm before and since 4.14."""
    for line in text.split("\n"):
        if line.startswith(path + ":"):
            words = re.sub("[()]", " ", line[len(path) + 1 :]).split()
            signed = {"signatures", "rsa", "dsa", "pgp", "gpg", "ecdsa", "eddsa"}.intersection(words)
            return bool(signed) and words[-1] == "OK" and "NOT" not in words
    return False
