"""The first rows of a dataset's files, as a section of its page."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from models_registry.accounts.policies import can_read_files
from models_registry.datasets.models import FileRows
from models_registry.datasets.services import rows_of
from models_registry.pages.links import at
from models_registry.pages.places import actor_of
from models_registry.repos.entries import Entry, list_entries
from models_registry.repos.models import Repository
from models_registry.repos.revisions import DEFAULT_BRANCH, branch_head

DATA_ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
_MAX_FILES = 50
_SHOWN_ROWS = 20
_SHOWN_COLUMNS = 40
_NUMBERS = ("int", "float", "double", "decimal", "uint", "hugeint")


@dataclass(frozen=True)
class Table:
    """The rows of one file as a page shows them. `waiting` when nobody has read it yet; else `error`, or rows."""

    columns: list[dict[str, Any]]
    rows: list[list[tuple[Any, bool]]]  # (value, whether it is a number)
    num_rows: int | None
    hidden_columns: int
    waiting: bool
    error: str


def section(request: HttpRequest, repository: Repository) -> SafeString | None:
    """One file at a time, chosen by `?file=`; None without a file of rows which this person may read."""
    head = branch_head(repository)
    if head is None or not can_read_files(actor_of(request), repository):
        return None
    entries = list_entries(repository, head, recursive=True)
    files = [entry for entry in entries if not entry.is_folder and entry.path.lower().endswith(DATA_ENDINGS)]
    if not files:
        return None
    asked = request.GET.get("file", "")
    chosen = next((entry for entry in files if entry.path == asked), files[0])
    read = rows_of([chosen.oid]).get(chosen.oid)
    context = {
        "files": files[:_MAX_FILES],
        "more_files": max(0, len(files) - _MAX_FILES),
        "chosen": chosen,
        "blob": at(repository, "blob", DEFAULT_BRANCH, chosen.path),
        "table": _table(chosen, read),
    }
    return render_to_string("pages/parts/rows.html", context, request)


def _table(entry: Entry, read: FileRows | None) -> Table:
    if read is None or read.error:
        return Table([], [], None, 0, read is None, read.error if read else "")
    columns = read.columns[:_SHOWN_COLUMNS]
    numeric = [str(column.get("type", "")).startswith(_NUMBERS) for column in columns]
    rows = [list(zip(row[:_SHOWN_COLUMNS], numeric, strict=False)) for row in read.rows[:_SHOWN_ROWS]]
    described = [{**column, "is_number": number} for column, number in zip(columns, numeric, strict=True)]
    return Table(described, rows, read.num_rows, max(0, len(read.columns) - len(columns)), False, "")
