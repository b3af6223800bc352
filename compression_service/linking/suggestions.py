"""Datasets which a contributor may want for a model, and what is known of one. No file is opened here."""

from collections.abc import Iterator
from dataclasses import dataclass

from compression_service.variants.datasets import ARRAY_ENDINGS, data_files, named_datasets
from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_read_files, can_use
from models_registry.cards.metadata import Card
from models_registry.datasets.services import rows_of
from models_registry.errors import RepoNotFound
from models_registry.repos.entries import entries_at
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.services import find_repository
from models_registry.search.listings import Filters, find_repositories

MOST = 8
_ASKED = 24  # rows of a listing, some of which the model may not use
_TABLES = 20  # files whose columns are told
_OF_FILES = ("image", "audio", "text", "label", "mask", "clean")  # columns which rows of files in folders have


@dataclass(frozen=True)
class Suggestion:
    dataset: Repository
    why: str


@dataclass(frozen=True)
class Shape:
    """Of a dataset at a commit: its splits, and (column, type) as far as its rows were read.

    Of one of its configurations, where its card has any; `configuration` is the one which is taken.
    """

    splits: list[str]
    columns: list[tuple[str, str]]
    files: int
    configurations: list[str]
    configuration: str


def suggested(actor: Actor, model: Repository, card: Card, words: str = "") -> list[Suggestion]:
    """At most MOST which this actor may read and this model may use: what the words find, else what fits the model."""
    found: dict[int, Suggestion] = {}
    for one in _searched(actor, words) if words.strip() else _fitting(actor, model, card):
        if one.dataset.pk not in found and can_use(model, one.dataset) and can_read_files(actor, one.dataset):
            found[one.dataset.pk] = one
        if len(found) == MOST:
            break
    return list(found.values())


def _searched(actor: Actor, words: str) -> Iterator[Suggestion]:
    for row in find_repositories(actor, RepoType.DATASET, Filters(search=(words,)), _ASKED).rows:
        yield Suggestion(row, row.summary)


def _fitting(actor: Actor, model: Repository, card: Card) -> Iterator[Suggestion]:
    for name in named_datasets(card)[:MOST]:
        try:
            yield Suggestion(find_repository(actor, RepoType.DATASET, name, follow=True), "named by the card")
        except RepoNotFound:
            continue
    if model.pipeline_tag:
        tagged = Filters(tags=(f"task_categories:{model.pipeline_tag}",))
        for row in find_repositories(actor, RepoType.DATASET, tagged, _ASKED).rows:
            yield Suggestion(row, f"made for {model.pipeline_tag}")
    for row in find_repositories(actor, RepoType.DATASET, Filters(author=model.namespace.name), _ASKED).rows:
        yield Suggestion(row, "of the same owner")


def shape_of(dataset: Repository, commit: str, configuration: str = "") -> Shape:
    from compression_service.engine.calibration.rows import READERS, split_of

    found = data_files(dataset, commit, configuration)
    paths = found.files
    tables = [path for path in paths if path.lower().endswith(tuple(READERS))]
    entries = entries_at(dataset, commit, tables[:_TABLES])
    read = rows_of(entry.oid for entry in entries)
    columns = {
        str(column.get("name")): str(column.get("type", ""))
        for entry in entries
        if entry.oid in read
        for column in read[entry.oid].columns
    }
    if not tables and not any(path.lower().endswith(ARRAY_ENDINGS) for path in paths):
        columns = dict.fromkeys(_OF_FILES, "")
    splits = sorted({split_of(stated or path) for path, stated in paths.items()})
    return Shape(splits, list(columns.items()), len(paths), found.configurations, found.configuration)
