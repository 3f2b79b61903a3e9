# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.
"""Debian's package database."""

from __future__ import annotations

import contextlib
import filecmp
import glob
import os
import re
import stat
import typing as t

from .commands import Answer, found
from .disk import Disk, copy_file, copy_owner
from .errors import PatchError
from .package_tool import About, PackageTool

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

#: A line of dpkg-deb -c: mode, owner, size, moment, the path and perhaps what it links to.
_LISTED = re.compile(r"\S{10} \S+ +(\d+) \S+ \S+ \.(/.*?)/?(?: -> .*| link to \./.*)?\Z")
_OCTAL = re.compile(rb"\\([0-7]{3})")

#: States of a package of which nothing or only configuration is there.
_ABSENT = ("", "not-installed", "config-files")
#: Fields of the status file that no package has, besides three.
_TRIGGERS = ("Triggers-Pending", "Triggers-Awaited")
#: Seconds for another program to let go of dpkg's own lock.
_LOCKED = 60
#: What dpkg may leave beside a configuration file.
_COPIES = (".dpkg-dist", ".dpkg-new", ".dpkg-old")

#: Has dpkg install what it would not take anew.
_AS_BEFORE = ("--force-depends", "--force-breaks", "--force-conflicts")


class Dpkg(PackageTool):
    """Debian's database."""

    family = "dpkg"
    suffix = ".deb"
    locks = ("/var/lib/dpkg/lock-frontend",)
    inner_locks = ("/var/lib/dpkg/lock",)
    _info = "/var/lib/dpkg/info/"
    _updates = "/var/lib/dpkg/updates/"
    _environ: t.ClassVar[t.Dict[str, str]] = {
        "DEBIAN_FRONTEND": "noninteractive",
        "DPKG_FRONTEND_LOCKED": "1",
        "NEEDRESTART_SUSPEND": "1",
    }
    _force = ("--force-confdef", "--force-confold", "--force-downgrade", "--force-remove-reinstreq")

    def version(self, name: str) -> t.Optional[str]:
        """See PackageTool. A package of which only configuration is left is not installed."""
        state = self._status(name)
        return state[2] or None if state[1] not in _ABSENT else None

    def _status(self, name: str) -> t.Tuple[str, str, str]:
        """Return what is wanted of a package, its state, perhaps with C(reinstreq), and its version."""
        fields = "${db:Status-Want}\t${db:Status-Status}\t${db:Status-Eflag}\t${Version}\n"
        answer = self.ask("dpkg-query", "-W", "-f", fields, name)
        words = answer.text.partition("\n")[0].split("\t")
        if answer.rc != 0 or len(words) != 4:
            return "", "", ""
        want, state, flag, version = words
        return want, state if flag == "ok" else "{0} {1}".format(state, flag), version

    def unfinished(self, name: str) -> str:
        """See PackageTool."""
        state = self._status(name)[1]
        return "" if state in (*_ABSENT, "installed") else state

    def held(self, name: str, version: str) -> str:
        """See PackageTool."""
        return "apt-mark hold" if self._status(name)[0] == "hold" else ""

    def state(self, name: str) -> str:
        """See PackageTool."""
        return re.sub(r"(?m)^Status: \S+ ", "Status: ", self._stanza(name))

    def _stanza(self, name: str) -> str:
        """Return what the status file has of a package, without what is printed beside it."""
        return self.ask("dpkg-query", "-s", name).text.partition("\n\n")[0] + "\n"

    def record(self, name: str) -> t.Dict[str, str]:
        """See PackageTool: which configuration files are as they were packed, and a hold, which dpkg lifts."""
        return {"want": self._status(name)[0], "conffiles": "\n".join(self._conffiles(name))}

    def settle(self, name: str, record: t.Mapping[str, str]) -> None:
        """See PackageTool.

        What dpkg has not yet put into its status file is in numbered files beside it. One more is made here, and dpkg
        puts it in itself.
        """
        conffiles = record.get("conffiles")
        if conffiles is not None and conffiles != "\n".join(self._conffiles(name)):
            self._absorb("")
            self._update(_with_conffiles(self._stanza(name), conffiles))
            self._absorb("")
        if record["want"] == "hold" != self._status(name)[0]:
            self._absorb(name + " hold\n")

    def _update(self, text: str) -> None:
        scratch, lock = self._updates + "tmp.patchwave", self.take(self.inner_locks[0], _LOCKED, _LOCKED)
        try:
            if any(entry.isdigit() for entry in os.listdir(self._updates)):
                raise PatchError("package_locked", "dpkg has run meanwhile and did not end; run dpkg --configure -a")
            with open(scratch, "wb") as stream:
                stream.write(os.fsencode(text))
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(scratch, self._updates + "0000")
        finally:
            if lock is not None:
                os.close(lock)

    def _absorb(self, selections: str) -> None:
        """Have dpkg write its status file anew, with other selections."""
        script = 'printf %s "$1" | dpkg --set-selections'
        self.change(["sh", "-c", script, "dpkg", selections], self._environ)

    def is_installed(self, path: str) -> bool:
        """See PackageTool. changed() looks at what is in it."""
        about = self.about(path)
        return about.version == self.version(about.name)

    def about(self, path: str) -> About:
        """See PackageTool."""
        answer = self.ask("dpkg-deb", "-W", "--showformat=${Package} ${Version}\n", path)
        words = answer.text.split()
        if answer.rc != 0 or len(words) != 2:
            raise PatchError("wrong_package", "the file is no Debian package: {0}".format(answer.excuse()))
        return About(*words)

    def install(self, path: str) -> None:
        """See PackageTool."""
        self.judge(["dpkg"], self._install(path))

    def _install(self, path: str, *more: str) -> Answer:
        """Install a package file.

        A configuration file that went with a version put back is missing, and dpkg would take that for an
        administrator's wish. So missing ones are made again, and those that an administrator removed are removed again.
        """
        missing = {name for name in self._packed_conffiles(path) if not os.path.lexists(name)}
        lines = [line.split() for line in self._conffiles(self.about(path).name)] if missing else []
        obsolete = missing & {words[0] for words in lines if words[-1] == "obsolete"}
        force = ["--force-confmiss"] if obsolete else []
        answer = self.run(["dpkg", *self._force, *force, *more, "--install", path], self._environ)
        for name in {words[0] for words in lines} & missing - obsolete if force else ():
            with contextlib.suppress(OSError):
                os.unlink(name)
        return answer

    def put_back(self, path: str) -> None:
        """See PackageTool.

        What the old version lacked of other packages does not matter: it was there without. And dpkg does not go down
        while a script of the version to be removed fails.
        """
        answer = self._install(path, *_AS_BEFORE)
        if answer.rc != 0 and "removal script" in answer.text:
            name = glob.escape(self._info + self.about(path).name)
            for script in (script for part in ("", ":*") for script in glob.glob(name + part + ".p*rm")):
                os.unlink(script)
            answer = self._install(path, *_AS_BEFORE)
        self.judge(["dpkg"], answer)

    def remove(self, name: str, configuration: bool = True) -> None:
        """See PackageTool."""
        if self._status(name)[1] not in _ABSENT:
            verb = "--purge" if configuration else "--remove"
            self.change(["dpkg", *self._force, verb, name], self._environ)

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
        conffiles = self._packed_conffiles(path) | self.configuration(name)
        return {line + ending for line in conffiles for ending in _COPIES} | self._packed(path)

    def half_unpacked(self, name: str, packages: t.Sequence[str]) -> t.Set[str]:
        """See PackageTool. dpkg removes only those beside files that it unpacks again, and not all."""
        places = self.files(name).union(*map(self._packed, packages))
        left = (place + ending for place in places for ending in (".dpkg-new", ".dpkg-tmp"))
        return {place for place in left if os.path.lexists(place)}

    def _packed(self, path: str) -> t.Set[str]:
        """Return what a package file would put on the node."""
        return {name for name, dummy, dummy in self._listed(path)}

    def _listed(self, path: str) -> t.List[t.Tuple[str, int, bool]]:
        """Return path, size and whether it is a folder, as tar lists them: bytes that are no ASCII are in octal."""
        lines = self.ask("dpkg-deb", "-c", path).text.split("\n")
        found_ones = ((line, _LISTED.match(line)) for line in lines)
        return [(_plain(match.group(2)), int(match.group(1)), line[0] == "d") for line, match in found_ones if match]

    def sizes(self, path: str) -> t.Dict[str, int]:
        """See PackageTool. What Installed-Size says beyond that is counted with the largest file."""
        sizes = {name: size for name, size, folder in self._listed(path) if not folder}
        declared = self.ask("dpkg-deb", "-W", "--showformat=${Installed-Size}", path).text.strip()
        if sizes and declared.isdigit():
            largest = max(sizes, key=lambda name: sizes[name])
            sizes[largest] += max(0, int(declared) * 1024 - sum(sizes.values()))
        return sizes

    def _packed_conffiles(self, path: str) -> t.Set[str]:
        text = self.ask("dpkg-deb", "-I", path, "conffiles").text
        return {line for line in text.split("\n") if line.startswith("/")}

    def configuration(self, name: str) -> t.Set[str]:
        """See PackageTool."""
        return {line.split()[0] for line in self._conffiles(name)}

    def _conffiles(self, name: str) -> t.List[str]:
        text = self.ask("dpkg-query", "-W", "-f", "${Conffiles}\n", name).text
        return [line for line in text.split("\n") if line.startswith(" /")]

    def changed(self, name: str, path: str, scratch: str, disk: Disk) -> t.Set[str]:
        """See PackageTool. Of configuration files dpkg keeps those that are there, so all of them count."""
        disk.make_dir(scratch, 0o700)
        self.change(["dpkg-deb", "-x", path, scratch])
        places = self._places(name)
        for packed in self._packed(path):
            places.setdefault(packed, packed)
        conffiles = self.configuration(name) | self._packed_conffiles(path)
        found_ones = {
            place for packed, place in places.items() if packed in conffiles or _differ(scratch + packed, place)
        }
        disk.remove_tree(scratch)
        return found_ones | conffiles | {self._info + name for name in self._parts(name)}

    def _parts(self, name: str) -> t.Dict[str, str]:
        """Return the names of the database's own files of a package, with what each is."""
        names = ((source, *source.rpartition(".")[::2]) for source in os.listdir(self._info))
        return {source: part for source, owner, part in names if owner.partition(":")[0] == name}

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

    def others(self, path: str) -> t.List[str]:
        """See PackageTool. That others must go is what trial() finds; here are those of which it Replaces files."""
        name = self.about(path).name
        new = [path for path in self._packed(path) - self.files(name) if os.path.lexists(path)]
        new = [path for path in new if os.path.islink(path) or not os.path.isdir(path)]
        owners = set()  # type: t.Set[str]
        for start in range(0, len(new), 500):
            for line in self.ask("dpkg-query", "-S", *new[start : start + 500]).text.split("\n"):
                words, colon, dummy = line.partition(": /")
                if colon and not words.startswith(("diversion by", "local diversion", "dpkg-query")):
                    owners.update(word.partition(":")[0] for word in words.split(", "))
        return sorted(owners - {name})

    def keep_aside(self, name: str, folder: str, disk: Disk) -> t.Optional[str]:
        """See PackageTool. The package is made again from what is installed, with its maintainer scripts."""
        tree, path = os.path.join(folder, "kept"), os.path.join(folder, "kept.deb")
        disk.make_dir(tree)
        places = self._places(name)
        folders, linked = {os.path.dirname(path) for path in places}, {}  # type: t.Set[str], t.Dict[t.Any, str]
        for path_in, source in sorted(places.items()):
            target = tree + path_in
            # What the package has as a folder may be a link on the node, as /lib is to /usr/lib.
            if os.path.isdir(source) and (path_in in folders or not os.path.islink(source)):
                os.makedirs(target, exist_ok=True)
                copy_owner(os.path.realpath(source), target)
            else:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                self._keep(source, target, linked)
        control = os.path.join(tree, "DEBIAN")
        disk.make_dir(control)
        for source, part in self._parts(name).items():
            if part not in ("list", "conffiles"):
                copy_file(self._info + source, os.path.join(control, part))
        present = [words[0] for words in map(str.split, self._conffiles(name)) if os.path.lexists(tree + words[0])]
        if present:
            with open(os.path.join(control, "conffiles"), "w", encoding="utf-8") as stream:
                stream.write("\n".join(present) + "\n")
        with open(os.path.join(control, "control"), "w", encoding="utf-8") as stream:
            stream.write(self._control(name))
        self.change(["dpkg-deb", "--build", "-Zgzip", "-z1", tree, path])
        disk.remove_tree(tree)
        return path

    def _keep(self, source: str, target: str, linked: t.Dict[t.Any, str]) -> None:
        """Copy a file; one that is missing leaves an empty one in the package, so that it stays listed."""
        info = os.lstat(source) if os.path.lexists(source) else None
        if info is None:
            with open(target, "xb"):
                pass
        elif (info.st_dev, info.st_ino) in linked:
            os.link(linked[info.st_dev, info.st_ino], target)
        elif stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
            copy_file(source, target)
            if info.st_nlink > 1 and stat.S_ISREG(info.st_mode):
                linked[info.st_dev, info.st_ino] = target

    def _control(self, name: str) -> str:
        """Return the control fields of an installed package, without those that only the database has."""
        return _without(self._stanza(name), "Status", "Conffiles", "Config-Version", *_TRIGGERS)


def _plain(name: str) -> str:
    return os.fsdecode(_OCTAL.sub(lambda octal: bytes([int(octal.group(1), 8)]), os.fsencode(name)))


def _differ(packed: str, place: str) -> bool:
    """Tell whether a path has other content than the package; folders have none."""
    if os.path.islink(packed) and os.path.islink(place):
        return os.readlink(packed) != os.readlink(place)
    if os.path.isdir(place) or (os.path.isdir(packed) and not os.path.islink(packed)):
        return False
    if os.path.islink(packed) or not os.path.isfile(packed) or os.path.islink(place) or not os.path.isfile(place):
        return True
    return not filecmp.cmp(packed, place, shallow=False)


def _with_conffiles(stanza: str, conffiles: str) -> str:
    """Return a stanza of the status file with other lines for Conffiles."""
    kept = _without(stanza, "Conffiles")
    return kept + "Conffiles:\n{0}\n\n".format(conffiles) if conffiles else kept + "\n"


def _without(stanza: str, *fields: str) -> str:
    kept, skipping = [], False
    for line in stanza.rstrip("\n").split("\n"):
        if not line.startswith(" "):
            skipping = line.partition(":")[0] in fields
        if not skipping:
            kept.append(line)
    return "\n".join(kept) + "\n"
