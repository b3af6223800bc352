"""Which dataset of this hub calibrates and judges a model: the card's `fithub.dataset`, else the first of its list."""

import hashlib
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import PurePosixPath

from compression_service.engine.calibration.media import IMAGES, SOUNDS
from models_registry.accounts.actors import ANONYMOUS
from models_registry.accounts.policies import can_use
from models_registry.cards import configurations
from models_registry.cards.metadata import Card
from models_registry.cards.services import card_at
from models_registry.errors import RevisionNotFound
from models_registry.repos.entries import Entry, list_entries
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.revisions import branch_head, resolve_revision
from models_registry.repos.services import repository_named

DATA_ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
ARRAY_ENDINGS = (".npz",)
MEDIA_ENDINGS = (*IMAGES, *SOUNDS)
TEXT_ENDINGS = (".txt",)
MEDIA_LIMIT_FILES = 4000
MEDIA_LIMIT_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class DataFiles:
    """`files`: path → split which the dataset's card states, "" where it states none. `configuration`: the one of the
    card's which they belong to, "" where the card names none."""

    files: dict[str, str]
    configurations: list[str]
    configuration: str


def data_files(dataset: Repository, commit: str, configuration: str = "") -> DataFiles:
    """The files of rows at a commit; of images, sounds and texts in folders as many as the limits allow.

    Of a configuration of the card (`configs:`): the one which is named, else the default one where it has any of the
    files, else all. None for a name which the card does not know.
    """
    entries = {entry.path: entry for entry in list_entries(dataset, commit, recursive=True) if not entry.is_folder}
    endings = (*DATA_ENDINGS, *ARRAY_ENDINGS, *MEDIA_ENDINGS, *TEXT_ENDINGS)
    known = [path for path in entries if path.lower().endswith(endings)]
    listed = configurations.configurations(card_at(dataset, commit).metadata)
    chosen = configurations.named(listed, configuration)
    stated = configurations.files_of(chosen, known) if chosen is not None else {}
    files = [entries[path] for path in stated or ([] if configuration else known)]
    tables = [entry.path for entry in files if entry.path.lower().endswith((*DATA_ENDINGS, *ARRAY_ENDINGS))]
    media = [entry for entry in files if entry.path.lower().endswith(MEDIA_ENDINGS)]
    if not tables and not media:
        media = [entry for entry in files if entry.path.lower().endswith(TEXT_ENDINGS)]
    kept = {path: stated.get(path, "") for path in tables + _within_limits(media)}
    return DataFiles(kept, [one.name for one in listed], chosen.name if chosen else "")


def configuration_in(block: dict[str, object]) -> str:
    """The configuration which a model's `fithub:` block names; "" for the default one."""
    wanted = block.get("dataset_config")
    return wanted.strip() if isinstance(wanted, str) and block.get("dataset") else ""


def _within_limits(entries: list[Entry]) -> list[str]:
    """The same choice every time: folders (classes) in turn, inside each by the digest of the name without its ending.

    Files of one name (an image and its mask) come at nearly the same turn of their folders.
    """
    folders: dict[PurePosixPath, list[Entry]] = {}
    for entry in entries:
        folders.setdefault(PurePosixPath(entry.path).parent, []).append(entry)
    ordered = [
        sorted(
            members, key=lambda one: hashlib.sha256(PurePosixPath(one.path).stem.encode("utf-8", "replace")).digest()
        )
        for members in folders.values()
    ]
    chosen: list[str] = []
    total_bytes = 0
    for entry in chain.from_iterable(zip_longest(*ordered)):
        if entry is None:
            continue
        total_bytes += entry.size_bytes
        if len(chosen) == MEDIA_LIMIT_FILES or total_bytes > MEDIA_LIMIT_BYTES:
            break
        chosen.append(entry.path)
    return sorted(chosen)


def named_datasets(card: Card) -> list[str]:
    """The names to try, in order: the one which `fithub.dataset` chooses alone, else those of `datasets`."""
    chosen = card.fithub.get("dataset")
    return [chosen] if isinstance(chosen, str) and chosen.strip() else card.datasets


def usable_dataset(model: Repository, name: str) -> Repository | None:
    """The dataset of that name, if everyone who may write the model's card may read it."""
    dataset = repository_named(RepoType.DATASET, name)
    return dataset if dataset is not None and can_use(model, dataset) else None


def dataset_of(model: Repository, commit: str) -> tuple[str, str] | None:
    """(full name, commit) of the dataset for a model's commit: the one which the card pins, else its head; None while
    there is none with rows."""
    card = card_at(model, commit)
    for name in named_datasets(card):
        dataset = usable_dataset(model, name)
        chosen = _commit_of(dataset, card) if dataset is not None else None
        if (
            dataset is not None
            and chosen is not None
            and data_files(dataset, chosen, configuration_in(card.fithub)).files
        ):
            return dataset.full_name, chosen
    return None


def _commit_of(dataset: Repository, card: Card) -> str | None:
    """None for a revision which is not there (any more)."""
    wanted = card.fithub.get("dataset_revision")
    if not isinstance(wanted, str) or not card.fithub.get("dataset"):
        return branch_head(dataset)
    try:
        return resolve_revision(ANONYMOUS, dataset, wanted)
    except RevisionNotFound:
        return None


def problems(metadata: dict[str, object], kind: str) -> list[tuple[tuple[str | int, ...], str]]:
    """What a model's card says wrongly of its data: (path to the value, the rule which it breaks)."""
    from compression_service.engine.calibration.settings import CHECKS

    block = metadata.get("fithub")
    if kind != "model" or not isinstance(block, dict):
        return []
    found: list[tuple[tuple[str | int, ...], str]] = []
    for key, value in block.items():
        if key in CHECKS:
            found += [(("fithub", key, *path), rule) for path, rule in CHECKS[key](value)] if value is not None else []
            if key in OF_DATASET and value is not None and not block.get("dataset"):
                found.append((("fithub", key), f"is a {OF_DATASET[key]} of fithub.dataset, which is not named"))
        elif key not in OTHER_KEYS:
            found.append(
                (("fithub", str(key)[:80]), f"is not known here; known are {', '.join((*CHECKS, *OTHER_KEYS))}")
            )
    return found


OF_DATASET = {"dataset_revision": "revision", "dataset_config": "configuration"}
OTHER_KEYS = ("recipes", "goal")  # of the block, which other rooms read
