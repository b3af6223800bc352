"""First rows of data files. Run inside the sandbox: `python -m models_registry.datasets.reading TASK.json`.

The working folder holds the task `{"act": "rows", "folder": "files", "paths": [...], "limit": 100}` and gets
`result.json` `{"files": [...]}`, one entry a path, in order: either `{"path", "format", "columns": [{"name", "type"}],
"rows": [[...]], "num_rows", "num_columns", "truncated"}` or `{"path", "error": sentence}`. `num_rows` is null where
counting would mean reading a large file to its end. Every file is read in a process of its own, so one that crashes the
reader costs only its own rows.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from models_registry.datasets.text_files import (
    ReadingError,
    decoded_prefix,
    guess_delimiter,
    read_delimited_plainly,
    read_json,
    read_jsonl,
)

FORMATS = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet",
}  # fmt: skip
SECONDS_A_FILE = 30
MAX_FILES = 200
MAX_ROWS = 1000
MAX_COLUMNS = 256
CELL_CHARACTERS = 500
ROWS_CHARACTERS = 2_000_000  # of all cells of one file together
_MEMORY_LIMIT = "512MB"
_LONG_LINES = "buffer_size=50331648, max_line_size=25165824"  # a decoded prefix may be one and a half times as long
_TYPE_NAMES = {
    "VARCHAR": "string", "BLOB": "binary", "BOOLEAN": "bool", "TINYINT": "int8", "SMALLINT": "int16",
    "INTEGER": "int32", "BIGINT": "int64", "FLOAT": "float32", "DOUBLE": "float64", "DATE": "date",
    "TIMESTAMP": "timestamp",
}  # fmt: skip
_TYPE_CHARACTERS = 200


def run_task(task_path: Path) -> None:
    """Read the task file and write `result.json` beside it. ValueError when the task is of an unknown form."""
    task = json.loads(task_path.read_text("utf-8"))
    if task.get("act") != "rows":
        raise ValueError('The task\'s "act" must be "rows".')
    limit = max(1, min(int(task.get("limit", 100)), MAX_ROWS))
    folder = (task_path.parent / task["folder"]).resolve()
    files = [_read_apart(folder, str(path), limit) for path in task["paths"][:MAX_FILES]]
    (task_path.parent / "result.json").write_text(json.dumps({"files": files}, allow_nan=False), "utf-8")


def read_file(file: Path, limit: int) -> dict[str, Any]:
    """Format, columns, first rows and count of one file, without `path`. ReadingError with a sentence."""
    kind = FORMATS.get(file.suffix.lower())
    if kind is None:
        raise ReadingError(f"Rows are shown of {', '.join(FORMATS)} files; this is none of them.")
    if file.stat().st_size == 0:
        raise ReadingError("The file is empty.")
    if kind == "parquet":
        names, types, rows, count = _read_parquet(file, limit)
    elif kind in ("csv", "tsv"):
        names, types, rows, count = _read_delimited(file, kind, limit)
    else:
        names, types, rows, count = (read_json if kind == "json" else read_jsonl)(file, limit)
    shown = _cut_rows(rows)
    return {
        "format": kind,
        "columns": [
            {"name": name[:CELL_CHARACTERS], "type": _TYPE_NAMES.get(kind_, kind_.lower()[:_TYPE_CHARACTERS])}
            for name, kind_ in zip(names[:MAX_COLUMNS], types[:MAX_COLUMNS], strict=True)
        ],
        "rows": shown,
        "num_rows": count,
        "num_columns": len(names),
        "truncated": count is None or count > len(shown) or len(names) > MAX_COLUMNS,
    }


def cell(value: Any) -> Any:
    """A value as JSON shows it: numbers and truth values as they are, texts cut, bytes counted, nested ones as JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)  # a browser's numbers are exact no further
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # NaN and infinity are not JSON
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value):,} bytes>"
    if isinstance(value, list | tuple | dict):
        return _cut(json.dumps(_plain(value), ensure_ascii=False))
    return _cut(str(value))


def _read_apart(folder: Path, path: str, limit: int) -> dict[str, Any]:
    file = (folder / path).resolve()
    if not file.is_relative_to(folder) or not file.is_file():
        return {"path": path, "error": "There is no such file in the work folder."}
    command = [sys.executable, "-m", "models_registry.datasets.reading", "--file", str(file), str(limit)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS_A_FILE, check=False)
    except subprocess.TimeoutExpired:
        return {"path": path, "error": f"Reading the first rows took longer than {SECONDS_A_FILE} s; split the file."}
    if done.returncode != 0:
        reason = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        return {"path": path, "error": f"The reader ended with {reason}: the file is damaged or needs too much memory."}
    return {"path": path, **json.loads(done.stdout)}


def _answer(file: Path, limit: int) -> dict[str, Any]:
    try:
        return read_file(file, limit)
    except ReadingError as error:
        return {"error": str(error)}
    except (MemoryError, RecursionError):
        return {"error": "The file needs too much memory or is nested too deeply to be shown."}
    except OSError as error:
        return {"error": f"The file cannot be read: {error.strerror or 'input/output error'}."}


def _read_parquet(file: Path, limit: int) -> tuple[list[str], list[str], list[list[Any]], int | None]:
    import duckdb

    try:
        connection = _connect(file)
        counted = connection.execute("SELECT num_rows FROM parquet_file_metadata(?)", [str(file)]).fetchone()
        names, types, rows = _select(connection, "read_parquet(?)", [str(file)], limit)
    except (duckdb.Error, RuntimeError, ValueError, OverflowError) as error:
        raise ReadingError(f"This Parquet file cannot be read: {_first_line(error, file)}.") from error
    return names, types, rows, int(counted[0]) if counted else None


def _read_delimited(file: Path, kind: str, limit: int) -> tuple[list[str], list[str], list[list[Any]], int | None]:
    import duckdb

    text, whole = decoded_prefix(file)
    delimiter = "\t" if kind == "tsv" else guess_delimiter(text)
    # Only the types and the header are guessed: a guessed quote or skipped lines have shown ragged files wrongly.
    options = f"delim='{delimiter}', quote='\"', escape='\"', skip=0, sample_size=20480, {_LONG_LINES}"
    # Decoded and cut here, because duckdb takes UTF-8 only and would read a large file to its end to count it.
    utf8 = Path.cwd() / f".rows-{file.stat().st_ino}.csv"
    try:
        utf8.write_text(text, "utf-8", newline="")
        connection = _connect(utf8)
        names, types, rows = _select(connection, f"read_csv(?, {options})", [str(utf8)], limit)
        counted = connection.execute(f"SELECT count(*) FROM read_csv(?, {options})", [str(utf8)]).fetchone()  # noqa: S608
    except (duckdb.Error, RuntimeError, ValueError, OverflowError):
        return read_delimited_plainly(text, delimiter, limit, whole)
    finally:
        utf8.unlink(missing_ok=True)
    return names, types, rows, int(counted[0]) if counted and whole else None


def _connect(file: Path):
    """A database in memory which may read this one file and nothing else, neither network nor extensions."""
    import duckdb

    connection = duckdb.connect(":memory:")
    for setting in (
        "threads=1",
        f"memory_limit='{_MEMORY_LIMIT}'",
        "temp_directory=''",
        "autoinstall_known_extensions=false",
        "autoload_known_extensions=false",
        "allowed_paths=['{}']".format(str(file).replace("'", "''")),
        "enable_external_access=false",
        "lock_configuration=true",
    ):
        connection.execute(f"SET {setting}")
    return connection


def _select(connection, source: str, parameters: list[str], limit: int) -> tuple[list[str], list[str], list[list[Any]]]:
    """Names, duckdb types and first rows. Long texts and bytes are cut by the database already."""
    described = connection.execute(f"SELECT * FROM {source} LIMIT 0", parameters).description  # noqa: S608
    names, types = [column[0] for column in described], [str(column[1]) for column in described]
    terms = [_term(number, kind) for number, kind in enumerate(types[:MAX_COLUMNS])]
    aliases = ", ".join(f"c{number}" for number in range(len(names)))
    query = f"SELECT {', '.join(terms)} FROM {source} AS t({aliases}) LIMIT {limit}"  # noqa: S608
    return names, types, [list(row) for row in connection.execute(query, parameters).fetchall()]


def _term(number: int, kind: str) -> str:
    column = f"c{number}"
    if kind == "VARCHAR":
        return f"left({column}, {CELL_CHARACTERS + 1})"
    if kind == "BLOB":
        return f"'<' || format('{{:,}}', octet_length({column})) || ' bytes>'"
    # Dates outside Python's years and times with zones (which would need pytz) travel as text, nested ones too.
    return f"CAST({column} AS VARCHAR)" if "DATE" in kind or "TIME" in kind or "INTERVAL" in kind else column


def _cut_rows(rows: list[list[Any]]) -> list[list[Any]]:
    shown: list[list[Any]] = []
    left = ROWS_CHARACTERS
    for row in rows:
        cells = [cell(value) for value in row[:MAX_COLUMNS]]
        left -= sum(len(value) if isinstance(value, str) else 8 for value in cells)
        if left < 0 and shown:
            break
        shown.append(cells)
    return shown


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return cell(value)


def _cut(text: str) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be stored
    return text if len(text) <= CELL_CHARACTERS else text[:CELL_CHARACTERS] + "…"


def _first_line(error: Exception, file: Path) -> str:
    line = str(error).strip().split("\n", 1)[0].replace(str(file), "the file").rstrip(".")
    return line[:300] or type(error).__name__


def main(arguments: list[str]) -> int:
    if len(arguments) == 3 and arguments[0] == "--file":
        json.dump(_answer(Path(arguments[1]), int(arguments[2])), sys.stdout, allow_nan=False)
        return 0
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m models_registry.datasets.reading TASK.json\n")
        return 2
    run_task(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
