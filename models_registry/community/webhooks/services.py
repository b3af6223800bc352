"""Acts on webhooks: make, change, enable, disable, delete; send a delivery again."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import User
from models_registry.accounts.policies import can_change_webhooks, can_see_webhooks
from models_registry.accounts.services import NAME
from models_registry.community.webhooks import addresses
from models_registry.community.webhooks.models import SECRET_MAX, Delivery, Watched, Webhook
from models_registry.community.webhooks.outbox import MAX_A_DAY
from models_registry.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized
from models_registry.repos.models import RepoType

logger = logging.getLogger(__name__)
MAX_WEBHOOKS, MAX_WATCHED = 50, 200
DOMAINS = ("repo", "discussion")
WATCHABLE = ("user", "org", *RepoType.values)
_SECRET = re.compile(r"[\x21-\x7e]*")


@dataclass(frozen=True)
class WatchedName:
    """`type` is user, org, or a repository's type; `name` is `owner` or `owner/name`."""

    type: str
    name: str


def webhooks_of(actor: Actor) -> QuerySet[Webhook]:
    """The actor's own webhooks, oldest first. Raises Unauthorized, Forbidden."""
    user = _user(actor)
    return Webhook.objects.filter(owner=user).prefetch_related("watched_rows").order_by("pk")


def find_webhook(actor: Actor, ident: str) -> Webhook:
    """One of the actor's own, by its 24 hex digits. Raises NotFound for anybody else's."""
    user = _user(actor)
    key = int(ident, 16) if re.fullmatch(r"[0-9a-f]{24}", ident) else 0
    found = Webhook.objects.filter(owner=user, pk=key).first() if 0 < key < 2**63 else None
    if found is None:
        raise NotFound("Webhook not found")
    return found


def create_webhook(
    actor: Actor,
    url: str,
    watched: Iterable[WatchedName],
    domains: Iterable[str] = DOMAINS,
    secret: str = "",
    *,
    origin: str,
) -> Webhook:
    """Make a webhook. `origin` is this hub's address, for the payload's links.

    Raises Unauthorized, Forbidden, BadRequest.
    """
    user = _manager(actor)
    names, chosen = _watched(watched), _domains(domains)
    if not names:
        raise BadRequest("A webhook must watch something: give users, organisations or repositories.")
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        if Webhook.objects.filter(owner=user).count() >= MAX_WEBHOOKS:
            raise BadRequest(f"You have {MAX_WEBHOOKS} webhooks: delete one to make another.")
        webhook = Webhook.objects.create(
            owner=user, url=_url(url), secret=_secret(secret), origin=origin[:300], **_flags(chosen)
        )
        _write_watched(webhook, names)
    logger.info("webhook %s made by %s", webhook.ident, actor.name)
    return webhook


def update_webhook(
    actor: Actor,
    webhook: Webhook,
    *,
    url: str | None = None,
    watched: Iterable[WatchedName] | None = None,
    domains: Iterable[str] | None = None,
    secret: str | None = None,
) -> None:
    """Change what is given. An empty `watched` changes nothing: the stock client sends it when it is not asked to."""
    _manager(actor)
    if url is not None:
        webhook.url = _url(url)
    if secret is not None:
        webhook.secret = _secret(secret)
    if domains is not None:
        for name, on in _flags(_domains(domains)).items():
            setattr(webhook, name, on)
    names = _watched(watched or ())
    with transaction.atomic():
        webhook.save(update_fields=["url", "secret", "of_repositories", "of_discussions"])
        if names:
            _write_watched(webhook, names)
    logger.info("webhook %s changed by %s", webhook.ident, actor.name)


def set_enabled(actor: Actor, webhook: Webhook, *, enabled: bool) -> None:
    """Switch a webhook on or off. What was not sent meanwhile is not sent later."""
    _manager(actor)
    webhook.disabled, webhook.disabled_reason = not enabled, ""
    if enabled:
        webhook.failures = 0
    webhook.save(update_fields=["disabled", "disabled_reason", "failures"])
    logger.info("webhook %s %s by %s", webhook.ident, "enabled" if enabled else "disabled", actor.name)


def delete_webhook(actor: Actor, webhook: Webhook) -> None:
    _manager(actor)
    name = webhook.ident
    webhook.delete()
    logger.info("webhook %s deleted by %s", name, actor.name)


def redeliver(actor: Actor, webhook: Webhook, delivery_id: int) -> Delivery:
    """Send an event once more, to the URL and with the secret as they are now. Raises NotFound, Conflict, …"""
    _manager(actor)
    before = webhook.deliveries.filter(pk=delivery_id).first()
    if before is None:
        raise NotFound("This webhook has no such delivery.")
    if webhook.disabled:
        raise Conflict("The webhook is disabled: enable it first.")
    now = timezone.now()
    if webhook.deliveries.filter(created_at__gt=now - timedelta(days=1)).count() >= MAX_A_DAY:
        raise BadRequest(f"A webhook sends at most {MAX_A_DAY:,} times a day: try again tomorrow.")
    return Delivery.objects.create(webhook=webhook, event_id=before.event_id, due_at=now, created_at=now)


def _user(actor: Actor) -> User:
    if actor.user is None:
        raise Unauthorized("Sign in or send a token to see your webhooks.")
    if not can_see_webhooks(actor):
        raise Forbidden("This token may not see your webhooks.")
    return actor.user


def _manager(actor: Actor) -> User:
    if actor.user is None:
        raise Unauthorized("Sign in or send a token with the role write to change your webhooks.")
    if not can_change_webhooks(actor):
        raise Forbidden("This token may not change your webhooks: use one with the role write.")
    return actor.user


def _url(url: str) -> str:
    """A URL which may be called, as far as can be said without looking its name up."""
    try:
        target = addresses.parse_url(url)
        if not settings.WEBHOOK_ALLOW_PRIVATE:
            addresses.check_literal(target)
    except addresses.Refused as error:
        raise BadRequest(str(error)) from error
    return url


def _secret(secret: str) -> str:
    if len(secret) > SECRET_MAX or not _SECRET.fullmatch(secret):
        raise BadRequest(f"A secret is at most {SECRET_MAX} printable ASCII characters without spaces.")
    return secret


def _domains(domains: Iterable[str]) -> set[str]:
    chosen = set(domains)
    if not chosen or not chosen <= set(DOMAINS):
        raise BadRequest(f"A webhook's domains are one or both of {', '.join(DOMAINS)}.")
    return chosen


def _flags(domains: set[str]) -> dict[str, bool]:
    return {"of_repositories": "repo" in domains, "of_discussions": "discussion" in domains}


def _watched(names: Iterable[WatchedName]) -> list[WatchedName]:
    """Each once, in order. A name need not exist: saying so would tell strangers what is private."""
    found: dict[tuple[str, str], WatchedName] = {}
    for one in names:
        if one.type not in WATCHABLE:
            raise BadRequest(f"A watched item's type is one of {', '.join(WATCHABLE)}, not {one.type[:40]!r}.")
        parts = one.name.split("/")
        wanted = 1 if one.type in ("user", "org") else 2
        if len(parts) != wanted or not all(NAME.fullmatch(part) for part in parts):
            form = "a name" if wanted == 1 else "owner/name"
            raise BadRequest(f"A watched {one.type} is {form}, not {one.name[:80]!r}.")
        found.setdefault((one.type, one.name.lower()), one)
    if len(found) > MAX_WATCHED:
        raise BadRequest(f"A webhook watches at most {MAX_WATCHED} items.")
    return list(found.values())


def _write_watched(webhook: Webhook, names: list[WatchedName]) -> None:
    webhook.watched_rows.all().delete()
    Watched.objects.bulk_create(
        [Watched(webhook=webhook, type=one.type, name=one.name, name_lower=one.name.lower()) for one in names]
    )
