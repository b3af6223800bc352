"""What the runners of the compression share."""

from pathlib import Path
from threading import Event
from typing import Any

from django.db.models import Max

from compression_service.jobs import memos
from compression_service.jobs.files import Say, checkout
from compression_service.jobs.models import Job
from compression_service.jobs.services import enqueue
from compression_service.variants.datasets import configuration_in, data_files, named_datasets, usable_dataset
from compression_service.variants.models import SourceModel, Variant
from models_registry.cards.metadata import Card
from models_registry.cards.services import card_at
from models_registry.repos.models import Repository

NO_DATASET = (
    "The card names {names}, which this hub does not hold or may not read for this model: push it, and the variants are"
    " made anew with its rows."
)
NO_CONFIGURATION = (
    "{name} has no rows in a configuration {configuration} (or not at that revision): name one of its card's `configs`."
)


def source_of(job: Job) -> SourceModel:
    return SourceModel.objects.select_related("repository__namespace", "repository__creator").get(
        pk=job.payload["source"]
    )


def bring_inputs(source: SourceModel, folder: Path, stop: Event, say: Say | None = None) -> dict[str, Any]:
    """Put the support files and the dataset's rows into the job's folder; returns the task's keys for them."""
    task = bring_support(source, folder, stop)
    card = card_at(source.repository, source.commit)
    if not source.dataset:
        return task | {"notes": _why_none(source.repository, card)}
    dataset = usable_dataset(source.repository, source.dataset)
    if dataset is None:  # deleted or hidden since
        return task
    return task | bring_rows(dataset, source.dataset_commit, card.fithub, folder, stop, say)


def _why_none(model: Repository, card: Card) -> list[str]:
    """Why none of the datasets which the card names was taken."""
    named, configuration = named_datasets(card), configuration_in(card.fithub)
    if configuration and usable_dataset(model, named[0]) is not None:
        return [NO_CONFIGURATION.format(name=named[0], configuration=configuration)]
    return [NO_DATASET.format(names=", ".join(named[:3]))] if named else []


def bring_support(source: SourceModel, folder: Path, stop: Event) -> dict[str, Any]:
    """Tokenizer and configurations; the task's keys for a model without a dataset."""
    checkout(
        source.repository, source.commit, folder / "source", keep=source.detail.get("support_files") or [], stop=stop
    )
    return {"source": "source", "dataset": None, "dataset_info": None, "seed": 0, "seconds_cap": 60}


def bring_rows(
    dataset: Repository, commit: str, block: dict[str, Any], folder: Path, stop: Event, say: Say | None = None
) -> dict[str, Any]:
    """The dataset's files of rows, and what the card's `fithub:` block says of them."""
    files = data_files(dataset, commit, configuration_in(block)).files
    checkout(dataset, commit, folder / "dataset", keep=files, stop=stop, say=say, what="the dataset's rows")
    stated = {path: split for path, split in files.items() if split}
    info = {"repository": dataset.full_name, "commit": commit, "files": list(files), "config": block}
    if stated:
        info["splits"] = stated
    return {"dataset": "dataset", "dataset_info": info}


def measure_when_made(source: SourceModel) -> None:
    """Queue the measuring once nothing is being made any more, and again when a later recipe made another variant."""
    rows = Variant.objects.filter(source=source)
    if not rows.filter(status=Variant.Status.MAKING).exists():
        memos.drop(source)
        newest = rows.filter(status=Variant.Status.READY).aggregate(Max("pk"))["pk__max"]
        enqueue("measure", source.repository, {"source": source.pk}, f"measure:{source.pk}:{newest}")
