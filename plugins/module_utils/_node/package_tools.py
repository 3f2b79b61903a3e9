# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""The package databases of a node: Debian's dpkg and RPM, with the same questions and changes."""

from __future__ import annotations

import abc
import contextlib
import fcntl
import os
import re
import time
import typing as t

from .commands import Answer, Commands, found
from .disk import Disk, copy_file, copy_owner
from .errors import PatchError

_QUERY_SECONDS = 60
#: apt, which knows of no packages but those that are installed and those that it is given, and writes nothing.
_APT = (
    "apt-get",
    "--quiet",
    "--option=Dir::State::Lists=/nonexistent",
    "--option=Dir::Etc::SourceList=/dev/null",
    "--option=Dir::Etc::SourceParts=/dev/null",
    "--option=Dir::Cache::pkgcache=",
    "--option=Dir::Cache::srcpkgcache=",
)

#: A line of rpm -V: what differs, or that it is missing, perhaps a letter, and the path.
_VERIFIED = re.compile(r"(?:[A-Z0-9.?]{8,9}|missing) +(?:[a-z] +)?(/.*?)(?: \(.*\))?\Z")

#: What rpm adds to the name of a file until all are unpacked: the second in which it began.
_UNPACKED = re.compile(r";[0-9a-f]{8}\Z")

#: A line of dpkg-deb -c: mode, owner, size, moment, the path and perhaps what it links to.
_LISTED = re.compile(r"\S{10} \S+ +\d+ \S+ \S+ \.(/.*?)/?(?: -> .*| link to \./.*)?\Z")
_OCTAL = re.compile(rb"\\([0-7]{3})")


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

    def __init__(self, commands: Commands, timeout: float) -> None:
        self._commands = commands
        self._timeout = timeout
        self._held = []  # type: t.List[int]

    @abc.abstractmethod
    def version(self, name: str) -> t.Optional[str]:
        """Return the version of an installed package, or None."""

    @abc.abstractmethod
    def about(self, path: str) -> About:
        """Read a package file; raise PatchError C(wrong_package) when it is none."""

    @abc.abstractmethod
    def install(self, path: str) -> None:
        """Install, upgrade, repair or downgrade to a package file."""

    @abc.abstractmethod
    def remove(self, name: str) -> None:
        """Remove a package with its configuration; it may be absent."""

    @abc.abstractmethod
    def files(self, name: str) -> t.Set[str]:
        """Return the paths that a package put on the node."""

    @abc.abstractmethod
    def strays(self, name: str, path: str) -> t.Set[str]:
        """Return what installing C(path), or a part of that, may leave even when the old version is put back.

        Of that, only what is not there before is left over. Folders above it go without saying.
        """

    @abc.abstractmethod
    def half_unpacked(self, name: str, packages: t.Sequence[str]) -> t.Set[str]:
        """Return what a killed installation of one of the files C(packages) has left beside the right places."""

    @abc.abstractmethod
    def changed(self, name: str) -> t.List[str]:
        """Return the files that somebody changed or removed, and that an installation does not bring back so."""

    @abc.abstractmethod
    def keep_aside(self, name: str, folder: str, disk: Disk) -> t.Optional[str]:
        """Make a package file of the installed version in C(folder); return its path, or None where that cannot be."""

    @abc.abstractmethod
    def trial(self, path: str) -> None:
        """Raise PatchError C(install_failed) when it is known before that a package file cannot be installed."""

    def lock(self, timeout: float) -> None:
        """Hold the database's lock in this process until unlock().

        Raises:
            PatchError: C(package_locked) when the time is up.
        """
        if self._held:  # to open a file again and close it would let go of its lock
            return
        deadline = time.monotonic() + timeout
        for path in self.locks:
            while not self._try(path):
                if time.monotonic() >= deadline:
                    self.unlock()
                    message = "another program has held {0} for {1} s; run again when it has ended"
                    raise PatchError("package_locked", message.format(path, timeout))
                time.sleep(0.2)

    def _try(self, path: str) -> bool:
        if not os.path.isdir(os.path.dirname(path)):
            return True
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._held.append(handle)
        return True

    def unlock(self) -> None:
        """Let go of what lock() holds."""
        while self._held:
            os.close(self._held.pop())

    def change(self, argv: t.Sequence[str], environ: t.Optional[t.Mapping[str, str]] = None) -> None:
        """Run a program that changes the node; raise PatchError C(install_failed)."""
        answer = self._commands.run(argv, self._timeout, environ)
        if answer.rc != 0 or answer.timed_out:
            raise PatchError("install_failed", "{0} {1}".format(argv[0], answer.excuse(argv[0] + ": error", "error: ")))

    def ask(self, *argv: str) -> Answer:
        """Run a program that only reads, and keep all that it prints: a list of files may be long."""
        return self._commands.run(argv, _QUERY_SECONDS, limit=None)


class Dpkg(PackageTool):
    """Debian's database."""

    family = "dpkg"
    suffix = ".deb"
    locks = ("/var/lib/dpkg/lock-frontend",)
    _info = "/var/lib/dpkg/info/"
    _environ: t.ClassVar[t.Dict[str, str]] = {
        "DEBIAN_FRONTEND": "noninteractive",
        "DPKG_FRONTEND_LOCKED": "1",
        "NEEDRESTART_SUSPEND": "1",
    }
    _force = ("--force-confdef", "--force-confold", "--force-downgrade", "--force-remove-reinstreq")

    def version(self, name: str) -> t.Optional[str]:
        """See PackageTool. A package of which only configuration is left is not installed."""
        answer = self.ask("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}\n", name)
        state, dummy, version = answer.text.strip().partition("\n")[0].partition(" ")
        return version if answer.rc == 0 and state not in ("", "not-installed", "config-files") else None

    def about(self, path: str) -> About:
        """See PackageTool."""
        answer = self.ask("dpkg-deb", "-W", "--showformat=${Package} ${Version}\n", path)
        words = answer.text.split()
        if answer.rc != 0 or len(words) != 2:
            raise PatchError("wrong_package", "the file is no Debian package: {0}".format(answer.excuse()))
        return About(*words)

    def install(self, path: str) -> None:
        """See PackageTool.

        A configuration file that went with a version put back is missing, and dpkg would take that for an
        administrator's wish. So missing ones are made again, and those that an administrator removed are removed again.
        """
        missing = {name for name in self._packed_conffiles(path) if not os.path.lexists(name)}
        lines = [line.split() for line in self._conffiles(self.about(path).name)] if missing else []
        obsolete = missing & {words[0] for words in lines if words[-1] == "obsolete"}
        force = ["--force-confmiss"] if obsolete else []
        self.change(["dpkg", *self._force, *force, "--install", path], self._environ)
        for name in {words[0] for words in lines} & missing - obsolete if force else ():
            with contextlib.suppress(OSError):
                os.unlink(name)

    def remove(self, name: str) -> None:
        """See PackageTool."""
        if self.version(name) is not None:
            self.change(["dpkg", *self._force, "--purge", name], self._environ)

    def files(self, name: str) -> t.Set[str]:
        """See PackageTool."""
        return set(self._places(name).values())

    def _places(self, name: str) -> t.Dict[str, str]:
        """Return where the paths of a package are on the node: elsewhere, where someone has diverted them."""
        places, path = {}, ""
        for line in self.ask("dpkg-query", "-L", name).text.split("\n"):
            if line.startswith("/"):
                places[line] = path = line
            elif path and " diverted " in " " + line and " to: " in line:
                places[path] = line.partition(" to: ")[2]
        return places

    def strays(self, name: str, path: str) -> t.Set[str]:
        """See PackageTool. Besides what the new version has, there are copies beside configuration files."""
        conffiles = self._packed_conffiles(path) | {line.split()[0] for line in self._conffiles(name)}
        found_ones = {line + ending for line in conffiles for ending in (".dpkg-dist", ".dpkg-new", ".dpkg-old")}
        return found_ones | self._packed(path)

    def half_unpacked(self, name: str, packages: t.Sequence[str]) -> t.Set[str]:
        """See PackageTool. dpkg removes only those beside files that it unpacks again, and not all."""
        places = self.files(name).union(*map(self._packed, packages))
        left = (place + ending for place in places for ending in (".dpkg-new", ".dpkg-tmp"))
        return {place for place in left if os.path.lexists(place)}

    def _packed(self, path: str) -> t.Set[str]:
        """Return what a package file would put on the node, as tar lists it: bytes that are no ASCII are in octal."""
        found_ones = (_LISTED.match(line) for line in self.ask("dpkg-deb", "-c", path).text.split("\n"))
        names = (os.fsencode(match.group(1)) for match in found_ones if match)
        return {os.fsdecode(_OCTAL.sub(lambda octal: bytes([int(octal.group(1), 8)]), name)) for name in names}

    def _packed_conffiles(self, path: str) -> t.Set[str]:
        text = self.ask("dpkg-deb", "-I", path, "conffiles").text
        return {line for line in text.split("\n") if line.startswith("/")}

    def _conffiles(self, name: str) -> t.List[str]:
        text = self.ask("dpkg-query", "-W", "-f", "${Conffiles}\n", name).text
        return [line for line in text.split("\n") if line.startswith(" /")]

    def changed(self, name: str) -> t.List[str]:
        """See PackageTool. They are in the package that keep_aside() makes."""
        return []

    def trial(self, path: str) -> None:
        """See PackageTool. What other packages need, and this one of them, is left to apt: dpkg looks too late."""
        self.change(["dpkg", "--no-act", *self._force, "--install", path], self._environ)
        if not found(_APT[0]):
            return
        options = ("--simulate", "--allow-downgrades", "--allow-change-held-packages")
        answer, name = self.ask(*_APT, *options, "install", path), self.about(path).name
        lines = answer.text.splitlines()
        own = ("Inst {0} ".format(name), "Inst {0}:".format(name))
        others = {line for line in lines if line.startswith(("Inst ", "Remv ")) and not line.startswith(own)}
        # A node on which more is broken already says nothing about this package.
        if (answer.rc != 0 or others) and self.ask(*_APT, "check").rc == 0:
            unmet = [line for line in lines if line.startswith(" ") and ": " in line]
            message = "{0} needs other packages changed, and only itself can be put back; change those before: {1}"
            raise PatchError("install_failed", message.format(name, "; ".join([*unmet, *sorted(others)])))

    def keep_aside(self, name: str, folder: str, disk: Disk) -> t.Optional[str]:
        """See PackageTool. The package is made again from what is installed, with its maintainer scripts."""
        tree, path = os.path.join(folder, "kept"), os.path.join(folder, "kept.deb")
        disk.make_dir(tree)
        places = self._places(name)
        folders = {os.path.dirname(path) for path in places}
        for path_in, source in sorted(places.items()):
            target = tree + path_in
            # What the package has as a folder may be a link on the node, as /lib is to /usr/lib.
            if os.path.isdir(source) and (path_in in folders or not os.path.islink(source)):
                os.makedirs(target, exist_ok=True)
                copy_owner(os.path.realpath(source), target)
            elif os.path.lexists(source):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                copy_file(source, target)
        control = os.path.join(tree, "DEBIAN")
        disk.make_dir(control)
        for source in os.listdir(self._info):
            owner, dummy, part = source.rpartition(".")
            if owner.partition(":")[0] == name and part not in ("list", "conffiles"):
                copy_file(self._info + source, os.path.join(control, part))
        conffiles = [line.split()[0] for line in self._conffiles(name)]
        present = [line for line in conffiles if os.path.lexists(tree + line)]
        if present:
            with open(os.path.join(control, "conffiles"), "w", encoding="utf-8") as stream:
                stream.write("\n".join(present) + "\n")
        with open(os.path.join(control, "control"), "w", encoding="utf-8") as stream:
            stream.write(self._control(name))
        self.change(["dpkg-deb", "--build", "-Zgzip", "-z1", tree, path])
        disk.remove_tree(tree)
        return path

    def _control(self, name: str) -> str:
        """Return the control fields of an installed package, without those that only the database has."""
        kept, skipping = [], False
        for line in self.ask("dpkg-query", "-s", name).text.rstrip("\n").splitlines():
            if not line.startswith(" "):
                skipping = line.partition(":")[0] in ("Status", "Conffiles", "Config-Version")
            if line and not skipping:
                kept.append(line)
        return "\n".join(kept) + "\n"


class Rpm(PackageTool):
    """RPM's database, of Red Hat's and SUSE's families."""

    family = "rpm"
    suffix = ".rpm"
    _format = "%{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n"

    def version(self, name: str) -> t.Optional[str]:
        """See PackageTool. Of several that are installed together the last one counts."""
        answer = self.ask("rpm", "-q", "--qf", self._format, name)
        lines = [line.split() for line in answer.text.strip().splitlines()]
        found_ones = [words[1] for words in lines if len(words) == 2 and words[0] == name]
        return found_ones[-1] if answer.rc == 0 and found_ones else None

    def about(self, path: str) -> About:
        """See PackageTool."""
        answer = self.ask("rpm", "-q", "--nosignature", "--qf", self._format, "-p", path)
        words = answer.text.split()
        if answer.rc != 0 or len(words) < 2:
            raise PatchError("wrong_package", "the file is no RPM package: {0}".format(answer.excuse()))
        return About(*words[:2])

    def install(self, path: str) -> None:
        """See PackageTool."""
        self.change(["rpm", "-U", "--oldpackage", "--replacepkgs", "--nosignature", path])

    def remove(self, name: str) -> None:
        """See PackageTool."""
        if self.version(name) is not None:
            self.change(["rpm", "-e", name])

    def files(self, name: str) -> t.Set[str]:
        """See PackageTool."""
        return self._paths("-ql", name)

    def _paths(self, *query: str) -> t.Set[str]:
        return {line for line in self.ask("rpm", *query).text.splitlines() if line.startswith("/")}

    def strays(self, name: str, path: str) -> t.Set[str]:
        """See PackageTool. Besides what the new version has, there are copies beside configuration files."""
        kept = self._paths("-qc", name)
        found_ones = {line + ending for line in kept for ending in (".rpmnew", ".rpmsave", ".rpmorig")}
        return found_ones | self._packed(path)

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

    def changed(self, name: str) -> t.List[str]:
        """See PackageTool."""
        answer = self._commands.run(["rpm", "-V", "--nodeps", "--noscripts", name], self._timeout, limit=None)
        found_ones = (_VERIFIED.match(line) for line in answer.text.split("\n"))
        return [match.group(1) for match in found_ones if match and not os.path.isdir(match.group(1))]

    def trial(self, path: str) -> None:
        """See PackageTool."""
        self.change(["rpm", "-U", "--test", "--oldpackage", "--replacepkgs", "--nosignature", path])

    def keep_aside(self, name: str, folder: str, disk: Disk) -> t.Optional[str]:
        """See PackageTool. RPM cannot make a package of what is installed."""
        return None

    def lock(self, timeout: float) -> None:
        """See PackageTool. The lock is only waited for: rpm takes it itself."""
        base = self.ask("rpm", "--eval", "%{_dbpath}").text.strip()
        self.locks = (os.path.join(base, ".rpm.lock"),) if base.startswith("/") else ()
        super().lock(timeout)
        self.unlock()


def tool_for(form: str, commands: Commands, timeout: float) -> PackageTool:
    """Return the tool of a form of package on this node.

    Args:
        form: C(deb), C(rpm), or C(auto) for what this node uses for itself.
        commands: how to run its programs.
        timeout: seconds for one change.

    Raises:
        PatchError: C(unsupported_node), this node has no such database.
    """
    if form == "auto":
        form = "deb" if os.path.exists("/var/lib/dpkg/status") else "rpm"
    tool, program = (Dpkg, "dpkg") if form == "deb" else (Rpm, "rpm")  # type: t.Tuple[t.Type[PackageTool], str]
    if not found(program):
        raise PatchError("unsupported_node", "{0} is not on this node, so it takes no .{1}".format(program, form))
    return tool(commands, timeout)
