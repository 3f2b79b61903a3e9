"""A node of the RPM family: Debian's rpm and dnf rule in it, with a database of its own; Debian's own tools are hidden.

The database knows one package, `patchwave-lab-base`, which stands for all that is there already: a shell, Python, the
C library, and the release of the distribution.
"""

import os
import shutil
import stat
import subprocess
from pathlib import Path

from patchwave_lab.errors import LabError
from patchwave_lab.nodes.namespaces import make_directories, upper_path

TOOLS = ("rpm", "rpmbuild", "dnf")
#: What a node of the RPM family does not have.
HIDDEN = (
    *("/usr/bin/dpkg*", "/usr/sbin/dpkg*", "/usr/bin/apt*", "/usr/bin/debconf*", "/usr/bin/update-alternatives"),
    *("/usr/sbin/update-rc.d", "/usr/sbin/invoke-rc.d", "/usr/lib/apt", "/usr/share/dpkg"),
    *("/var/lib/dpkg", "/var/lib/apt", "/var/cache/apt", "/var/lib/dnf", "/var/cache/dnf"),
    *("/etc/apt", "/etc/dpkg", "/etc/debian_version", "/etc/os-release", "/etc/dnf/dnf.conf"),
    *("/usr/bin/yum", "/etc/rpm/macros"),
)
FILES = {
    "/etc/rpm/macros": "%_dbpath /var/lib/rpm\n",
    "/etc/dnf/dnf.conf": "[main]\ngpgcheck=1\ninstallonly_limit=3\nclean_requirements_on_remove=True\nbest=True\n"
    "reposdir=/etc/yum.repos.d\n",
}
BASE = """
Name: patchwave-lab-base
Version: {version}
Release: 1
Summary: What a node has that no package brought
License: none
Provides: bash, glibc, coreutils, python3, rpm, dnf, yum, config(setup), /bin/sh, /bin/bash, /usr/bin/sh, /usr/bin/bash
Provides: /usr/bin/python3, /usr/bin/env, /sbin/ldconfig, rtld(GNU_HASH), libc.so.6()(64bit), libm.so.6()(64bit)
Provides: libpthread.so.0()(64bit), libc.so.6(GLIBC_2.2.5)(64bit), libc.so.6(GLIBC_2.34)(64bit)
Provides: system-release = {version}, system-release(releasever) = {release}, {identity}-release = {version}
%description
See above.
%files
"""


class RpmRoot:
    """Makes nodes of the RPM family; `scratch` is a directory for the database that they begin with."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch

    def furnish(self, node: Path, identity: str, name: str, version: str) -> None:
        """Turn a node's directory into one of the distribution: its ID, NAME and VERSION_ID in /etc/os-release."""
        for pattern in HIDDEN:
            for path in Path("/").glob(pattern[1:]):
                _hide(node, path)
        for inner, text in {**FILES, "/etc/os-release": os_release(identity, name, version)}.items():
            _write(node, Path(inner), text)
        # Debian's dnf asks `yum` of nobody.
        _put(node, Path("/usr/bin/yum")).symlink_to("dnf")
        _own_directory(node, Path("/etc/yum.repos.d"))
        database = _own_directory(node, Path("/var/lib/rpm"))
        shutil.copytree(self._database(identity, version), database, dirs_exist_ok=True)

    def _database(self, identity: str, version: str) -> Path:
        """The database of a new node; made once for each distribution."""
        database = self._scratch / f"{identity}-{version}"
        if not database.exists():
            draft = self._scratch / "draft"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            spec = draft / "base.spec"
            release = version.partition(".")[0]
            spec.write_text(BASE.format(identity=identity, version=version, release=release))
            folders = [f"--define=_{name} {draft}" for name in ("topdir", "rpmdir")]
            _run(["rpmbuild", "-bb", "--quiet", *folders, str(spec)], draft)
            (built,) = draft.glob("*/*.rpm")
            made = draft / "rpm"
            _run(["rpm", "--dbpath", str(made), "--initdb"], draft)
            _run(["rpm", "--dbpath", str(made), "--install", "--justdb", "--force-debian", str(built)], draft)
            made.rename(database)
        return database


def os_release(identity: str, name: str, version: str) -> str:
    """The text of /etc/os-release."""
    like = {"amzn": "fedora", "rhel": "fedora", "rocky": "rhel centos fedora", "ubuntu": "debian"}.get(identity, "")
    return (
        f'NAME="{name}"\nVERSION="{version}"\nID="{identity}"\nID_LIKE="{like}"\nVERSION_ID="{version}"\n'
        f'PRETTY_NAME="{name} {version}"\n'
    )


def check() -> None:
    """Raise LabError where such a node cannot be made."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise LabError(
            f"a real node of the RPM family needs {', '.join(missing)} (Debian packages rpm and dnf); "
            "install it, or make the node virtual"
        )
    if os.geteuid() != 0:
        raise LabError("a real node of the RPM family needs root; run the lab as root, or make the node virtual")


def _run(command: list[str], home: Path) -> None:
    # rpm makes a database in the home directory on the way.
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{command[0]} failed: {' '.join(done.stderr.split())}")


def _put(node: Path, inner: Path) -> Path:
    """Where to write a file of a node, with nothing in the way."""
    make_directories(node, inner.parent)
    target = upper_path(node, inner)
    target.unlink(missing_ok=True)
    return target


def _write(node: Path, inner: Path, text: str) -> None:
    target = _put(node, inner)
    target.write_text(text)
    target.chmod(0o644)


def _own_directory(node: Path, inner: Path) -> Path:
    """Make a directory in which nothing shows of this machine's."""
    make_directories(node, inner)
    os.setxattr(upper_path(node, inner), "trusted.overlay.opaque", b"y")
    return upper_path(node, inner)


def _hide(node: Path, inner: Path) -> None:
    """Hide what this machine has there: a character device 0/0 in an overlay's upper directory."""
    os.mknod(_put(node, inner), stat.S_IFCHR, os.makedev(0, 0))
