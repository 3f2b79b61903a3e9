"""Read YAML that a person has written: of two equal keys the last does not win, and no file takes all memory.

Nor is a number or a truth read that is another one than it looks like: to YAML `010` is 8, `1:30` is 90, `no` is false.
"""

from __future__ import annotations

import codecs
import copy
import math
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

#: Values in a file.
MOST = 200_000
#: Bytes of a file.
_LARGEST = 2_000_000
_MERGE = "tag:yaml.org,2002:merge"
#: What is read as it is written, of the kinds of values that YAML knows other spellings of.
_AS_WRITTEN: dict[str, Callable[[str, Any], bool]] = {
    "tag:yaml.org,2002:bool": lambda written, dummy: written.casefold() in ("true", "false"),
    "tag:yaml.org,2002:int": lambda written, value: written == str(value),
    "tag:yaml.org,2002:float": lambda written, value: written == repr(value) or not math.isfinite(value),
}
_ENCODINGS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, ""), (codecs.BOM_UTF16_BE, ""))


class Problem(Exception):
    """What is wrong, in a line.

    Attributes:
        where: `:line:column` or empty.
    """

    def __init__(self, line: str, mark: yaml.Mark | None = None) -> None:
        super().__init__(line)
        self.where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""


def read(path: Path) -> str:
    """Return the text of a file.

    Raises:
        Problem: it is no file, too large, or no UTF-8 text.
        OSError: it cannot be read.
    """
    # A pipe that nobody writes to would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind):
            raise Problem(f"is a {'folder' if stat.S_ISDIR(kind) else 'pipe or a device'}, where a file is needed")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(_LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(content) > _LARGEST:
        raise Problem(f"has more than {_LARGEST} bytes")
    encoding = next((name for mark, name in _ENCODINGS if content.startswith(mark)), "utf-8")
    try:
        if encoding:
            return content.decode(encoding)
    except UnicodeDecodeError:
        pass
    raise Problem("is not UTF-8 text; save it as UTF-8")


def load(text: str) -> Any:
    """Return what a text says.

    Raises:
        Problem: it is no YAML, has a key twice, has a value that YAML takes for another one, or is too large.
    """
    return _guarded(text, lambda loader: loader.get_single_data())


def keys(text: str) -> dict[str, int]:
    """Return the keys of the mapping that a text is, with their lines, those that it merges (`<<`) too.

    The text is for Ansible: tags of its own, such as `!vault`, may be, and what it refuses is refused here.

    Raises:
        Problem: it is no YAML to Ansible, has a key twice, contains itself, or is too large.
    """

    def found(loader: _Loader) -> dict[str, int]:
        node = loader.get_single_node()
        _count(node, {})
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise Problem("must be a mapping", node.start_mark)
        loader.construct_document(node)
        loader.flatten_mapping(node)
        return {key.value: key.start_mark.line + 1 for key, dummy in node.value if isinstance(key, yaml.ScalarNode)}

    kept: dict[str, int] = _guarded(text, found, _AnsibleLoader)
    return kept


def _count(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Return how many values a node holds with all aliases written out; 0 is a node that is still being counted."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if known.get(id(node)) == 0:
        raise Problem("contains itself", node.start_mark)
    if id(node) not in known:
        known[id(node)] = 0
        inner = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_count(one, known) for one in inner)
    if known[id(node)] > MOST:
        raise Problem(f"has more than {MOST} values", node.start_mark)
    return known[id(node)]


def _guarded(text: str, act: Callable[[_Loader], Any], kind: type[_Loader] | None = None) -> Any:
    loader = None
    try:
        loader = (kind or _Loader)(text)
        return act(loader)
    except RecursionError as error:
        raise Problem("is nested too deeply") from error
    except yaml.reader.ReaderError as error:
        raise Problem(f"has the character {error.character!r}, which YAML does not allow; remove it") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or error
        if said == "second occurrence":
            said = "an anchor is there twice"
        raise Problem(f"is not YAML: {said}", mark) from error
    finally:
        if loader:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """Refuses keys that are there twice, merges that grow without end, and values that are none of their kind."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._merged = 0

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping and compare its own keys; those that it merges (`<<`) may be overridden."""
        node = super().compose_mapping_node(anchor)
        assert node is not None
        first: dict[tuple[str, Any], yaml.Node] = {}
        for key, dummy in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            same = first.get((key.tag, key.value))  # maybe this very node, where the key is an alias
            if same:
                what = f"key {key.value[:200]!r} is there twice, first in line {same.start_mark.line + 1}; keep one"
                raise Problem(what, key.start_mark)
            first[key.tag, key.value] = key
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Take the keys of other mappings in (`<<`), as long as they are not too many."""
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if isinstance(source, yaml.MappingNode):
                    self.flatten_mapping(source)
                    self._merged += len(source.value)
                if self._merged > MOST:
                    raise Problem(f"merges (<<) more than {MOST} values", key.start_mark)
        super().flatten_mapping(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Make a value; one that YAML takes for a date or a number need not be one."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
            what = "is not what YAML takes it for; put it in quotes if it is meant as text"
            raise Problem(f"{str(node.value)[:100]!r} {what}", node.start_mark) from error
        return value

    def get_single_data(self) -> Any:
        """Return what the text says, once each number and each truth in it is known to be what it looks like."""
        node = self.get_single_node()
        if node is None:
            return None
        self._look("", node, set())
        return self.construct_document(node)

    def _look(self, where: str, node: yaml.Node, seen: set[int]) -> None:
        waiting = [(where, node)]
        while waiting:
            where, node = waiting.pop()
            if isinstance(node, yaml.ScalarNode):
                self._look_at(where, node)
            elif id(node) not in seen:
                seen.add(id(node))
                waiting += reversed(list(_parts(where, node)))

    def _look_at(self, where: str, node: yaml.ScalarNode) -> None:
        as_written = _AS_WRITTEN.get(node.tag)
        value = self.construct_object(node) if as_written else None
        if as_written and not as_written(node.value, value):
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            what = f"{node.value[:100]!r} is {shown} to YAML; put it in quotes if it is meant as text, or write {shown}"
            raise Problem(f"{where[:200]}: {what}" if where else what, node.start_mark)


def _parts(where: str, node: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    """Return what a node holds, each with its place: keys, values, items."""
    for index, part in enumerate(node.value):
        if isinstance(part, tuple):
            key, value = part
            yield where, key
            yield f"{where}.{key.value}".lstrip(".") if isinstance(key, yaml.ScalarNode) else where, value
        else:
            yield f"{where}[{index}]", part


class _AnsibleLoader(_Loader):
    """Refuses what Ansible's own loader refuses, which does not always say in which file."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a mapping; Ansible lets no key override one that is merged (`<<`), nor one that is equal in Python."""
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        first: dict[Any, yaml.Node] = {}
        for key, dummy in node.value:
            value = self.construct_object(key, deep=True)
            if value in first:
                line = first[value].start_mark.line + 1
                what = f"key {str(key.value)[:200]!r} is there twice to Ansible, which lets none override a merged one"
                raise Problem(f"{what}, first in line {line}; keep one", key.start_mark)
            first[value] = key
        return found

    def unsafe(self, node: yaml.Node) -> Any:
        """Make the value that `!unsafe` stands before."""
        inner = copy.copy(node)
        inner.tag = self.resolve(type(node), node.value, (True, False))  # type: ignore[no-untyped-call]  # as its stubs have it
        return self.construct_object(inner, deep=True)

    def vaulted(self, node: yaml.Node) -> str:
        """Return what is encrypted, as it stands."""
        if not isinstance(node, yaml.ScalarNode):
            raise Problem(f"{node.tag} needs a text", node.start_mark)
        return str(node.value)


for _tag, _constructor in (
    ("!unsafe", _AnsibleLoader.unsafe),
    ("!vault", _AnsibleLoader.vaulted),
    ("!vault-encrypted", _AnsibleLoader.vaulted),
    ("tag:yaml.org,2002:python/dict", _AnsibleLoader.construct_yaml_map),
    ("tag:yaml.org,2002:python/unicode", _AnsibleLoader.construct_yaml_str),
):
    _AnsibleLoader.add_constructor(_tag, _constructor)
