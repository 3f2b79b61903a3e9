# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""The checks of a software definition that an argument spec cannot say."""

from __future__ import annotations

import posixpath
import re
import typing as t
import urllib.parse

from . import moments
from .schemes import SCHEMES, Scheme, epochs_agree

#: Key path and message.
Problem = t.Tuple[str, str]

Definition = t.Mapping[str, t.Any]

#: Kinds that know their version without a probe.
_SELF_PROBING = ("package_file", "package", "files")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}\Z")
_URL = re.compile(r"(s3://[^/\s]+/.|https?://[^/\s]|file:///|/)")
_SERVICE = re.compile(r"[A-Za-z0-9@_][A-Za-z0-9@_.:\\-]{0,127}\Z")
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,127}\Z")
_MINIMUMS = {
    ("keep",): 0,
    ("lock_timeout",): 0,
    ("archive", "strip"): 0,
    ("package_file", "lock_timeout"): 0,
    ("package_file", "timeout"): 1,
    ("installer", "timeout"): 1,
    ("command", "timeout"): 1,
    ("package", "lock_timeout"): 0,
    ("package", "timeout"): 1,
    ("probe", "timeout"): 1,
    ("health", "timeout"): 1,
    ("health", "retries"): 0,
    ("health", "delay"): 0,
    ("health", "port"): 1,
}
_COMMANDS = (
    ("probe", "command"),
    ("health", "command"),
    ("installer", "undo"),
    ("command", "command"),
    ("command", "undo"),
)
_RUN_AS = (("probe", "run_as"), ("health", "run_as"), ("installer", "run_as"), ("command", "run_as"))
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63}\$?\Z")
_MAX_PATH = 200


def problems(definition: Definition, kinds: t.Sequence[str]) -> t.Iterator[Problem]:
    """List what is wrong with a definition; see software.check_definition()."""
    given = [kind for kind in kinds if definition.get(kind) is not None]
    if len(given) != 1:
        found = "and ".join(kind + " " for kind in given) or "none "
        yield (
            given[1] if given else kinds[0],
            "{0}given; a definition has exactly one of {1}".format(found, ", ".join(kinds)),
        )
    for kind in given:
        yield from _source_problems(definition, kind)
        yield from _signature_problems(definition[kind], kind)
        yield from _version_problems(definition, kind)
        yield from _repository_problems(_get(definition, kind, "repository"), kind + ".repository")
    yield from _needed_problems(definition, given)
    yield from _vulnerable_problems(definition)
    yield from _layout_problems(_get(definition, "archive"))
    yield from _link_problems(_get(definition, "archive"))
    yield from _path_problems(definition)
    yield from _command_problems(definition)
    yield from _health_problems(definition)
    yield from _service_problems(definition)
    if isinstance(_get(definition, "latest_start"), str) and not moments.is_moment(definition["latest_start"]):
        yield "latest_start", "must be a moment with its zone, such as 2026-11-22T04:00:00Z"
    for path, minimum in _MINIMUMS.items():
        value = _get(definition, *path)
        if isinstance(value, (int, float)) and not value >= minimum:
            yield ".".join(path), "must be {0} or more".format(minimum)


def scheme_of(definition: Definition, family: str = "") -> t.Optional[Scheme]:
    """Return how versions of this definition compare, or nothing when only the node can tell.

    Args:
        definition: the software definition.
        family: C(dpkg) or C(rpm) where the node's is known.
    """
    name = definition.get("versioning") or "auto"
    if name == "auto":
        name = "dotted"
        if definition.get("package_file") or definition.get("package"):
            name = family or _family(definition)
    return SCHEMES.get(name)


def _family(definition: Definition) -> str:
    form = _get(definition, "package_file", "format") or "auto"
    path = str(_get(definition, "package_file", "url") or "").partition("?")[0]
    if form == "auto":
        form = path.rpartition(".")[2]
    return {"deb": "dpkg", "rpm": "rpm"}.get(form, "")


def _source_problems(definition: Definition, kind: str) -> t.Iterator[Problem]:
    """Judge URLs and checksums."""
    source = definition[kind]
    if not isinstance(source, dict):
        return
    yield from _url_problems(source, kind)
    for index, mirror in enumerate(_list(source, "mirrors")):
        yield from _url_problems({"url": mirror}, "{0}.mirrors[{1}]".format(kind, index))
    for index, variant in enumerate(_list(source, "variants")):
        where = "{0}.variants[{1}]".format(kind, index)
        if isinstance(variant, dict):
            yield from _url_problems(variant, where)
            if not variant.get("architecture") and not variant.get("platform"):
                yield where, "needs architecture or platform"
    proxy = source.get("proxy")
    if isinstance(proxy, str) and not re.match(r"https?://[^/\s]", proxy):
        yield kind + ".proxy", "must begin with http:// or https://"
    name = source.get("package")
    if isinstance(name, str) and not _PACKAGE.match(name):
        yield kind + ".package", "must be the name of a package"


def _signature_problems(source: t.Any, where: str) -> t.Iterator[Problem]:
    """Judge signatures: with a key each file has one, and one without a key proves nothing."""
    if not isinstance(source, dict):
        return
    key = source.get("public_key")
    if isinstance(key, str) and not _is_armored(key, "PUBLIC KEY BLOCK"):
        yield where + ".public_key", "must be a public key in ASCII, as gpg --armor --export prints it"
    files = [(where, source)]
    files += [("{0}.variants[{1}]".format(where, n), file) for n, file in enumerate(_list(source, "variants"))]
    for path, signature in ((path, _get(file, "signature")) for path, file in files):
        if (signature is None) != (key is None):
            yield path, "needs public_key and signature, both"
        elif isinstance(signature, str) and not _is_armored(signature, "SIGNATURE"):
            yield path + ".signature", "must be a detached signature in ASCII, as gpg --armor --detach-sign makes it"


def _is_armored(text: str, what: str) -> bool:
    return all("-----{0} PGP {1}-----".format(end, what) in text for end in ("BEGIN", "END"))


def _vulnerable_problems(definition: Definition) -> t.Iterator[Problem]:
    files = _get(definition, "files") or {}
    scheme, fixed = scheme_of(definition) or SCHEMES["dotted"], _get(definition, "fixed_in")
    for index, entry in enumerate(_list(files, "vulnerable")):
        where = "files.vulnerable[{0}]".format(index)
        sha256, version = _get(entry, "sha256"), _get(entry, "version")
        if isinstance(sha256, str) and not _SHA256.match(sha256):
            yield where + ".sha256", "must be 64 hexadecimal digits"
        if isinstance(version, str) and not scheme.is_version(version):
            yield where + ".version", "must be a version of at most 64 characters, such as 1.36.0"
        elif isinstance(version, str) and scheme.is_version(fixed):
            yield from _below(where + ".version", version, fixed, scheme)
    yield from _accepted_problems(files)
    for key in ("paths", "exclude"):
        for index, path in enumerate(_list(files, key)):
            if isinstance(path, str) and (not path.startswith("/") or ".." in path.split("/")):
                yield "files.{0}[{1}]".format(key, index), "must be an absolute path without '..'"
    if isinstance(files.get("name"), str) and ("/" in files["name"] or not files["name"]):
        yield "files.name", "must be the glob of a file name, such as log4j-core-*.jar"
    if files and definition.get("install_missing"):
        yield "install_missing", "does not fit files, which are only replaced"


def _accepted_problems(files: Definition) -> t.Iterator[Problem]:
    bad = {str(_get(entry, "sha256")).lower() for entry in _list(files, "vulnerable")}
    for index, sha256 in enumerate(_list(files, "accepted")):
        where = "files.accepted[{0}]".format(index)
        if isinstance(sha256, str) and not _SHA256.match(sha256):
            yield where, "must be 64 hexadecimal digits"
        elif isinstance(sha256, str) and sha256.lower() in bad:
            yield where, "is in files.vulnerable too"


def _layout_problems(archive: t.Any) -> t.Iterator[Problem]:
    for key in ("preserve", "remove") if isinstance(archive, dict) else ():
        globs = _list(archive, key)
        if globs and archive.get("layout") != "in_place":
            yield "archive." + key, "needs layout in_place"
        for index, glob in enumerate(globs):
            if isinstance(glob, str) and (not glob.strip("/.") or glob.startswith("/") or ".." in glob.split("/")):
                yield "archive.{0}[{1}]".format(key, index), "must be a glob below dest, without '..'"


def _link_problems(archive: t.Any) -> t.Iterator[Problem]:
    """Judge paths of links: those to move, and those that links of the archive may hold."""
    for key in ("links", "outside_links") if isinstance(archive, dict) else ():
        for index, path in enumerate(_list(archive, key)):
            if isinstance(path, str) and (
                not path.startswith("/") or ".." in path.split("/") or not path.strip("/*") or not path.isprintable()
            ):
                yield "archive.{0}[{1}]".format(key, index), "must be an absolute path without '..'"
    if isinstance(archive, dict) and _list(archive, "links") and archive.get("layout") == "in_place":
        yield "archive.links", "does not fit layout in_place, which leaves paths as they are"


def _repository_problems(repository: t.Any, where: str) -> t.Iterator[Problem]:
    """Judge a repository; its parts become lines of a package manager's own files."""
    url, key = _get(repository, "url"), _get(repository, "key")
    if isinstance(url, str) and not re.match(r"(https?|file)://[^\s\[\]]+\Z", url):
        yield where + ".url", "must begin with https://, http:// or file:// and hold no space or bracket"
    if isinstance(key, str) and "-----BEGIN PGP PUBLIC KEY BLOCK-----" not in key:
        yield where + ".key", "must be a public key in ASCII, as gpg --armor --export prints it"
    words = [_get(repository, "suite"), *_list(repository or {}, "components")]
    if any(isinstance(word, str) and not re.match(r"[A-Za-z0-9][A-Za-z0-9._/-]*\Z", word) for word in words):
        yield where, "suite and components must be words of letters, digits and ._/-"


def _url_problems(source: t.Mapping[str, t.Any], where: str) -> t.Iterator[Problem]:
    url, sha256 = source.get("url"), source.get("sha256")
    key = where if where.endswith("]") and "sha256" not in source else where + ".url"
    if isinstance(url, str) and not _is_url(url):
        yield key, "must be s3://BUCKET/KEY, https://, http:// or file:/// or an absolute path"
    if isinstance(sha256, str) and not _SHA256.match(sha256):
        yield where + ".sha256", "must be 64 hexadecimal digits"


def _below(where: str, version: str, fixed: str, scheme: Scheme) -> t.Iterator[Problem]:
    try:
        if scheme.place(version, fixed) >= 0:
            yield where, "{0} is not vulnerable: fixed_in is {1}".format(version, fixed)
    except ValueError as error:
        yield where, "{0}; write it as fixed_in is written".format(error)


def _version_problems(definition: Definition, kind: str) -> t.Iterator[Problem]:
    scheme = scheme_of(definition)
    fixed, version = _get(definition, "fixed_in"), _get(definition, kind, "version")
    good = True
    for path, value in (("fixed_in", fixed), (kind + ".version", version)):
        judges = [scheme or SCHEMES["rpm"]] + [SCHEMES["dotted"]] * (kind == "archive")
        if not isinstance(value, str):
            good = False
        elif not all(judge.is_version(value) for judge in judges):
            good = False
            message = "must be a version of at most 64 characters, such as 1.36.0"
            yield path, message if scheme is None else "{0} (versioning {1})".format(message, scheme.name)
    if good:
        yield from bound_problems(fixed, version, kind + ".version", scheme)


def bound_problems(fixed: str, version: str, key: str, scheme: t.Optional[Scheme]) -> t.Iterator[Problem]:
    """Judge what nodes are measured by: each version must have a place beside it.

    Args:
        fixed: C(fixed_in) of the definition.
        version: the version that it brings.
        key: where C(version) is.
        scheme: how they compare; without it only what packages of all families have in common is judged.
    """
    vague = scheme.vague(fixed) if scheme else ""
    if vague:
        yield "fixed_in", "nothing can be compared with {0}: {1}; leave that out or set versioning".format(fixed, vague)
        return
    try:
        order = scheme.place(version, fixed) if scheme else epochs_agree(version, fixed)
    except ValueError as error:
        yield key, "{0}; write it as fixed_in is written, or set versioning".format(error)
        return
    if order < 0:
        yield key, "{0} is still vulnerable: lower than fixed_in {1}".format(version, fixed)


def _needed_problems(definition: Definition, given: t.Sequence[str]) -> t.Iterator[Problem]:
    for kind in [kind for kind in ("archive", "binary") if kind in given and definition.get("dest") is None]:
        yield "dest", "is required with {0} and missing".format(kind)
    if definition.get("probe") is None and not any(kind in _SELF_PROBING for kind in given):
        yield "probe", "is required and missing"


def _list(source: t.Mapping[str, t.Any], key: str) -> t.List[t.Any]:
    value = source.get(key)
    return value if isinstance(value, list) else []


def _get(definition: t.Any, *path: str) -> t.Any:
    for key in path:
        definition = definition.get(key) if isinstance(definition, dict) else None
    return definition


def _is_url(url: str) -> bool:
    try:
        urllib.parse.urlsplit(url)
    except ValueError:
        return False
    return _URL.match(url) is not None and url.isprintable()


def _path_problems(definition: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    for key in ("dest", "state_dir"):
        path = _get(definition, key)
        if not isinstance(path, str):
            continue
        if not path.startswith("/") or ".." in path.split("/") or not path.isprintable():
            yield key, "must be an absolute path without '..'"
        elif posixpath.normpath(path) in ("/", "//"):
            yield key, "must not be the root folder"
        elif len(ascii(path)) - 2 > _MAX_PATH:
            yield key, "must be at most {0} characters, with those beyond ASCII written as escapes".format(_MAX_PATH)


def _command_problems(definition: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    for path in _COMMANDS:
        command = _get(definition, *path)
        if isinstance(command, list) and not (command and command[0]):
            yield ".".join(path), "must name a program"
        elif isinstance(command, list) and any("\0" in str(part) for part in command):
            yield ".".join(path), "must not hold a NUL character"
    for path in _RUN_AS:
        yield from _user_problems(_get(definition, *path), ".".join(path))
    if _get(definition, "health", "run_as") is not None and not _get(definition, "health", "command"):
        yield "health.run_as", "needs health.command"
    pattern = _get(definition, "probe", "pattern")
    if isinstance(pattern, str):
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            yield "probe.pattern", "is no regular expression: {0}".format(error)
        else:
            if groups != 1:
                yield "probe.pattern", "must have exactly one group, around the version"


def _user_problems(name: t.Any, where: str) -> t.Iterator[Problem]:
    if isinstance(name, str) and not _USER.match(name):
        yield where, "must be the name of a user"


def _health_problems(definition: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    health = _get(definition, "health")
    if not isinstance(health, dict):
        return
    given = [key for key in ("command", "http", "port") if health.get(key) is not None]
    if len(given) != 1:
        yield "health", "needs exactly one of command, http and port, not {0}".format(" and ".join(given) or "none")
    url, port = _get(health, "http", "url"), health.get("port")
    if isinstance(url, str) and not re.match(r"https?://[^/\s]", url):
        yield "health.http.url", "must begin with http:// or https://"
    if isinstance(port, int) and port > 65535:
        yield "health.port", "must be 65535 or less"
    pattern = _get(health, "http", "pattern")
    if isinstance(pattern, str):
        try:
            re.compile(pattern)
        except re.error as error:
            yield "health.http.pattern", "is no regular expression: {0}".format(error)


def _service_problems(definition: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    services = _get(definition, "services")
    names = []  # type: t.List[str]
    for index, service in enumerate(services if isinstance(services, list) else []):
        where = "services[{0}]".format(index)
        name = _get(service, "name")
        if isinstance(name, str) and not _SERVICE.match(name):
            yield where + ".name", "must be the name of a service, without a path"
        if name in names:
            yield where + ".name", "{0} is listed twice".format(name)
        names.append(name)
        given = [verb for verb in ("start", "stop", "status") if _get(service, verb)]
        if (given and len(given) < 3) or (_get(service, "manager") == "commands" and not given):
            yield where, "needs start, stop and status, all three"
        if given and _get(service, "manager") in ("systemd", "sysv"):
            yield where, "has a manager and commands; choose one"
        yield from _user_problems(_get(service, "run_as"), where + ".run_as")
        if _get(service, "run_as") is not None and not given:
            yield where + ".run_as", "needs start, stop and status; others run as their unit or script says"
        timeout = _get(service, "timeout")
        if isinstance(timeout, int) and timeout < 1:
            yield where + ".timeout", "must be 1 or more"
