"""Rows of a dataset repository, by split: CSV, TSV, JSON, JSONL and Parquet, read by duckdb inside one folder.

Where there are none: arrays of NPZ files, images or sounds in folders (a row each), or lines of text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compression_service.engine.calibration import arrays, media

READERS = {
    ".csv": "read_csv", ".tsv": "read_csv", ".json": "read_json", ".jsonl": "read_json", ".ndjson": "read_json",
    ".parquet": "read_parquet",
}  # fmt: skip
SPLIT_NAMES = (
    ("train", re.compile(r"(^|[^a-z])train(ing)?([^a-z]|$)")),
    ("validation", re.compile(r"(^|[^a-z])(val|valid|validation|dev)([^a-z]|$)")),
    ("test", re.compile(r"(^|[^a-z])(test|testing|eval|evaluation|heldout)([^a-z]|$)")),
)
ROWS_KEPT = 4000
TEXT_LIMIT_BYTES = 32 * 1024 * 1024
LONG = 256  # numbers in a list
LISTS = (list, tuple, np.ndarray)  # what a cell of a column of lists is
_NUMBERS = re.compile(r"^(FLOAT|DOUBLE|U?(TINY|SMALL|BIG)?INT(EGER)?)\[\]$")
_NO_ROWS = re.compile(r"^(readme|licen[sc]e|requirements|copying|notice|citation|changelog)", re.IGNORECASE)
# A folder beside the inputs which holds what is right for each of them, by the same name.
_PARTNERS = (("mask", re.compile(r"^(masks?|annotations?|segmentations?)$")), ("clean", re.compile(r"^clean")))


@dataclass
class Table:
    """Some rows of one split: column name → list of values, all of the same length."""

    split: str
    columns: dict[str, list[Any]]
    files: list[str]
    folder: Path | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))


SplitOf = Callable[[str], str]


def split_of(path: str) -> str:
    """train, validation, test by the file's or a folder's name, else "all"."""
    lowered = path.lower()
    return next((name for name, pattern in SPLIT_NAMES if pattern.search(lowered)), "all")


def read(folder: Path, seed: int, stated: dict[str, str] | None = None) -> dict[str, Table]:
    """Up to ROWS_KEPT rows of each split, drawn with the seed; a ValueError says why a dataset cannot be read.

    `stated`: file → split, as the dataset's card says; the others go by their names.
    """

    def split_in(name: str) -> str:
        return split_of((stated or {}).get(name, name))

    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in READERS and path.is_file() and not path.is_symlink() and path.stat().st_size
    )
    by_split: dict[str, list[str]] = {}
    for name in files:
        if Path(name).name not in ("dataset_info.json", "dataset_infos.json", "metadata.json"):
            by_split.setdefault(split_in(name), []).append(name)
    tables = {split: _table(folder, split, names, seed) for split, names in by_split.items()}
    if not tables:
        tables = _array_tables(folder, seed, split_in)
    if any(_of_media(table) for table in tables.values()):
        return tables
    files_as_rows = _media_tables(folder, split_in) or ({} if tables else _line_tables(folder, split_in))
    if not tables and not files_as_rows:
        raise ValueError("it has no CSV, JSON, Parquet or NPZ file, no images, no sounds and no text")
    return files_as_rows or tables


def _of_media(table: Table) -> bool:
    return any(media.kind_of(values, table.folder, table.files) for values in table.columns.values())


def _media_tables(folder: Path, split_in: SplitOf) -> dict[str, Table]:
    """A row for each image or sound: its file, the name of its folder as label, and its partner (mask, clean sound)."""
    endings = (*media.IMAGES, *media.SOUNDS)
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in endings]
    found = [path for path in found if path.is_file() and not path.is_symlink() and path.stat().st_size]
    partners: dict[tuple[str, str], str] = {}
    rows: dict[str, list[tuple[str, Path]]] = {}
    sounds = sum(path.suffix.lower() in media.SOUNDS for path in found)
    kept = media.SOUNDS if sounds * 2 > len(found) else media.IMAGES
    for path in found:
        name = path.relative_to(folder).as_posix()
        role = next(
            (key for key, pattern in _PARTNERS for part in path.parts[-4:-1] if pattern.match(part.lower())), None
        )
        if role:
            partners[role, path.stem] = name
        elif path.suffix.lower() in kept:
            rows.setdefault(split_in(name), []).append((name, path))
    tables = {}
    for split, members in rows.items():
        columns: dict[str, list[Any]] = {"audio" if kept == media.SOUNDS else "image": [name for name, _ in members]}
        labels = [_label_of(path, folder) for _, path in members]
        if all(labels) and len(set(labels)) > 1:
            columns["label"] = labels
        for role, _ in _PARTNERS:
            values = [partners.get((role, path.stem)) for _, path in members]
            if all(values):
                columns[role] = values
        tables[split] = Table(split, columns, [name for name, _ in members], folder)
    return tables


def _label_of(path: Path, folder: Path) -> str:
    """The name of the folder which holds it, "" for one that is a split or the dataset itself."""
    return "" if path.parent == folder or split_of(path.parent.name) != "all" else path.parent.name


def _line_tables(folder: Path, split_in: SplitOf) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for path in sorted(folder.rglob("*.txt")):
        if _NO_ROWS.match(path.name) or not path.is_file() or path.is_symlink():
            continue
        with path.open("rb") as stream:
            text = stream.read(TEXT_LIMIT_BYTES).decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 1]
        name = path.relative_to(folder).as_posix()
        if lines:
            table = tables.setdefault(split_in(name), Table(split_in(name), {"text": []}, [], folder))
            table.columns["text"] += lines
            table.files.append(name)
    return tables


def _array_tables(folder: Path, seed: int, split_in: SplitOf) -> dict[str, Table]:
    """Of NPZ files; those whose arrays are not named as those of the first one of their split are left out."""
    tables: dict[str, Table] = {}
    for path in sorted(folder.rglob(f"*{arrays.ENDING}")):
        if not path.is_file() or path.is_symlink():
            continue
        name = path.relative_to(folder).as_posix()
        for split, columns in arrays.read(path, split_of, split_in(name), ROWS_KEPT, seed).items():
            table = tables.setdefault(split, Table(split, {key: [] for key in columns}, [], folder))
            if columns.keys() == table.columns.keys() and len(table) < ROWS_KEPT:
                table.files.append(name)
                for key, cells in columns.items():
                    table.columns[key] += cells
    return tables


def _table(folder: Path, split: str, names: list[str], seed: int) -> Table:
    import duckdb

    # Files of one split which belong together have one type; the most frequent type is taken.
    suffixes = [Path(name).suffix.lower() for name in names]
    suffix = max(sorted(set(suffixes)), key=suffixes.count)
    chosen = [name for name in names if Path(name).suffix.lower() == suffix]
    connection = duckdb.connect(":memory:")
    try:
        root = str(folder.resolve())
        connection.execute("SET threads=1")
        connection.execute("SET autoinstall_known_extensions=false")
        connection.execute("SET temp_directory=''")
        connection.execute("SET allowed_directories=[?]", [root])
        connection.execute("SET enable_external_access=false")
        connection.execute("SET lock_configuration=true")
        paths = [f"{root}/{name}" for name in chosen]
        # The reader's name comes from our own table above, the paths are bound.
        drawn = f"SELECT * FROM {READERS[suffix]}($paths) USING SAMPLE reservoir({ROWS_KEPT} ROWS) REPEATABLE ({seed})"  # noqa: S608
        connection.execute(f"CREATE TEMP TABLE drawn AS {drawn}", {"paths": paths})
        columns = _columns(connection)
    except duckdb.Error as error:
        raise ValueError(f"{chosen[0]} cannot be read ({str(error).splitlines()[0][:160]})") from error
    finally:
        connection.close()
    return Table(split, columns, chosen, folder)


def _columns(connection: Any) -> dict[str, list[Any]]:
    """The drawn rows by column; long lists of numbers as arrays, which costs a third of lists."""
    found: dict[str, list[Any]] = {}
    for head, kind, *_ in connection.execute("DESCRIBE drawn").fetchall():
        column = '"' + head.replace('"', '""') + '"'
        asked = f"SELECT {column} FROM drawn"  # noqa: S608
        if _NUMBERS.match(kind):
            full = f"SELECT count(*) FILTER (list_count({column}) >= {LONG} AND list_count({column}) = len({column}))"
            if connection.execute(f"{full} = count(*) AND count(*) > 0 FROM drawn").fetchone()[0]:
                found[head] = list(next(iter(connection.execute(asked).fetchnumpy().values())))
                continue
        found[head] = [row[0] for row in connection.execute(asked).fetchall()]
    return found
