"""Budgets which people saved on models: when another variant becomes the answer, their webhooks are told.

Looked at by the sweeper and not while variants are published: a family which is being made changes its mind with each
of them, and nobody's publishing waits for other people's budgets.
"""

import logging
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from compression_service.selection.models import SavedBudget
from compression_service.selection.services import choose_now, read_budget, with_known_device
from compression_service.variants.models import SourceModel
from compression_service.variants.services import current_source
from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_save_budgets
from models_registry.community.webhooks.outbox import REPOSITORIES, record
from models_registry.community.webhooks.payloads import repo_part
from models_registry.errors import Conflict, Forbidden, NotFound, Unauthorized
from models_registry.repos.models import Repository

logger = logging.getLogger(__name__)
MOST_OF_A_PERSON = 20  # on one model
MOST_A_SWEEP = 200
MOST_CHARACTERS = 400


def save_budget(actor: Actor, repository: Repository, text: str) -> SavedBudget:
    """Remember a budget and its answer of now. Saved again, it is the same row.

    Raises Unauthorized, Forbidden, BadRequest (not understood), Conflict (too many).
    """
    user = _require(actor, repository)
    budget = with_known_device(read_budget(text))
    rows = SavedBudget.objects.filter(user=user, repository=repository)
    if (known := rows.filter(budget=budget.canonical).first()) is not None:
        return known
    if rows.count() >= MOST_OF_A_PERSON:
        raise Conflict(f"You have {MOST_OF_A_PERSON} budgets saved on {repository.full_name}: take one away first.")
    fit = choose_now(repository, budget)
    answer = {
        "variant": fit.variant or "", "commit": fit.commit or "", "answer": fit.answer,
        "checked_version": int(fit.catalogue_version),
    }  # fmt: skip
    try:
        with transaction.atomic():
            saved = SavedBudget.objects.create(user=user, repository=repository, budget=budget.canonical, **answer)
    except IntegrityError:  # twice at once
        return rows.get(budget=budget.canonical)
    logger.info("%s saved the budget %s of %s", actor.name, budget.revision, repository.full_name)
    return saved


def drop_budget(actor: Actor, repository: Repository, text: str) -> None:
    """Raises Unauthorized, Forbidden, BadRequest, NotFound."""
    user = _require(actor, repository)
    budget = with_known_device(read_budget(text))
    if not SavedBudget.objects.filter(user=user, repository=repository, budget=budget.canonical).delete()[0]:
        raise NotFound(f"You have not saved {budget.revision} on {repository.full_name}.")


def saved_budgets(actor: Actor, repository: Repository) -> list[SavedBudget]:
    """One's own. Raises Unauthorized, Forbidden."""
    return list(SavedBudget.objects.filter(user=_require(actor, repository), repository=repository).order_by("pk"))


def tell_of_better() -> int:
    """Look at saved budgets whose model's catalogue has changed since; returns how many changed their answer."""
    behind = SavedBudget.objects.exclude(checked_version=F("repository__catalogue__version"))
    rows = behind.filter(repository__catalogue__isnull=False).select_related("repository__namespace")
    told, at_work = 0, dict[int, bool]()
    for row in rows.order_by("repository", "pk")[:MOST_A_SWEEP]:
        if row.repository_id not in at_work:
            source = current_source(row.repository)
            at_work[row.repository_id] = source is not None and source.status == SourceModel.Status.MAKING
        if not at_work[row.repository_id]:
            told += _look(row)
    return told


def _look(row: SavedBudget) -> bool:
    fit = choose_now(row.repository, read_budget(row.budget))
    now = {"variant": fit.variant or "", "commit": fit.commit or "", "answer": fit.answer}
    changed = now["commit"] != row.commit
    fresh = now | {"checked_version": int(fit.catalogue_version)} | ({"told_at": timezone.now()} if changed else {})
    with transaction.atomic():
        # Of two sweepers one finds the row as it was.
        mine = SavedBudget.objects.filter(pk=row.pk, checked_version=row.checked_version, commit=row.commit)
        if not mine.update(**fresh) or not changed:
            return False

        def more() -> dict[str, Any]:
            before = {"variant": row.variant or None, "commit": row.commit or None, "answer": row.answer}
            told = {
                "budget": fit.budget.canonical, "revision": fit.budget.revision, "variant": fit.variant,
                "commit": fit.commit, "answer": fit.answer, "before": before,
                "sentence": fit.sentence(row.repository.full_name),
            }  # fmt: skip
            return {"repo": repo_part(row.repository), "fit": told}

        record(row.repository, REPOSITORIES, "update", "repo.fit", more, owner=row.user_id)
    return True


def _require(actor: Actor, repository: Repository) -> Any:
    if actor.user is None:
        raise Unauthorized("Sign in or send a token: a saved budget is somebody's.")
    if not can_save_budgets(actor, repository):
        raise Forbidden("Your token may not save budgets: use one with the role write.")
    return actor.user
