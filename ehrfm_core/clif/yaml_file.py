"""YAML that a user hands over: data alone, each key once, nothing that grows when it is read.

PyYAML's safe loader runs no code, yet ten lines of aliases stand for a billion values, a tag raises whatever
its constructor raises, and of two equal keys the last is kept without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ehrfm_core.clif.columns import LOADER
from ehrfm_core.errors import UserError, brief

LARGEST = 200_000  # bytes; the longest map that ships has 6,000
LONGEST = 1_000  # characters of one text
MOST = 20_000  # values, those that an alias stands for counted each time
DEEPEST = 16  # lists and mappings in each other; a map has 5
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "null", "bool", "int", "float")}


def read_yaml(path: Path) -> Any:
    """The content of a YAML file: mappings, lists, text, numbers, true, false and null.

    Raises OSError or UnicodeDecodeError where the file cannot be read as text, UserError where it is not
    plain YAML: broken, too large, too deep, with tags, dates, or a key that stands twice.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise UserError(f"{path} has {size:,} bytes; a YAML file of settings has {LARGEST:,} at most.")
    text = path.read_text(encoding="utf-8")
    try:
        _look(path, text)
        node = yaml.compose(text, Loader=LOADER)
        if node is not None:
            _check(path, node)
        return yaml.load(text, Loader=LOADER)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {brief(error, 160)}.") from None
    except (ValueError, IndexError) as error:  # of a number: 0x_, or more digits than Python converts
        raise UserError(f"{path} holds a number that cannot be read ({brief(error)}).") from None


def _look(path: Path, text: str) -> None:
    """Refuse by events, before anything is built: depth and tags."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if (tag := getattr(event, "tag", None)) is not None:
            raise UserError(f"{path}, line {line}: tags ({tag[:60]}) are not read; leave it out.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise UserError(f"{path}, line {line}: more than {DEEPEST} lists and mappings in each other.")


def _check(path: Path, root: yaml.Node) -> None:
    """Refuse what is no plain value, keys that stand twice, and aliases that grow or hold themselves."""
    waiting, n = [(root, 1)], 0
    while waiting:
        node, depth = waiting.pop()
        n += 1
        place = f"{path}, line {node.start_mark.line + 1}"
        if n > MOST or depth > DEEPEST + 1:
            raise UserError(f"{place}: with its aliases the file stands for too much; write entries out.")
        if node.tag not in _PLAIN:
            kind = node.tag.rpartition(":")[2]
            raise UserError(f"{place}: {str(node.value)[:40]!r} is a {kind}; put text in quotes.")
        if isinstance(node, yaml.ScalarNode):
            if len(node.value) > LONGEST:
                raise UserError(f"{place}: a text of {len(node.value):,} characters; {LONGEST:,} at most.")
            continue
        items = node.value
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(keys) < len(node.value):
                raise UserError(f"{place}: the key of a mapping must be text.")
            if len(set(keys)) < len(keys):
                twice = next(key for key in keys if keys.count(key) > 1)
                raise UserError(f"{place}: the key {twice[:40]!r} stands twice in one mapping.")
            items = [part for pair in node.value for part in pair]
        waiting += [(item, depth + 1) for item in items]
