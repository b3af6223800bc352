"""Text data files in whatever encoding: the decoded beginning, and rows of JSON, JSON lines and ragged CSV."""

import codecs
import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

PREFIX_BYTES = 16 * 1024 * 1024  # of a large text file only this much is read
_GUESS_CHARACTERS = 4096
Table = tuple[list[str], list[str], list[list[Any]], int | None]  # names, types, rows, number of all rows

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class ReadingError(ValueError):
    """The file cannot be shown. The message is one sentence for its owner."""


def decoded_prefix(file: Path) -> tuple[str, bool]:
    """The first 16 MiB as text, and whether that is the whole file. A cut text ends at its last whole line.

    UTF-8, UTF-16 and UTF-32 are told by their marks or by trying; anything else is read as Windows' Western European.
    """
    with file.open("rb") as handle:
        data = handle.read(PREFIX_BYTES + 1)
    whole = len(data) <= PREFIX_BYTES
    text = _decode(data[:PREFIX_BYTES])
    if not text.strip():
        raise ReadingError("The file holds nothing but white space.")
    if not whole:
        end = text.rfind("\n")
        text = text[: end + 1] if end >= 0 else text
    return text, whole


def read_jsonl(file: Path, limit: int) -> Table:
    """One JSON value a line. ReadingError names the first line which is none."""
    text, whole = decoded_prefix(file)
    lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    values = []
    for number, line in islice(lines, limit):
        try:
            values.append(json.loads(line))
        except ValueError as error:
            if not values and not whole and "\n" not in text:
                raise ReadingError("The first line is longer than 16 MiB; write one record a line.") from error
            raise ReadingError(f"Line {number} is not JSON: {_reason(error)}.") from error
    count = len(values) + sum(1 for _ in lines)
    return (*_table(values), count if whole else None)


def read_json(file: Path, limit: int) -> Table:
    """An array of records, an object of equally long arrays, one record, or lines of JSON under the wrong name."""
    text, whole = decoded_prefix(file)
    start = text.lstrip()
    if start.startswith("["):
        elements = _elements(start, whole)
        values = list(islice(elements, limit))
        count = len(values) + sum(1 for _ in elements)
        return (*_table(values), count if whole else None)
    try:
        value = json.loads(start)
    except ValueError as error:
        if "\n" in start.strip() and start.split("\n", 1)[0].rstrip().endswith("}"):
            return read_jsonl(file, limit)
        if not whole:
            raise ReadingError("JSON objects are shown up to 16 MiB; write larger data as JSON lines.") from error
        raise ReadingError(f"The file is not JSON: {_reason(error)}.") from error
    values = _records(value)
    return (*_table(values[:limit]), len(values))


def guess_delimiter(text: str) -> str:
    """Comma, semicolon, tab or bar: the one which cuts most of the first rows into the same number of fields."""
    lines = [line[:_GUESS_CHARACTERS] for line in text[: 20 * _GUESS_CHARACTERS].splitlines()[:20]]
    best, best_score = ",", 0.0
    for delimiter in ",;\t|":
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        width, times = Counter(widths).most_common(1)[0] if widths else (1, 0)
        score = times / len(widths) if width > 1 else 0.0
        if score > best_score:
            best, best_score = delimiter, score
    return best


def read_delimited_plainly(text: str, delimiter: str, limit: int, whole: bool) -> Table:
    """CSV or TSV where the database gave up: everything is text, and short rows are filled.

    The first row names the columns unless a number stands in it.
    """
    csv.field_size_limit(PREFIX_BYTES + 1)
    reader = csv.reader(text.replace("\0", "").splitlines(keepends=True), delimiter=delimiter)
    try:
        rows = list(islice((row for row in reader if row), limit + 1))
        count = len(rows) + sum(1 for row in reader if row)
    except csv.Error as error:
        raise ReadingError(f"Line {reader.line_num} is not delimited text: {error}.") from error
    if not rows:
        raise ReadingError("The file holds no rows.")
    width = max(len(row) for row in rows)
    header = [] if any(_is_number(value) for value in rows[0]) else rows[0]
    names = header + [f"column{number}" for number in range(len(header), width)]
    records = rows[1 if header else 0 :][:limit]
    padded = [[*row, *[None] * (width - len(row))] for row in records]
    return names, ["string"] * width, padded, count - bool(header) if whole else None


def _decode(data: bytes) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    if b"\0" in data[:4096]:
        even, odd = data[0:4096:2].count(0), data[1:4096:2].count(0)
        if max(even, odd) * 4 < len(data[:4096]):
            raise ReadingError("The file is not text although its name says so.")
        return data.decode("utf-16-le" if odd > even else "utf-16-be", "replace")
    try:
        # A character which the end of the prefix cuts in two is no reason to call it another encoding.
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=len(data) < PREFIX_BYTES)
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _elements(text: str, whole: bool) -> Iterator[Any]:
    """The elements of a JSON array, one after the other; a cut file ends before the element which is cut."""
    decoder = json.JSONDecoder()
    position = _skip(text, 1)
    while position < len(text) and text[position] != "]":
        try:
            value, position = decoder.raw_decode(text, position)
        except ValueError as error:
            if whole:
                raise ReadingError(f"The file is not JSON: {_reason(error)}.") from error
            return
        yield value
        position = _skip(text, position)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
        elif whole and position < len(text) and text[position] != "]":
            raise ReadingError(f"The file is not JSON: a comma is missing at character {position + 1}.")
    if whole and position >= len(text):
        raise ReadingError("The file is not JSON: its array does not end.")


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _records(value: Any) -> list[Any]:
    if isinstance(value, dict) and value:
        columns = list(value.values())
        if all(isinstance(column, list) for column in columns) and len({len(column) for column in columns}) == 1:
            if len(columns) == 1 and all(isinstance(item, dict) for item in columns[0]):
                return columns[0]
            return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
    return [value]


def _table(values: list[Any]) -> tuple[list[str], list[str], list[list[Any]]]:
    if not any(isinstance(value, dict) for value in values):
        return ["value"], [_type_of(values)], [[value] for value in values]
    names = list(dict.fromkeys(name for value in values if isinstance(value, dict) for name in value))
    rows = [[value.get(name) for name in names] if isinstance(value, dict) else [value] for value in values]
    rows = [row + [None] * (len(names) - len(row)) for row in rows]
    return names, [_type_of(row[at] for row in rows) for at in range(len(names))], rows


def _type_of(values: Iterable[Any]) -> str:
    kinds = {_KINDS.get(type(value), "json") for value in values if value is not None}
    if kinds == {"int64", "float64"}:
        return "float64"
    return kinds.pop() if len(kinds) == 1 else "json" if kinds else "null"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _reason(error: ValueError) -> str:
    return str(error).split("\n", 1)[0][:200]


_KINDS: dict[type, str] = {bool: "bool", int: "int64", float: "float64", str: "string", list: "list", dict: "struct"}
