# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.patchwave.aws.plugins.module_utils._core import software, spec
from ansible_collections.patchwave.aws.plugins.module_utils._core.software import check_definition

Change = tuple[tuple[str, ...], t.Any]


SOURCE = {"url": "https://example.com/a.tgz?sig=secret", "sha256": "a" * 64, "version": "1.2.3"}


def definition(*changes: Change) -> dict[str, t.Any]:
    good: dict[str, t.Any] = {
        "fixed_in": "1.2",
        "archive": dict(SOURCE),
        "dest": "/opt/tool",
        "probe": {"command": ["/opt/tool/current/tool"]},
        "health": {"command": ["true"]},
    }
    for path, value in changes:
        place = good
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    return good


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("archive", "url"), "ftp://example.com/a"),
        (("archive", "url"), "relative/a.tgz"),
        (("archive", "url"), "https://[oops/a.tgz"),
        (("archive", "url"), "file://host/a.tgz"),
        (("archive", "sha256"), "a" * 63),
        (("archive", "sha256"), "g" * 64),
        (("archive", "version"), "1.1"),
        (("archive", "version"), "../1.3"),
        (("archive", "version"), "current"),
        (("archive", "strip"), -1),
        (("archive", "preserve"), ["conf"]),  # with layout in_place alone
        (("archive",), {**SOURCE, "layout": "in_place", "remove": ["../x"]}),
        (("archive",), {**SOURCE, "layout": "in_place", "remove": ["/etc/x"]}),
        (("archive",), {**SOURCE, "layout": "in_place", "preserve": ["."]}),
        (("fixed_in",), "one"),
        (("fixed_in",), "1.2-mine1"),
        (("fixed_in",), "1.0.2za"),
        (("fixed_in",), "1.2+abcdef"),
        (("archive", "version"), "1.2-mine1"),
        (("archive", "version"), "1.2-3"),
        (("dest",), "opt/tool"),
        (("dest",), "/"),
        (("dest",), "/opt/../etc"),
        (("dest",), "/" + "x" * 300),
        (("state_dir",), "state"),
        (("probe", "command"), []),
        (("probe", "command"), [""]),
        (("probe", "command"), ["a\0b"]),
        (("probe", "pattern"), "("),
        (("probe", "pattern"), r"\d+"),
        (("probe", "pattern"), r"(\d+)\.(\d+)"),
        (("probe", "timeout"), 0),
        (("health", "command"), []),
        (("health", "retries"), -1),
        (("health", "delay"), -0.5),
        (("health", "delay"), float("nan")),
        (("health", "timeout"), 0),
        (("package_file",), {"url": "/a.deb", "sha256": "a" * 64, "version": "1.2"}),
        (("archive",), None),
        (("probe",), None),
        (("dest",), None),
        (("archive", "mirrors"), ["s3://bucket"]),
        (("archive", "mirrors"), ["ftp://example.com/secret"]),
        (("archive", "variants"), [{"architecture": "x86_64", "url": "ftp://secret", "sha256": "a" * 64}]),
        (("archive", "variants"), [{"architecture": "x86_64", "url": "/a", "sha256": "a"}]),
        (("archive", "variants"), [{"url": "/a", "sha256": "a" * 64}]),
        (("archive", "proxy"), "secret"),
        (("health",), {}),
        (("health",), {"command": ["true"], "port": 80}),
        (("health",), {"port": 0}),
        (("health",), {"port": 65536}),
        (("health",), {"http": {"url": "ftp://secret"}}),
        (("health",), {"http": {"url": "http://secret", "pattern": "("}}),
        (("services",), [{"name": "a/b"}]),
        (("services",), [{"name": "a"}, {"name": "a"}]),
        (("services",), [{"name": "a", "start": ["x"]}]),
        (("services",), [{"name": "a", "manager": "commands"}]),
        (("services",), [{"name": "a", "manager": "sysv", "start": ["x"], "stop": ["x"], "status": ["x"]}]),
        (("services",), [{"name": "a", "timeout": 0}]),
        (("latest_start",), "2026-11-22 04:00"),
        (("binary",), SOURCE),
        (("keep",), -1),
        (("archive", "links"), ["usr/local/bin/x"]),
        (("archive", "links"), ["/usr/../bin/x"]),
        (("archive",), {**SOURCE, "layout": "in_place", "links": ["/usr/local/bin/x"]}),
        (("archive", "outside_links"), ["../etc/x"]),
        (("archive", "outside_links"), ["/*"]),
        (("lock_timeout",), -1),
    ],
)
def test_one_wrong_option_gives_one_problem_that_names_it(path: tuple[str, ...], value: object) -> None:
    problems = check_definition("tool", definition((path, value)))
    keys = [key for key, dummy in problems]
    assert len(keys) == 1
    assert keys[0].startswith(".".join(path))
    if path == ("package_file",):
        assert problems[0][1].startswith("archive and package_file given; ")
    assert "secret" not in problems[0][1]


def test_a_good_definition_has_no_problem_with_or_without_defaults() -> None:
    assert check_definition("tool", definition()) == []
    filled = {key: option["default"] for key, option in software.DEFINITION.items() if "default" in option}
    assert check_definition("tool", dict(definition(), **filled)) == []


def packaged(**changes: t.Any) -> dict[str, t.Any]:
    source = {"url": "/a.deb", "sha256": "a" * 64, "version": "2:1.2-3~deb12u1", **changes}
    return {"fixed_in": "2:1.2-3~deb12u1", "package_file": source}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, None),
        ({"version": "1.3"}, "package_file.version"),  # fixed_in has an epoch
        ({"url": "/a", "version": "1.3"}, "package_file.version"),  # whatever the node's family is
        ({"version": "3:1.0"}, None),
        ({"url": "/a.rpm", "version": "2:1.3"}, "package_file.version"),  # fixed_in has a release
        ({"url": "/a.rpm", "version": "2:1.2-3"}, "package_file.version"),  # as rpm sees it, 3~ is before 3
        ({"url": "/a.rpm", "version": "2:1.2-3~deb12u1"}, None),
        ({"url": "/a", "version": "not a version"}, "package_file.version"),
        ({"package": "a b"}, "package_file.package"),
        ({"url": "s3://bucket/a.deb", "mirrors": ["s3://other/a.deb"]}, None),
        ({"url": "s3://a.deb"}, "package_file.url"),
        ({"timeout": 0}, "package_file.timeout"),
    ],
)
def test_versions_of_packages_compare_by_their_own_rules(changes: dict[str, t.Any], key: str | None) -> None:
    found = [path for path, dummy in check_definition("tool", packaged(**changes))]
    if changes.get("version") == "2:1.2-3":
        found = [path for path, dummy in check_definition("tool", dict(packaged(**changes), fixed_in="2:1.2-3^git"))]
    assert found == ([key] if key else [])


@pytest.mark.parametrize(
    ("versioning", "fixed_in", "version", "says"),
    [
        ("auto", "1.2.3", "1.2.3+k3s2", None),
        ("auto", "1.2.3+k3s2", "1.2.3+k3s2", None),
        ("auto", "1.2.3-IF1", "1.2.3-IF2", None),
        ("auto", "2.17.1.redhat-00002", "2.17.1.redhat-00002", None),
        ("auto", "42.2.5.jre7", "42.2.5.jre7", None),
        ("auto", "1.1.1u", "1.1.1u", None),
        ("auto", "1.2", "1.3-mine1", None),  # the numbers decide
        ("openssl", "1.0.2za", "1.0.2zb", None),
        ("java", "8u202", "1.8.0_202", None),
        ("java", "11.0.2+9", "11.0.2+9.1", None),
        ("openssl", "1.1.1t", "1.1.1p", "archive.version: 1.1.1p is still vulnerable: lower than fixed_in 1.1.1t"),
        ("java", "8u202", "8u191", "archive.version: 8u191 is still vulnerable: lower than fixed_in 8u202"),
        (
            "auto",
            "1.0.2za",
            "1.0.2za",
            "fixed_in: nothing can be compared with 1.0.2za: 'za' is no word that the rule dotted knows; "
            "leave that out or set versioning",
        ),
        (
            "semver",
            "1.2.3+k3s2",
            "1.2.3+k3s2",
            "fixed_in: nothing can be compared with 1.2.3+k3s2: semver has no order for builds, which is what "
            "follows +; dotted has; leave that out or set versioning",
        ),
        (
            "auto",
            "1.2.3+k3s2",
            "1.2.3",
            "archive.version: 1.2.3 and 1.2.3+k3s2 have no order: only one says which build it is (k3s2); "
            "write it as fixed_in is written, or set versioning",
        ),
        (
            "auto",
            "8u202",
            "1.8.0_202",
            "archive.version: 1.8.0_202 and 8u202 have no order: 1.8.0_202 looks like Java's, whose rule is java; "
            "write it as fixed_in is written, or set versioning",
        ),
        (
            "java",
            "8.392.08.1",
            "8u402",
            "fixed_in: must be a version of at most 64 characters, such as 1.36.0 (versioning java)",
        ),
    ],
)
def test_what_a_rule_cannot_place_is_refused_before_anything_is_sent(
    versioning: str, fixed_in: str, version: str, says: str | None
) -> None:
    given = definition((("versioning",), versioning), (("fixed_in",), fixed_in), (("archive", "version"), version))
    found = ["{}: {}".format(*problem) for problem in check_definition("tool", given)]
    assert found == ([] if says is None else [says])


KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, None),
        ({"url": "ftp://example.com"}, "package.repository.url"),
        ({"url": "https://example.com/ [trusted=yes]"}, "package.repository.url"),
        ({"key": "none"}, "package.repository.key"),
        ({"suite": "a b"}, "package.repository"),
        ({"components": ["main", "[x]"]}, "package.repository"),
    ],
)
def test_a_repository_cannot_say_more_than_where_it_is(changes: dict[str, t.Any], key: str | None) -> None:
    repository = {"url": "https://example.com/debian", "suite": "stable", "key": KEY, **changes}
    package = {"fixed_in": "1:2-3", "package": {"version": "1:2-3", "repository": repository}}
    assert [path for path, dummy in check_definition("tool", package)] == ([key] if key else [])


KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n...\n-----END PGP PUBLIC KEY BLOCK-----"
SIGNATURE = "-----BEGIN PGP SIGNATURE-----\n...\n-----END PGP SIGNATURE-----"
OTHER = {"architecture": "aarch64", "url": "/b", "sha256": "b" * 64}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"signature": SIGNATURE, "public_key": KEY}, None),
        ({"signature": SIGNATURE}, "package_file"),
        ({"public_key": KEY}, "package_file"),
        ({"signature": SIGNATURE, "public_key": SIGNATURE}, "package_file.public_key"),
        ({"signature": KEY, "public_key": KEY}, "package_file.signature"),
        ({"signature": SIGNATURE, "public_key": KEY, "variants": [OTHER]}, "package_file.variants[0]"),
        ({"signature": SIGNATURE, "public_key": KEY, "variants": [{**OTHER, "signature": SIGNATURE}]}, None),
        ({"variants": [{**OTHER, "signature": SIGNATURE}]}, "package_file.variants[0]"),
    ],
)
def test_each_file_is_signed_or_none(changes: dict[str, t.Any], key: str | None) -> None:
    found = [path for path, dummy in check_definition("tool", packaged(**changes))]
    assert found == ([] if key is None else [key])


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../a", "a b", "x" * 65, "a\n", None])
def test_a_name_that_is_no_safe_file_name_is_refused(name: object) -> None:
    assert [key for key, dummy in check_definition(name, definition())] == ["name"]


@pytest.mark.parametrize("empty", [{"archive": {}}, {"archive": 7, "fixed_in": 1.1, "keep": "one"}])
def test_what_the_argument_spec_says_is_left_to_it(empty: dict[str, t.Any]) -> None:
    assert check_definition("tool", dict(empty, dest=3, probe=3)) == []


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, None),
        ({"name": "lib/*.jar"}, "files.name"),
        ({"paths": ["opt"]}, "files.paths[0]"),
        ({"paths": ["/opt", "/opt/../etc"]}, "files.paths[1]"),
        ({"vulnerable": [{"sha256": "x", "version": "2.14.1"}]}, "files.vulnerable[0].sha256"),
        ({"vulnerable": [{"sha256": "a" * 64, "version": "2.17.1"}]}, "files.vulnerable[0].version"),
        ({"vulnerable": [{"sha256": "a" * 64, "version": "none"}]}, "files.vulnerable[0].version"),
        ({"vulnerable": [{"sha256": "a" * 64, "version": "2.17.1-mine1"}]}, "files.vulnerable[0].version"),
    ],
)
def test_files_are_searched_by_sane_rules(changes: dict[str, t.Any], key: str | None) -> None:
    files = {"url": "/new.jar", "sha256": "a" * 64, "version": "2.17.1", "paths": ["/opt"], "name": "l*.jar", **changes}
    assert [path for path, dummy in check_definition("l", {"fixed_in": "2.17.1", "files": files})] == (
        [key] if key else []
    )
    installing = {"fixed_in": "2.17.1", "files": dict(files, **changes), "install_missing": True}
    assert "install_missing" in [path for path, dummy in check_definition("l", installing)]


def test_every_example_of_the_page_is_a_good_definition() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "software.md").read_text()
    kinds = []
    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        for name, example in yaml.safe_load(block).items():
            if name != "services":
                assert spec.problems(software.DEFINITION, example, name) == []
                assert check_definition(name, example) == []
                kinds.append(software.kind_of(example))
    assert list(dict.fromkeys(kinds)) == list(software.KINDS)
