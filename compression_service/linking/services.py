"""Acts on the choice of a model's data: try it, write it into the card, take it away.

The card alone keeps a choice: what a contributor pushes and what the page saves are one thing, with one history.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from compression_service.engine.definitions import BASELINE
from compression_service.jobs.models import Job
from compression_service.jobs.services import enqueue
from compression_service.linking.form import FormError, block_of, without_choice
from compression_service.linking.models import Preview
from compression_service.variants.datasets import configuration_in, data_files
from compression_service.variants.models import SourceModel, Variant
from compression_service.variants.services import current_source
from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_read_files, can_use
from models_registry.cards.services import card_at, change_card
from models_registry.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    HeadMoved,
    NotFound,
    RepoNotFound,
    RevisionNotFound,
    TooManyRequests,
)
from models_registry.repos.commits import MOVED
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.revisions import DEFAULT_BRANCH, branch_head, resolve_revision
from models_registry.repos.services import find_repository, repository_named, require_write

logger = logging.getLogger(__name__)
PREVIEW = "preview_data"
MOST_AT_ONCE = 3  # of one model
KEPT = 20


def data_chosen(
    actor: Actor, model: Repository, name: str, revision: str, configuration: str = ""
) -> tuple[Repository, str]:
    """(dataset, commit) which a model's card may name, with rows in that configuration.

    Raises NotFound, Forbidden, RevisionNotFound, BadRequest.
    """
    try:
        dataset = find_repository(actor, RepoType.DATASET, name.replace("\0", "").strip(), follow=True)
    except RepoNotFound as error:
        raise NotFound(
            f"This hub has no dataset {name[:100]!r} which you may read: write its whole name, as owner/name."
        ) from error
    if not can_read_files(actor, dataset):
        raise Forbidden(f"You may not read the files of {dataset.full_name}: ask for access on its page first.")
    if not can_use(model, dataset):
        raise Forbidden(
            f"{dataset.full_name} is {_hidden(dataset)}, and not everyone who may write {model.full_name} may read it:"
            " figures of the variants would tell of its rows. Move it to the model's owner, or take another one."
        )
    try:
        commit = resolve_revision(actor, dataset, revision.strip() or DEFAULT_BRANCH)
    except RevisionNotFound as error:
        raise RevisionNotFound(
            f"{dataset.full_name} has no revision {revision[:100]!r}: name a branch, a tag or a commit."
        ) from error
    found = data_files(dataset, commit, configuration)
    if configuration and configuration not in found.configurations:
        there = f"it has {', '.join(found.configurations[:20])}" if found.configurations else "its card names none"
        raise BadRequest(f"{dataset.full_name} has no configuration {configuration[:100]!r} at {commit[:8]}: {there}.")
    if not found.files:
        where = f" in its configuration {configuration}" if configuration else ""
        raise BadRequest(
            f"{dataset.full_name} has no rows at {commit[:8]}{where}: no CSV, JSON, Parquet, NPZ, images,"
            " sounds or texts."
        )
    return dataset, commit


def must_be_told(model: Repository, dataset: Repository) -> str:
    """What saving would tell to people who can not read the dataset; "" where they can."""
    if model.private or not (dataset.private or dataset.gated):
        return ""
    return (
        f"{dataset.full_name} is {_hidden(dataset)} and {model.full_name} is public: its name, its commit, the names of"
        " its columns, how many rows there are and how well the model does on them would be read by everybody."
    )


def tried_on(model: Repository) -> tuple[SourceModel, Variant]:
    """The family whose ONNX rows are tried on, and its baseline. Raises Conflict with what to do."""
    source = current_source(model)
    baseline = Variant.objects.filter(source=source, name=BASELINE, status=Variant.Status.READY).first()
    if source is None or baseline is None:
        raise Conflict(
            "There is no ONNX of this model yet on which rows could be tried: push its files, or wait until they are"
            " converted. Until then its card (README.md) can name a dataset."
        )
    return source, baseline


def look_at(
    actor: Actor, model: Repository, name: str, revision: str, fields: Mapping[str, str], parent: str, *, told: bool
) -> Preview:
    """Have a choice tried by a worker. `parent`: main's head when the form was opened; `told`: must_be_told was agreed
    to. Raises what data_chosen and tried_on raise, BadRequest for a field, HeadMoved, TooManyRequests."""
    require_write(actor, model)
    dataset, commit = data_chosen(actor, model, name, revision, fields.get("dataset_config", "").strip())
    _require_agreement(model, dataset, told)
    source, _ = tried_on(model)
    if parent != branch_head(model):
        raise HeadMoved(MOVED)
    try:
        block = block_of(fields, card_at(model, parent).fithub, dataset.full_name, commit)
    except FormError as error:
        raise BadRequest(str(error)) from error
    key = [model.pk, source.pk, parent, dataset.pk, commit, block, told]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
    with transaction.atomic():
        Repository.objects.select_for_update().get(pk=model.pk)
        rows = Preview.objects.filter(repository=model)
        there = rows.filter(digest=digest).first()
        if there is not None and (there.result is None or there.fits):
            return there
        rows.filter(digest=digest).delete()
        if Job.objects.filter(repository=model, kind=PREVIEW, state__in=Job.OPEN).count() >= MOST_AT_ONCE:
            raise TooManyRequests(
                f"{MOST_AT_ONCE} choices of this model are being tried: wait until one of them ended."
            )
        rows.filter(pk__in=list(rows.order_by("-pk").values_list("pk", flat=True)[KEPT:])).delete()
        made = Preview.objects.create(
            repository=model, source=source, parent=parent, dataset=dataset.full_name, dataset_commit=commit,
            block=block, told=told, digest=digest,
        )  # fmt: skip
        enqueue(PREVIEW, model, {"preview": made.pk, "commit": source.commit}, f"{PREVIEW}:{made.pk}")
    return made


def find_preview(actor: Actor, model: Repository, number: str) -> Preview:
    """A look which is kept, if this actor may still read its dataset. Raises NotFound."""
    found = None
    if number.isdecimal() and len(number) < 19:
        found = Preview.objects.filter(repository=model, pk=int(number)).select_related("source").first()
    if found is None:
        raise NotFound("This look at the data is not kept any more: look at it again.")
    dataset = repository_named(RepoType.DATASET, found.dataset)
    if dataset is None or not can_read_files(actor, dataset):
        raise NotFound(f"{found.dataset} is not here any more, or you may not read it.")
    return found


def record_result(preview: Preview, result: dict[str, Any]) -> None:
    """Keep what the rows became, or {"reason"}. The first one stays."""
    Preview.objects.filter(pk=preview.pk, result__isnull=True).update(result=result)


def save_choice(actor: Actor, model: Repository, preview: Preview) -> str:
    """Write a choice which was looked at, and which fits, into the card; returns the commit, from which the family is
    made anew. Everything is asked again. Raises Conflict, HeadMoved, and what look_at raises."""
    require_write(actor, model)
    if preview.result is None:
        raise Conflict("The rows are still being looked at: wait for that.")
    if not preview.fits:
        raise Conflict(f"This choice does not fit, and was not saved. {preview.result['reason']}")
    dataset, commit = data_chosen(
        actor, model, preview.dataset, preview.dataset_commit, configuration_in(preview.block)
    )
    _require_agreement(model, dataset, preview.told)
    title = f"Calibrate and judge with {dataset.full_name} at {commit[:8]}"
    made = change_card(actor, model, "fithub", preview.block, title, preview.parent)
    logger.info("%s: data of %s at %s chosen by %s", model.path, dataset.full_name, commit, actor.name)
    return made


def drop_choice(actor: Actor, model: Repository, parent: str) -> str:
    """Take every word of data out of the card's `fithub:` block; returns the commit."""
    require_write(actor, model)
    if parent != branch_head(model):
        raise HeadMoved(MOVED)
    left = without_choice(card_at(model, parent).fithub)
    return change_card(actor, model, "fithub", left, "Choose no dataset", parent)


def _require_agreement(model: Repository, dataset: Repository, told: bool) -> None:
    telling = must_be_told(model, dataset)
    if telling and not told:
        raise BadRequest(f"{telling} Tick the box if that is meant, or make the model private.")


def _hidden(dataset: Repository) -> str:
    return "private" if dataset.private else "gated"
