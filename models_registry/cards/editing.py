"""A card with one key of its metadata changed, and everything else as it was, byte for byte."""

import io
from typing import Any

import yaml

from models_registry.cards.metadata import CardError, compose, front_span, read_card, split_card

_WIDTH = 110


def with_value(text: str, key: str, value: Any) -> str:
    """A README.md whose metadata says `key: value` (None: says nothing of it). Raises CardError for one which can not
    be read. Comments inside the old value go with it; all others stay."""
    wanted = {**read_card(text).metadata, key: value}
    if value is None:
        del wanted[key]
    span, front = front_span(text), split_card(text)[0]
    newline = "\r\n" if "\r\n" in text else "\n"
    if span is None or front is None:
        return f"---\n{_dumped(wanted)}---\n".replace("\n", newline) + text if wanted else text
    for edited in (_spliced(front, key, value, newline), _dumped(wanted).replace("\n", newline)):
        made = text[: span[0]] + newline + edited.removesuffix(newline) + text[span[1] :]
        if _says(made, wanted):
            return made
    raise CardError("The metadata at the top of README.md is of a shape which can not be changed here: edit the file.")


def _spliced(front: str, key: str, value: Any, newline: str) -> str:
    """The block with the lines of one key replaced, or added at its end."""
    root = compose(front)
    new = _dumped({key: value}).replace("\n", newline) if value is not None else ""
    starts = [pair[0].start_mark for pair in root.value] if isinstance(root, yaml.MappingNode) else []
    names = [pair[0].value for pair in root.value] if starts else []
    if key not in names:
        return front + ("" if not front or front.endswith(("\n", "\r")) else newline) + new
    index = names.index(key)
    first = starts[index].index
    last = starts[index + 1].index if index + 1 < len(starts) else len(front)
    lines = front[first:last].splitlines(keepends=True)
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].startswith("#")):
        lines.pop()  # belongs to what comes after
    return front[:first] + new + front[first + sum(map(len, lines)) :]


def _dumped(value: dict[str, Any]) -> str:
    """YAML whose upper two levels have a line a key; lists and small objects below them stand on one line."""
    if not value:
        return ""
    root = _Plain(io.StringIO(), default_flow_style=None, sort_keys=False).represent_data(value)
    for node in (root, *(child for _, child in root.value)):
        if isinstance(node, yaml.MappingNode) and node.value:
            node.flow_style = False
    return str(yaml.serialize(root, Dumper=_Plain, allow_unicode=True, width=_WIDTH))


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True  # cards hold none


def _says(text: str, wanted: dict[str, Any]) -> bool:
    try:
        return read_card(text).metadata == wanted
    except CardError:
        return False
