# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time.

"""Compare versions by the rules of those who wrote them.

* C(dotted): the general rule of versions.py
* C(dpkg): Debian policy 5.6.12, epoch:upstream-revision
* C(rpm): epoch:version-release with rpm's own comparison; a version without a release equals any release of it
* C(semver): Semantic Versioning 2.0.0
* C(pep440): Python packages
* C(openssl), C(java): vendor_rules.py

compare() of a scheme is what the rule's own tools say. place() is for a node's version against one of a definition, and
refuses what the two writings leave open: an epoch, a release or a build that only one of them has.
"""

from __future__ import annotations

import itertools
import re
import typing as t

from . import vendor_rules, versions

Compare = t.Callable[[str, str], int]

_DPKG = re.compile(r"(?:(\d{1,9}):)?(\d[0-9A-Za-z.+~-]*)\Z", re.ASCII)
_RPM = re.compile(r"(?:(\d{1,9}):)?([0-9A-Za-z._+~^]+)(?:-([0-9A-Za-z._+~^]+))?\Z", re.ASCII)
_RPM_PART = re.compile(r"\d+|[A-Za-z]+|[~^]")
_SEMVER = re.compile(
    r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?\Z",
    re.ASCII,
)
_PEP440 = re.compile(
    r"v?(?:(\d+)!)?(\d+(?:\.\d+)*)"
    r"(?:[-_.]?(alpha|a|beta|b|preview|pre|c|rc)[-_.]?(\d*))?"
    r"(?:-(\d+)|[-_.]?(post|rev|r)[-_.]?(\d*))?"
    r"(?:[-_.]?(dev)[-_.]?(\d*))?"
    r"(?:\+([a-z0-9]+(?:[-_.][a-z0-9]+)*))?\Z",
    re.ASCII,
)
_PEP440_PHASE = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}
_END = float("inf")
#: The group is empty where the epoch is 0.
_EPOCH = re.compile(r"v?0*([0-9]*)[:!]")


def compare_dpkg(left: str, right: str) -> int:
    """Compare as C(dpkg --compare-versions) does."""
    left_epoch, left_upstream, left_revision = _split_dpkg(left)
    right_epoch, right_upstream, right_revision = _split_dpkg(right)
    return (
        _sign(left_epoch, right_epoch)
        or _compare_dpkg_part(left_upstream, right_upstream)
        or _compare_dpkg_part(left_revision, right_revision)
    )


def _split_dpkg(version: str) -> t.Tuple[int, str, str]:
    match = _DPKG.match(version)
    if match is None:
        raise ValueError("not a Debian version: {0!r}".format(version))
    upstream, dummy, revision = match.group(2).rpartition("-")
    return (int(match.group(1) or 0), upstream, revision) if upstream else (int(match.group(1) or 0), revision, "")


def _compare_dpkg_part(left: str, right: str) -> int:
    for ours, theirs in itertools.zip_longest(_dpkg_key(left), _dpkg_key(right), fillvalue=((0,), 0)):
        if ours != theirs:
            return _sign(ours, theirs)
    return 0


def _dpkg_key(part: str) -> t.List[t.Tuple[t.Tuple[int, ...], int]]:
    """Return text and number in turn; the end of a text sorts after C(~) and before all else, letters before others."""
    key = []
    for text, number in re.findall(r"(\D*)(\d*)", part):
        order = [-1 if char == "~" else ord(char) + (0 if char.isalpha() else 256) for char in text]
        key.append(((*order, 0), int(number or 0)))
    return key


def compare_rpm(left: str, right: str) -> int:
    """Compare as rpm compares epoch, version and release; a missing release equals every release."""
    left_epoch, left_version, left_release = _split_rpm(left)
    right_epoch, right_version, right_release = _split_rpm(right)
    order = _sign(left_epoch, right_epoch) or compare_rpm_part(left_version, right_version)
    if order or not left_release or not right_release:
        return order
    return compare_rpm_part(left_release, right_release)


def _split_rpm(version: str) -> t.Tuple[int, str, str]:
    match = _RPM.match(version)
    if match is None:
        raise ValueError("not an rpm version: {0!r}".format(version))
    return int(match.group(1) or 0), match.group(2), match.group(3) or ""


def compare_rpm_part(left: str, right: str) -> int:
    """Compare two versions, or two releases, as C(rpmvercmp) does."""
    ours, theirs = _RPM_PART.findall(left), _RPM_PART.findall(right)
    for index in range(max(len(ours), len(theirs))):
        one = ours[index] if index < len(ours) else ""
        other = theirs[index] if index < len(theirs) else ""
        order = _sign(_rpm_rank(one), _rpm_rank(other))
        if order:
            return order
    return 0


def _rpm_rank(part: str) -> t.Tuple[int, int, str]:
    """Rank one part: C(~) before the end, the end before C(^), then words, then numbers."""
    if part.isdigit():
        return (4, int(part), "")
    return ({"~": 0, "": 1, "^": 2}.get(part, 3), 0, part)


def compare_semver(left: str, right: str) -> int:
    """Compare by the precedence of Semantic Versioning."""
    return _sign(_semver_key(left), _semver_key(right))


def _semver_key(version: str) -> t.Any:
    match = _SEMVER.match(version)
    if match is None:
        raise ValueError("not a semantic version: {0!r}".format(version))
    numbers = tuple(int(number) for number in match.group(1, 2, 3))
    if match.group(4) is None:
        return numbers, (1,)
    words = match.group(4).split(".")
    return numbers, (0, *((0, int(word), "") if word.isdigit() else (1, 0, word) for word in words))


def compare_pep440(left: str, right: str) -> int:
    """Compare as Python's packaging tools do."""
    return _sign(_pep440_key(left), _pep440_key(right))


def _pep440_key(version: str) -> t.Any:
    match = _PEP440.match(version.lower())
    if match is None:
        raise ValueError("not a Python version: {0!r}".format(version))
    epoch, release, phase, phase_number, dash, post, post_number, dev, dev_number, local = match.groups()
    numbers = [int(number) for number in release.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    is_post, is_dev = dash is not None or post is not None, dev is not None
    before = (_PEP440_PHASE.get(phase, phase), int(phase_number or 0)) if phase else ("zz", 0)
    if not phase and is_dev and not is_post:
        before = ("", 0)
    after = int(dash or post_number or 0) if is_post else -1
    parts = (
        [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"[-_.]", local)] if local else []
    )
    return int(epoch or 0), tuple(numbers), before, after, int(dev_number or 0) if is_dev else _END, tuple(parts)


def _sign(left: t.Any, right: t.Any) -> int:
    return int(left > right) - int(left < right)


def _epoch_doubt(node: str, wanted: str) -> str:
    """Say which of two versions has an epoch that the other does not tell: without one the order is a guess."""
    for one, other in ((node, wanted), (wanted, node)):
        epoch = _EPOCH.match(one)
        if epoch is not None and epoch.group(1) and _EPOCH.match(other) is None:
            return "{0} has an epoch and {1} has none".format(one, other)
    return ""


def epochs_agree(node: str, wanted: str) -> int:
    """Return 0; raise C(versions.Unplaced) when only one of two versions of packages has an epoch."""
    doubt = _epoch_doubt(node, wanted)
    if doubt:
        raise versions.Unplaced("{0} and {1} have no order: {2}".format(node, wanted, doubt))
    return 0


def _rpm_doubt(node: str, wanted: str) -> str:
    if _split_rpm(wanted)[2] and not _split_rpm(node)[2]:
        return "{0} has a release and {1} has none".format(wanted, node)
    return _epoch_doubt(node, wanted)


def _semver_doubt(node: str, wanted: str) -> str:
    ours, theirs = node.partition("+")[2], wanted.partition("+")[2]
    if theirs and ours != theirs and compare_semver(node, wanted) == 0:
        return "semver has no order for builds, which is what follows +"
    return ""


def _semver_vague(version: str) -> str:
    return "semver has no order for builds, which is what follows +; dotted has" if "+" in version else ""


def _no_doubt(node: str, wanted: str) -> str:
    return ""


def _not_vague(version: str) -> str:
    return ""


class Scheme(t.NamedTuple):
    """One way to write versions.

    Attributes:
        name: what C(versioning) calls it.
        compare: the rule itself.
        shape: what its versions look like.
        doubt: says why a node's version and one of a definition have no safe order although the rule has one, or "".
        vague: says why a version is no good C(fixed_in), or "".
        epochs: whether versions may have an epoch before a colon.
    """

    name: str
    compare: Compare
    shape: t.Pattern[str]
    doubt: t.Callable[[str, str], str] = _no_doubt
    vague: t.Callable[[str], str] = _not_vague
    epochs: bool = False

    def is_version(self, text: t.Any) -> bool:
        """Tell whether C(text) is a version of this scheme, of at most 64 characters."""
        if not isinstance(text, str) or len(text) > versions.MAX_LENGTH:
            return False
        return self.shape.match(text.lower() if self.name == "pep440" else text) is not None

    def place(self, node: str, wanted: str) -> int:
        """Compare a node's version with one of a definition, and refuse where that would be a guess.

        Raises:
            ValueError: C(versions.Unplaced) when they have no order, else one of them is no version; says why.
        """
        order = self.compare(node, wanted)
        doubt = self.doubt(node, wanted)
        if doubt:
            raise versions.Unplaced("{0} and {1} have no order: {2}".format(node, wanted, doubt))
        return order

    def whole(self, version: str) -> str:
        """Return what a package database says, which prints no epoch where it is 0, with its epoch."""
        return "0:" + version if self.epochs and ":" not in version else version


#: Every scheme by name.
SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("dotted", versions.compare, versions.SHAPE, vague=versions.vague),
        Scheme("dpkg", compare_dpkg, _DPKG, _epoch_doubt, epochs=True),
        Scheme("rpm", compare_rpm, _RPM, _rpm_doubt, epochs=True),
        Scheme("semver", compare_semver, _SEMVER, _semver_doubt, _semver_vague),
        Scheme("pep440", compare_pep440, _PEP440, _epoch_doubt),
        Scheme("openssl", vendor_rules.compare_openssl, vendor_rules.OPENSSL),
        Scheme("java", vendor_rules.compare_java, vendor_rules.JAVA),
    )
}
