"""What Ansible reads beside an inventory: `group_vars` and `host_vars`, and the YAML of the inventory itself.

Of two equal keys YAML lets the last one win, and a file whose name is no group's is read by nobody. Either may take a
freeze away without a word, so the one is refused before anything is asked, and the other is told.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patchwave import yaml_file
from patchwave.errors import PatchwaveError
from patchwave.rollout_file import playbook_variables, role_variables

#: Folders of variables, and what their files and folders are named after.
_FOLDERS = {"group_vars": "group", "host_vars": "host"}
#: Extensions that Ansible reads, in its order; of a name it takes the first that is there.
_EXTENSIONS = ("", ".yml", ".yaml", ".json")
#: What Ansible passes over in a folder of inventories.
_PASSED_OVER = re.compile(
    r"\.|(group|host)_vars$|vars_plugins$|.*(~|\.(orig|cfg|retry|bak|ini|swp|md|rst|txt|rpm|py[co]))$"
)
#: Variables that are ours.
_OURS = re.compile(r"(patch|gate)_?\w*")
_CALENDAR = re.compile(r"patch_(windows|freezes)")
_KNOWN_PREFIX = re.compile(r"(patch_software|gate|patchwave)_\w+")
#: Bytes up to which a file is looked into here; of a larger one Ansible itself tells a key that is there twice.
_LARGEST = 500_000
#: How a file for the plugin of ours is called, and known.
_OUR_NAMES = ("patch_groups.yml", "patch_groups.yaml")
_OUR_PLUGIN = re.compile(r"""^["']?plugin["']?\s*:\s*["']?patchwave\.aws\.patch_groups\b""", re.MULTILINE)
_VAULT = "$ANSIBLE_VAULT;"


@dataclass
class VarsFiles:
    """The names that files and folders of variables have.

    Attributes:
        named: files and folders by kind (`group` or `host`) and name.
        odd: lines on what is not read, or probably not what was meant.
        elsewhere: lines on whole folders of variables that lie where Ansible does not read them.
        locked: files that only Ansible can look into.
    """

    named: dict[tuple[str, str], list[Path]] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)
    locked: list[Path] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def warnings(self, groups: Mapping[str, Any], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return lines on what nobody reads, now that groups and hosts are known."""
        known = {"group": {*groups, "all", "ungrouped"}, "host": {*hostvars}}
        lines = []
        for (kind, name), paths in self.named.items():
            if name not in known[kind]:
                lines += [f"{path}: {_nobody(kind, name, known[kind], hostvars)}" for path in paths]
        return [*self.elsewhere, *lines, *self.odd]


def check(source: Path, others: Collection[Path] = ()) -> VarsFiles:
    """Look at all that Ansible reads of an inventory and beside it.

    Args:
        source: the inventory.
        others: folders where a user may have put variables that Ansible does not read; without any, none are
            looked for.

    Raises:
        PatchwaveError: a file has a key twice, is no YAML, or would be waited for; or a calendar would not be read.
    """
    found = VarsFiles()
    for file in _sources(source):
        if file.suffix in _EXTENSIONS[1:]:
            _keys(file, found.locked)
        _check_name(file)
    beside = source if source.is_dir() else source.parent  # of a link, where it is: as Ansible does
    known = [*role_variables(), *playbook_variables()]
    for name, kind in _FOLDERS.items():
        for entry in _entries(beside / name):
            _take(found, kind, entry, known)
    found.odd += _nearly(beside)
    if others:
        for place in {place.resolve(): place.absolute() for place in (*_below(source), *others)}.values():
            found.odd += _nearly(place) if place.resolve() != beside.resolve() else ()
            for name in _FOLDERS:
                found.elsewhere += _unread(place / name, beside / name)
    return found


def _nearly(place: Path) -> Iterator[str]:
    """Return lines on folders whose names are nearly those of folders of variables."""
    with contextlib.suppress(PatchwaveError):  # nobody needs to read what lies in all these places
        for entry in _entries(place):
            close = difflib.get_close_matches(entry.name.casefold(), _FOLDERS, n=1, cutoff=0.85)
            if close and entry.name not in _FOLDERS and os.path.isdir(entry):
                yield f"{entry}: is not read by Ansible; did you mean '{close[0]}'?"


def _unread(folder: Path, read: Path) -> Iterator[str]:
    """Return a line on a folder of variables that Ansible does not read.

    Raises:
        PatchwaveError: it has a calendar, which would not be in force.
    """
    there = read.resolve()
    if not os.path.isdir(folder) or folder.resolve() == there:
        return
    yield f"{folder}: NOT READ: Ansible reads the {read.name} beside the inventory, {read}; move there what counts here"
    for file in _quietly(folder):
        try:
            known = {} if file.resolve().is_relative_to(there) else _keys(file, [])
        except (PatchwaveError, OSError, RuntimeError):
            continue
        for key in filter(_CALENDAR.match, known):
            why = f"for of {folder} Ansible reads nothing; move it to {read}, beside the inventory"
            raise PatchwaveError(f"{file}:{known[key]}: '{key}' would not be in force, {why}")


def _quietly(folder: Path) -> Iterator[Path]:
    """Return the files of a folder of variables, up to one that cannot be read."""
    with contextlib.suppress(PatchwaveError, OSError):
        for entry in _entries(folder):
            yield from _files(entry, VarsFiles())


def _below(source: Path) -> Iterator[Path]:
    """Return the folders of an inventory below its own; of them Ansible reads no variables."""
    for entry in _entries(source):
        if entry.is_dir() and not _PASSED_OVER.match(entry.name):
            yield entry
            yield from _below(entry)


def _take(found: VarsFiles, kind: str, entry: Path, known: list[str]) -> None:
    """Take one file or folder of variables."""
    name = entry.stem if entry.is_file() and entry.suffix in _EXTENSIONS else entry.name
    before = found.named.setdefault((kind, name), [])
    if before:
        first = min((*before, entry), key=lambda path: _EXTENSIONS.index(path.suffix if path.is_file() else ""))
        found.odd.append(f"{next(one for one in (*before, entry) if one != first)}: is not read, for {first} is there")
    before.append(entry)
    first_in: dict[str, str] = {}
    for file in _files(entry, found):
        for key, line in _keys(file, found.locked).items():
            here = f"{file}:{line}"
            if _OURS.fullmatch(key) and key in first_in:
                raise PatchwaveError(
                    f"{here}: '{key}' is also in {first_in[key]}, and the last one would win; keep one"
                )
            first_in[key] = here
            if _KNOWN_PREFIX.fullmatch(key) and key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                found.odd.append(f"{here}: nothing reads '{key}'" + (f"; did you mean '{close[0]}'?" if close else ""))


def _files(entry: Path, found: VarsFiles) -> Iterator[Path]:
    """Return the files that Ansible reads of an entry of `group_vars` or `host_vars`."""
    if not entry.is_dir():
        yield entry
        return
    _check_link(entry)
    for inner in _entries(entry):
        if inner.is_dir() and not inner.suffix:
            yield from _files(inner, found)
        elif inner.is_dir() or inner.suffix not in _EXTENSIONS:
            found.odd.append(f"{inner}: is not read by Ansible, for its name ends in '{inner.suffix}'")
        else:
            yield inner


def _sources(source: Path) -> Iterator[Path]:
    """Return the files of an inventory."""
    if not source.is_dir():
        yield source
        return
    _check_link(source)
    for entry in _entries(source):
        if not _PASSED_OVER.match(entry.name):
            yield from _sources(entry)


def _check_link(folder: Path) -> None:
    """Find out whether a folder is one that it is in itself, which Ansible would follow until the path is too long."""
    real = folder.resolve()
    around = next((one for one in folder.absolute().parents if one.resolve() == real), None)
    if around:
        raise PatchwaveError(f"{folder}: is a link to {around}, in which it is itself; remove it")


def _check_name(file: Path) -> None:
    """Find out whether a file that is for our plugin is called so that the plugin takes it."""
    if file.name.endswith(_OUR_NAMES):
        return
    try:
        text = yaml_file.read(file) if file.is_file() and file.stat().st_size <= _LARGEST else ""
    except (OSError, yaml_file.Problem):
        return  # Ansible says what it makes of it
    if _OUR_PLUGIN.search(text):
        raise PatchwaveError(
            f"{file}: plugin: the name of such a file must end in {' or '.join(_OUR_NAMES)}; rename it"
        )


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder, hidden files and backups left out."""
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PatchwaveError(f"{folder}: cannot be read: {error.strerror or error}") from error
    return [folder / name for name in names if not name.startswith(".") and not name.endswith("~")]


def _keys(file: Path, locked: list[Path]) -> dict[str, int]:
    """Return the keys of a file with their lines; one that is locked or very large has none, and is noted."""
    try:
        if not file.is_file() or file.stat().st_size <= _LARGEST:
            text = yaml_file.read(file)
            if not text.startswith(_VAULT):
                return yaml_file.keys(text)
    except (OSError, ValueError) as error:
        raise PatchwaveError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except yaml_file.Problem as error:
        raise PatchwaveError(f"{file}{error.where}: {error}") from error
    locked.append(file)
    return {}


def _nobody(kind: str, name: str, known: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> str:
    """Say that a file's name is nobody's, and whose was meant."""
    said = f"no {kind}{' with hosts' if kind == 'group' else ''} is called '{name}', so nothing reads it"
    named = [host for host, variables in hostvars.items() if variables.get("node_name") == name]
    if kind == "host" and named:
        return f"{said}; the node of this name is host '{named[0]}'"
    close = difflib.get_close_matches(name, known, n=1)
    return f"{said}; did you mean '{close[0]}'?" if close else said
