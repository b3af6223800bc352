"""Writing down what webhooks are told. Called inside the transaction of what happened: the rows share its fate."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from models_registry.accounts.models import Namespace
from models_registry.accounts.policies import readers_of
from models_registry.community.webhooks.models import Delivery, Event, Watched, Webhook
from models_registry.repos.models import Repository

MAX_A_DAY = 1000  # deliveries of one webhook, as the hub's clients know it
MAX_WEBHOOKS_AN_EVENT = 5000
REPOSITORIES, DISCUSSIONS = "of_repositories", "of_discussions"


def record(
    repository: Repository,
    domain: str,
    action: str,
    scope: str,
    more: Callable[[], dict[str, Any]],
    *,
    before: tuple[str, Namespace] | None = None,
    owner: int | None = None,
) -> None:
    """Queue an event for everyone who watches the repository or its owner and may read it.

    `more` gives the payload beside `event`; it is asked only when somebody watches. `before`: the name and owner which
    it had until a move; who watches those is told, too. `owner`: the user whose webhooks alone are told.
    """
    watching = _watching(repository, domain, before)
    webhooks = list((watching if owner is None else watching.filter(owner=owner))[:MAX_WEBHOOKS_AN_EVENT])
    if not webhooks:
        return
    now = timezone.now()
    spent = _spent(webhooks)
    event = Event.objects.create(
        repository=repository,
        namespace=repository.namespace,
        private=repository.private,
        payload={"event": {"action": action, "scope": scope}, **more()},
    )
    Delivery.objects.bulk_create(
        [
            Delivery(webhook_id=key, event=event, due_at=now, created_at=now)
            for key in webhooks
            if spent.get(key, 0) < MAX_A_DAY
        ],
        batch_size=500,
    )


def follow(repository: Repository, old_name: str) -> None:
    """After a move, what watched the repository by its old name watches it by the new one."""
    rows = Watched.objects.filter(type=repository.type, name_lower=old_name.lower())
    new = repository.full_name
    already = Watched.objects.filter(type=repository.type, name_lower=new.lower()).values("webhook")
    rows.exclude(webhook__in=already).update(name=new, name_lower=new.lower())


def _watching(repository: Repository, domain: str, before: tuple[str, Namespace] | None) -> "QuerySet[Webhook, int]":
    watched = Q()
    for name, owner in [(repository.full_name, repository.namespace), *([before] if before else [])]:
        watched |= Q(type="org" if owner.is_organization else "user", name_lower=owner.name.lower())
        watched |= Q(type=repository.type, name_lower=name.lower())
    rows = Webhook.objects.filter(
        readers_of(repository, "owner__"),
        pk__in=Watched.objects.filter(watched).values("webhook"),
        disabled=False,
        owner__is_active=True,
        **{domain: True},
    )
    return rows.order_by("pk").values_list("pk", flat=True)


def _spent(webhooks: list[int]) -> dict[int, int]:
    """How many deliveries each has had in a day."""
    since = timezone.now() - timedelta(days=1)
    rows = Delivery.objects.filter(webhook__in=webhooks, created_at__gt=since)
    return dict(rows.values_list("webhook").annotate(total=Count("pk")))
