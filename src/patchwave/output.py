"""What Ansible printed, in a line of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

#: Characters of what Ansible said that go into a line.
_LONGEST = 500
#: Files that a line names.
_NAMED = 3
_COLORS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
#: How lines begin that tell of no error.
_USUAL = re.compile(r"PLAY|TASK|ok:|changed:|skipping:|\[WARN|\S+ +: ok=")
#: Ansible's own names of types of values, which mean nothing to a user.
_TYPES = (
    (re.compile(r"<class '(?:\w+\.)*(\w+)'>"), lambda match: match.group(1)),
    (re.compile(r"\b_AnsibleTagged([A-Z]\w*)"), lambda match: match.group(1).lower()),
    (re.compile(r"\bAnsible(Unicode|UnsafeText)\b"), lambda dummy: "str"),
    (re.compile(r"\bAnsible(Sequence|Mapping)\b"), lambda match: "list" if match.group(1) == "Sequence" else "dict"),
)
#: Where Ansible says in which file an error is.
_PLACES = (
    r"Completely failed to parse inventory source (?P<file>.+?)(?= \[[A-Z ]+\]:|$)",
    r"\[ERROR\]: (?:(?!\[ERROR\]: ).)*? Origin: (?P<file>/[^<>]*?:\d+(?::\d+)?)(?= |$)",
    r"The error appears to be in '(?P<file>[^']+)': line (?P<line>\d+), column (?P<column>\d+)",
)
_SECRETS = re.compile(r"(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s\"'\\]+")


def without_secrets(text: str) -> str:
    """Return text without the signatures of URLs."""
    return _SECRETS.sub(r"\1...", text)


def what_went_wrong(output: str) -> str:
    """Pick what went wrong out of all that Ansible printed, the last of it: an error, a task's failure, any line."""
    lines = [line.rstrip() for line in _COLORS.sub("", output).replace("\r", "").splitlines()]
    found = ""
    for index, line in enumerate(lines):
        error = re.match(r"(?:\[ERROR\]: |ERROR[!:] )(.*)", line)
        fatal = re.match(r"fatal: \[.*?\]: \w+! => (.*)", line)
        if error:
            found = _paragraph([error.group(1), *lines[index + 1 :]])
        elif fatal and not found:
            found = _message(fatal.group(1))
    if not found:
        other = [line for line in lines if line and not _USUAL.match(line)]
        found = other[-1] if other else ""
    return _line(found)


def _paragraph(lines: list[str]) -> str:
    """Return the lines up to the first one that is empty or says where in a file it was."""
    ends = (index for index, line in enumerate(lines) if index and (not line or line.startswith(("Origin: ", "PLAY"))))
    return " ".join(lines[: next(ends, len(lines))])


def _message(result: str) -> str:
    """Return the message in a task's result as Ansible prints it."""
    try:
        found = json.loads(result)
    except ValueError:
        return result
    return str(found.get("msg", "")) if isinstance(found, dict) else ""


def _line(text: str) -> str:
    """Return text as one line that is not too long and holds no signature."""
    text = without_secrets(" ".join(text.split()))
    for pattern, name in _TYPES:
        text = pattern.sub(name, text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def why_no_inventory(source: Path, output: str, locked: Sequence[Path] = ()) -> str:
    """Pick the file and the line that says why out of what Ansible printed around them.

    Args:
        source: the inventory.
        output: what Ansible printed.
        locked: files beside it that only Ansible could look into; it does not say in which one something is wrong.
    """
    text = " ".join(_COLORS.sub("", output).split())
    # Ansible tries one plugin after the other on a file; the first is the one that it is for.
    said = (r"patchwave\.aws\.patch_groups: (.*?)", r"Failed to parse inventory with '\w+' plugin: (.*?)")
    found = (re.search(one + r"(?= Failed to parse inventory with| Origin:| \[[A-Z ]+\]:|$)", text) for one in said)
    why = next((match.group(1) for match in found if match), "")
    why = _line(why) if why else what_went_wrong(output)
    if re.search(r"'/|\(/| /\w", why) and "Completely failed" not in text:
        return why  # it names its file
    place = _place(text)
    if not place and locked and re.search(r"YAML|JSON|vault|decrypt|combine variables", why, re.IGNORECASE):
        place = " or ".join(map(str, locked[:_NAMED])) + (" or another such file" if len(locked) > _NAMED else "")
    return f"{place or source}: {why or 'ansible-inventory could not read it'}"


def _place(text: str) -> str:
    """Return the file that Ansible says an error is in, with line and column where it knows them."""
    found = next(filter(None, (re.search(pattern, text) for pattern in _PLACES)), None)
    return ":".join(part for part in found.groupdict().values() if part) if found else ""


def warnings(output: str) -> list[str]:
    """Return what Ansible warned of that it has passed over, each in a line."""
    text = _COLORS.sub("", output)
    found = re.findall(r"^\[WARNING\]: ((?:Skipping|Found|Ignoring) .*(?:\n(?!\[|\s*$).*)*)", text, re.MULTILINE)
    return [_line(one) for one in found]
