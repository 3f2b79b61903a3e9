# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What package managers print and write, in the words of releases that no node of the tests has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._node import package_holds
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk
from ansible_collections.patchwave.aws.plugins.module_utils._node.repository import is_signed
from ansible_collections.patchwave.aws.plugins.module_utils._node.saved_files import SavedFiles

FILE = "/var/pgp: signatures OK/x-1.rpm"


@pytest.mark.parametrize(
    ("words", "signed"),
    [
        ("digests signatures OK", True),
        ("digests SIGNATURES NOT OK", False),
        ("digests OK", False),
        ("rsa sha1 (md5) pgp md5 OK", True),
        ("(sha1) dsa sha1 md5 gpg OK", True),
        ("sha1 md5 OK", False),
        ("RSA sha1 ((MD5) PGP) md5 NOT OK (MISSING KEYS: (MD5) PGP#1234abcd)", False),
        ("rsa sha1 (MD5) PGP MD5 NOT OK", False),
    ],
)
def test_rpm_says_in_two_ways_that_a_package_is_signed(words: str, signed: bool) -> None:
    assert is_signed(f"warning: something\n{FILE}: {words}\n", FILE) is signed


def test_another_file_that_is_signed_proves_nothing() -> None:
    assert not is_signed("/other.rpm: digests signatures OK\n", FILE)
    assert not is_signed("", FILE)


@pytest.mark.parametrize(
    ("path", "text", "held"),
    [
        ("etc/dnf/plugins/versionlock.list", "# pw-tool\npw-tool-0:1.9-1.*\n", True),
        ("etc/yum/pluginconf.d/versionlock.list", "0:pw-tool-1.9-1.*\n", True),
        ("etc/dnf/plugins/versionlock.list", "pw-tool-extra-0:1.9-1.*\npw-0:1-1.*\n", False),
        ("etc/dnf/plugins/versionlock.list", "!pw-tool-0:1.10-*.*\n", True),
        ("etc/dnf/plugins/versionlock.list", "!pw-tool-0:1.11-1.*\n", False),
        ("etc/dnf/plugins/versionlock.list", "pw-*\n", True),
        ("etc/dnf/versionlock.toml", 'version = "1.0"\n[[packages]]\nname = "pw-tool"\n', True),
        ("etc/dnf/dnf.conf", "[main]\ngpgcheck=1\nexclude=kernel*, pw-tool\n", True),
        ("etc/yum.conf", "[main]\nexclude=pw-t*.x86_64 other\n", True),
        ("etc/dnf/dnf.conf", "[main]\nexcludepkgs=pw-tool-lib-extra pw\n", False),
        ("etc/dnf/dnf.conf", "no configuration", False),
        ("etc/zypp/locks", "\ntype: package\nmatch_type: glob\nsolvable_name: pw-tool\n", True),
        ("etc/zypp/locks", "type: package\nsolvable_name: pw-tools\n", False),
    ],
)
def test_files_that_hold_a_package(tmp_path: Path, path: str, text: str, held: bool) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    assert package_holds.held("pw-tool", "1.10-1", str(tmp_path)) == (f"/{path}" if held else "")


def test_files_come_back_as_they_were_but_for_content(tmp_path: Path) -> None:
    saved = SavedFiles(Disk(), "secret")
    (tmp_path / "folder").mkdir(mode=0o750)
    file, link = tmp_path / "folder/file", tmp_path / "folder/link"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to("file")
    paths = [str(path) for path in (file, link, tmp_path / "folder", tmp_path / "none", tmp_path / "no/such")]
    before = saved.look(paths)
    assert saved.are_same(before)
    saved.save(str(file), str(tmp_path / "copy"))
    file.unlink()
    file.write_text("new")
    file.chmod(0o4755)
    link.unlink()
    link.symlink_to("elsewhere")
    (tmp_path / "none").mkdir()
    (tmp_path / "folder").chmod(0o777)
    assert not saved.are_same(before)
    saved.put(str(tmp_path / "copy"), str(file), before[str(file)])
    saved.restore(before)
    assert (file.read_text(), file.stat().st_mode & 0o7777, os.readlink(link)) == ("old", 0o640, "file")
    assert ((tmp_path / "folder").stat().st_mode & 0o7777, (tmp_path / "none").exists()) == (0o750, False)
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["file", "link"]


def test_a_link_in_the_place_of_a_folder_leads_nowhere(tmp_path: Path) -> None:
    """Its owner may put it there after the folder was looked at."""
    saved = SavedFiles(Disk(), "secret")
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        (tmp_path / name / "file").chmod(0o600)
    path = str(tmp_path / "theirs/file")
    before = saved.look([path])
    saved.save(path, str(tmp_path / "copy"))
    (tmp_path / "theirs").rename(tmp_path / "away")
    (tmp_path / "theirs").symlink_to("ours")
    (tmp_path / "ours/file").chmod(0o644)
    saved.restore(before)
    with pytest.raises(OSError, match="Not a directory"):
        saved.put(str(tmp_path / "copy"), path, before[path])
    assert ((tmp_path / "ours/file").read_text(), (tmp_path / "ours/file").stat().st_mode & 0o777) == ("ours", 0o644)


def test_what_a_killed_run_left_beside_a_file_goes(tmp_path: Path) -> None:
    file, copy = tmp_path / "file", tmp_path / "copy"
    copy.write_text("old")

    class Killed(Disk):
        def step(self, label: str) -> None:
            if label.startswith("switch"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SavedFiles(Killed(), "secret").put(str(copy), str(file), None)
    assert len(list(tmp_path.iterdir())) == 2
    SavedFiles(Disk(), "secret").put(str(copy), str(file), None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "file"]
