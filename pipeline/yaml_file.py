"""Reads YAML that may be hostile: plain values alone, no key twice, of bounded size. Runs at compile time."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

LARGEST_CONFIG, LARGEST_SPEC = 1 << 18, 1 << 22  # bytes; a compiled pipeline of every component has 0.2 MiB
_MOST_NODES = 10**6  # once every alias is written out, of which a file of a few lines can make 10**9
_MERGE = "tag:yaml.org,2002:merge"


class _StrictLoader(yaml.SafeLoader):
    def compose_document(self) -> yaml.Node | None:
        """Overrides the stock loader, which follows aliases however much they stand for."""
        node = super().compose_document()
        if node is not None and _written_out(node, {}) > _MOST_NODES:
            raise yaml.MarkedYAMLError(
                problem="its aliases (*name) stand for too much, or for what holds them", problem_mark=node.start_mark
            )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Overrides the stock loader, which lets the last of repeated keys win."""
        keys = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=deep)
            if not isinstance(key, Hashable):
                continue  # of which the stock loader says so
            if key in keys:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key}' is there more than once", problem_mark=key_node.start_mark
                )
            keys.add(key)
        return super().construct_mapping(node, deep)


def read_text(file: Path, largest: int) -> str:
    """Returns the text of a file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is larger than `largest` bytes, or no UTF-8 text.
    """
    with file.open("rb") as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it is larger than {largest >> 10} KiB")
    return content.decode("utf-8")


def parse_documents(text: str) -> list[Any]:
    """Returns the documents of a YAML text as plain values.

    Raises:
        yaml.YAMLError: If it is no YAML, has a tag that makes more than a plain value, or a key twice.
        ValueError: If a number or a date in it is none.
        RecursionError: If it is nested too deeply.
    """
    return list(yaml.load_all(text, _StrictLoader))


def parse_document(text: str) -> Any:
    """Returns the one document of a YAML text, None of an empty one; raises as `parse_documents` does."""
    return yaml.load(text, _StrictLoader)


def _written_out(node: yaml.Node, sizes: dict[int, float]) -> float:
    """Returns how many nodes there are below a node and with it, each alias counted as what it stands for."""
    if id(node) not in sizes:
        sizes[id(node)] = float("inf")  # until it is known, so that what holds itself is endless
        values = node.value if isinstance(node, yaml.CollectionNode) else []
        children = (each for value in values for each in (value if isinstance(value, tuple) else (value,)))
        sizes[id(node)] = 1 + sum(_written_out(child, sizes) for child in children)
    return sizes[id(node)]
