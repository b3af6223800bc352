"""Rows of a dataset repository, by split: CSV, TSV, JSON, JSONL and Parquet, read by duckdb inside one folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass
class Table:
    """Some rows of one split: column name → list of values, all of the same length."""

    split: str
    columns: dict[str, list[Any]]
    files: list[str]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))


def split_of(path: str) -> str:
    """train, validation, test by the file's or a folder's name, else "all"."""
    lowered = path.lower()
    return next((name for name, pattern in SPLIT_NAMES if pattern.search(lowered)), "all")


def read(folder: Path, seed: int) -> dict[str, Table]:
    """Up to ROWS_KEPT rows of each split, drawn with the seed; a ValueError says why a dataset cannot be read."""
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in READERS and path.is_file() and not path.is_symlink() and path.stat().st_size
    )
    by_split: dict[str, list[str]] = {}
    for name in files:
        if Path(name).name not in ("dataset_info.json", "dataset_infos.json", "metadata.json"):
            by_split.setdefault(split_of(name), []).append(name)
    if not by_split:
        raise ValueError("it has no CSV, JSON or Parquet file")
    return {split: _table(folder, split, names, seed) for split, names in by_split.items()}


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
        query = f"SELECT * FROM {READERS[suffix]}($paths) USING SAMPLE reservoir({ROWS_KEPT} ROWS) REPEATABLE ({seed})"  # noqa: S608
        cursor = connection.execute(query, {"paths": paths})
        heads = [column[0] for column in cursor.description or []]
        rows = cursor.fetchall()
    except duckdb.Error as error:
        raise ValueError(f"{chosen[0]} cannot be read ({str(error).splitlines()[0][:160]})") from error
    finally:
        connection.close()
    return Table(split, {head: [row[i] for row in rows] for i, head in enumerate(heads)}, chosen)
