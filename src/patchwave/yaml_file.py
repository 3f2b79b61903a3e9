"""Read YAML that a person has written: of two equal keys the last does not win, and no file takes all memory."""

from __future__ import annotations

from typing import Any

import yaml

#: Values in a file.
MOST = 200_000
_MERGE = "tag:yaml.org,2002:merge"


class Problem(Exception):
    """What is wrong, in a line.

    Attributes:
        where: `:line:column` or empty.
    """

    def __init__(self, line: str, mark: yaml.Mark | None = None) -> None:
        super().__init__(line)
        self.where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""


def load(text: str) -> Any:
    """Return what a text says.

    Raises:
        Problem: it is no YAML, has a key twice, or is too large.
    """
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except RecursionError as error:
        raise Problem("is nested too deeply") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Problem(f"is not YAML: {getattr(error, 'problem', error)}", mark) from error
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
            same = first.setdefault((key.tag, key.value), key)
            if same is not key:
                what = f"key {key.value[:200]!r} is there twice, first in line {same.start_mark.line + 1}; keep one"
                raise Problem(what, key.start_mark)
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
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
            what = "is not what YAML takes it for; put it in quotes if it is meant as text"
            raise Problem(f"{str(node.value)[:100]!r} {what}", node.start_mark) from error
