# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node does about the version that it finds."""

from __future__ import annotations

import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.patchwave.aws.plugins.module_utils._core.schemes import SCHEMES
from ansible_collections.patchwave.aws.plugins.module_utils._node import software
from ansible_collections.patchwave.aws.plugins.module_utils._node.commands import Commands
from ansible_collections.patchwave.aws.plugins.module_utils._node.disk import Disk
from ansible_collections.patchwave.aws.plugins.module_utils._node.errors import PatchError

from .test_node_transaction import Node, pretend

WHOLE = r"tool (\S+)"


@pytest.mark.parametrize(
    ("versioning", "pattern", "old", "new"),
    [
        ("auto", "", "1.1.1t", "1.1.1u"),
        ("auto", "", "8.2.0RC7", "8.2.0"),
        ("auto", "", "10.1.0-M17", "10.1.0"),
        ("auto", "", "2.0-SNAPSHOT", "2.0"),
        ("auto", "", "9.0.5", "9.0.5-IF1"),
        ("auto", "", "2.17.1.redhat-00001", "2.17.1.redhat-00002"),
        ("auto", "", "1.27.3+k3s1", "1.27.3+k3s2"),
        ("auto", "", "10.0.1+security-01", "10.0.1+security-02"),
        ("openssl", "", "1.0.2u", "1.0.2za"),
        ("java", WHOLE, "1.8.0_191", "8u202"),
        ("java", WHOLE, "11.0.2+9", "11.0.2+9.1"),
    ],
)
def test_an_old_version_is_patched_whatever_its_marks(
    tmp_path: Path, versioning: str, pattern: str, old: str, new: str
) -> None:
    node = Node(tmp_path / "node").install(old)
    params = node.params(new, versioning=versioning)
    params["probe"]["pattern"] = pattern or params["probe"]["pattern"]
    result = node.run(params)
    assert (result["outcome"], result["version_before"], result["version_after"]) == ("patched", old, new), result
    assert node.run(params)["outcome"] == "current"


@pytest.mark.parametrize(
    ("versioning", "pattern", "old", "says"),
    [
        (
            "auto",
            "",
            "1.2.3-mine1",
            "1.2.3-mine1 and 1.2.3 have no order: 'mine1' is no word that the rule dotted knows",
        ),
        ("auto", "", "1.2.3-4", "1.2.3-4 and 1.2.3 have no order: a number behind a hyphen"),
        ("auto", "", "1.2.3 RC1", "cannot tell which version 'tool 1.2.3 RC1' means; set probe.pattern"),
        ("auto", "", "14.14 Distrib 1.2.4", "cannot tell which is the version: 14.14 or 1.2.4; set probe.pattern"),
        ("auto", "", "5:1.2.4", "check probe.pattern"),
        ("dpkg", "", "5:1.2.2", "5:1.2.2 and 1.2.3 have no order: 5:1.2.2 has an epoch and 1.2.3 has none"),
        ("rpm", WHOLE, "1:1.2.2-1", "1:1.2.2-1 and 1.2.3 have no order: 1:1.2.2-1 has an epoch and 1.2.3 has none"),
        ("openssl", WHOLE, "1.2.3-mine", "check probe.pattern"),
    ],
)
def test_a_version_that_has_no_place_is_a_failure_and_the_node_stays_as_it_was(
    tmp_path: Path, versioning: str, pattern: str, old: str, says: str
) -> None:

    def prints(argv: list[str], **dummy: t.Any) -> tuple[int, str, str]:
        return 0, f"tool {old}\n", ""

    node = Node(tmp_path / "node").install("1.0")
    params = node.params("1.2.3", versioning=versioning)
    params["probe"]["pattern"] = pattern or params["probe"]["pattern"]
    before = node.tree()
    for check_mode in (True, False):
        result = node.run(params, check_mode=check_mode, run_command=prints)
        assert (result["outcome"], result["reason"], result["changed"]) == ("failed", "probe_failed", False)
        assert says in result["msg"]
    assert node.tree() == before


@pytest.mark.parametrize(
    ("whole", "node", "wanted", "order"),
    [
        (True, "5:24.0.5-1", "5:24.0.6-1", -1),
        (True, "18.06.3-3", "5:24.0.6-1", -1),  # the database says that there is no epoch
        (True, "24.0.7-1", "24.0.6-1", 1),
        (True, "5:24.0.5-1", "24.0.6-1", None),
        (False, "18.06.3-3", "5:24.0.6-1", None),
    ],
)
@pytest.mark.parametrize("family", ["dpkg", "rpm"])
def test_an_epoch_that_one_side_leaves_out_is_no_zero(
    family: str, whole: bool, node: str, wanted: str, order: int | None
) -> None:
    place = software._placing(SCHEMES[family], whole)
    if order is None:
        with pytest.raises(PatchError) as caught:
            place(node, wanted)
        assert caught.value.reason == "probe_failed"
        assert f"set probe.pattern or versioning (now {family})" in caught.value.message
    else:
        assert place(node, wanted) == order


@pytest.mark.parametrize("family", ["dpkg", "rpm"])
@pytest.mark.parametrize("probe", [None, {"command": ["docker", "--version"]}])
def test_only_what_a_package_database_says_has_no_epoch_for_sure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, family: str, probe: dict[str, t.Any] | None
) -> None:
    """A program's own output leaves the epoch out."""

    def kinds(*dummy: t.Any) -> dict[str, t.Any]:
        return {"package": lambda: SimpleNamespace(family=family, sought="package docker-ce")}

    made: dict[str, t.Any] = {}
    monkeypatch.setattr(software, "_kinds", kinds)
    monkeypatch.setattr(software, "Patch", lambda **parts: made.update(parts) or SimpleNamespace(run=lambda: None))
    node = Node(tmp_path / "node")
    params = node.params("1.2", fixed_in="5:24.0.6-1", package={"version": "5:24.0.6-1"}, probe=probe)
    software._patch(dict(params, archive=None), Commands(pretend), Disk(), None, t.cast("t.Any", None), False)
    if probe is None:
        assert made["settings"].compare("18.06.3-3", "5:24.0.6-1") == -1
    else:
        with pytest.raises(PatchError):
            made["settings"].compare("18.06.3-3", "5:24.0.6-1")


def test_what_is_wrong_for_the_node_s_own_packages_is_told_before_they_are_asked() -> None:
    for family, fixed_in, version in (("rpm", "1.2-3", "1.2"), ("dpkg", "1.2", "1.2~rc1"), ("dpkg", "1.2", "1.2^git")):
        kind = t.cast("t.Any", SimpleNamespace(family=family))
        with pytest.raises(PatchError) as caught:
            software._scheme({"fixed_in": fixed_in, "package": {"version": version}}, kind)
        assert caught.value.reason == "bad_definition"
        assert caught.value.message.startswith("package.version: ")


def test_the_lowest_of_vulnerable_versions_is_found_where_they_have_no_order() -> None:
    compare = software._lowest(SCHEMES["dotted"])
    assert compare("1.2.jre7", "1.2.jre8") == -compare("1.2.jre8", "1.2.jre7") == -1
    assert compare("1.9", "1.10") == -1
