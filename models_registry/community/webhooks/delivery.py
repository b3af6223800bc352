"""Sending what is due. A claim is one conditional UPDATE which moves `due_at` on; so it is a lease, too.

A sender which is killed leaves its deliveries to whoever looks next: everything is sent at least once.
"""

import logging
import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import new as new_hmac

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_read
from models_registry.community.webhooks import sending
from models_registry.community.webhooks.models import NOTE_MAX, Delivery, Event, Webhook
from models_registry.community.webhooks.payloads import body_of
from models_registry.repos.models import Repository

logger = logging.getLogger(__name__)
MAX_ATTEMPTS = 5
RETRY_AFTER_S = (10, 60, 300, 1800)  # after the first, second, … attempt
LEASE = timedelta(seconds=60)  # longer than an attempt can last, its look-up of the name included
FAILURES_TO_DISABLE = 10
KEPT = timedelta(days=30)
_CLEARED_AT_ONCE = 2000


def due(limit: int, busy_owners: Collection[int] = ()) -> list[tuple[int, int]]:
    """(delivery, its webhook's owner) of what may be sent now, longest due first, without those owners."""
    rows = Delivery.objects.filter(state=Delivery.State.WAITING, due_at__lte=timezone.now())
    if busy_owners:
        rows = rows.exclude(webhook__owner__in=busy_owners)
    return list(rows.order_by("due_at").values_list("pk", "webhook__owner")[:limit])


def attempt(delivery_id: int) -> None:
    """Claim a delivery, send it, write down what came of it. Nothing happens when somebody else has it."""
    claim = uuid.uuid4()
    now = timezone.now()
    rows = Delivery.objects.filter(pk=delivery_id, state=Delivery.State.WAITING, due_at__lte=now)
    if not rows.update(claim=claim, due_at=now + LEASE, attempts=F("attempts") + 1):
        return
    row = Delivery.objects.select_related("webhook__owner", "event__repository__namespace", "event__namespace").get(
        pk=delivery_id
    )
    reason = _why_not(row.webhook, row.event)
    if reason:
        _finish(row, claim, Delivery.State.DROPPED, note=reason)
        return
    if row.attempts > MAX_ATTEMPTS:  # every sender which had it was killed
        _give_up(row, claim, None)
        return
    outcome = _send(row)
    if outcome.is_success:
        with transaction.atomic():
            if _finish(row, claim, Delivery.State.DELIVERED, outcome):
                Webhook.objects.filter(pk=row.webhook_id, failures__gt=0).update(failures=0)
    elif outcome.final or row.attempts >= MAX_ATTEMPTS:
        _give_up(row, claim, outcome)
    else:
        pause = timedelta(seconds=RETRY_AFTER_S[min(row.attempts, len(RETRY_AFTER_S)) - 1])
        _held(row, claim).update(
            claim=None,
            due_at=timezone.now() + pause,
            status_code=outcome.status,
            note=outcome.note[:NOTE_MAX],
            took_ms=outcome.took_ms,
        )


def headers_of(row: Delivery, body: bytes, sent_at: datetime) -> dict[str, str]:
    """docs/webhooks.md tells their readers what each is for."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "FitHub-Webhooks",
        "X-Webhook-Id": str(row.event.key),
        "X-Webhook-Delivery": str(row.pk),
        "X-Webhook-Attempt": str(row.attempts),
    }
    if row.webhook.secret:
        stamp = str(int(sent_at.timestamp()))
        signed = new_hmac(row.webhook.secret.encode(), stamp.encode() + b"." + body, sha256).hexdigest()
        headers |= {
            "X-Webhook-Secret": row.webhook.secret,
            "X-Webhook-Timestamp": stamp,
            "X-Webhook-Signature": f"sha256={signed}",
        }
    return headers


def clear_up() -> int:
    """Forget what was finished long ago. Returns how many deliveries."""
    old = timezone.now() - KEPT
    keys = list(Delivery.objects.filter(finished_at__lt=old).values_list("pk", flat=True)[:_CLEARED_AT_ONCE])
    Delivery.objects.filter(pk__in=keys).delete()
    events = Event.objects.filter(created_at__lt=old, deliveries__isnull=True)
    Event.objects.filter(pk__in=list(events.values_list("pk", flat=True)[:_CLEARED_AT_ONCE])).delete()
    return len(keys)


def _why_not(webhook: Webhook, event: Event) -> str:
    """Asked when it is sent, not when it happened: rights may have been taken meanwhile."""
    if webhook.disabled:
        return "The webhook was disabled."
    if not webhook.owner.is_active:
        return "Its owner's account is closed."
    # A deleted repository is judged as it was.
    about = event.repository or Repository(namespace=event.namespace, private=event.private)
    if not can_read(Actor(webhook.owner), about):
        return "Its owner may not read the repository."
    return ""


def _send(row: Delivery) -> sending.Outcome:
    origin = settings.FITHUB_PUBLIC_URL or row.webhook.origin
    body = body_of(row.event.payload, row.webhook.ident, origin)
    headers = headers_of(row, body, timezone.now())
    outcome = sending.post(row.webhook.url, body, headers, allow_private=settings.WEBHOOK_ALLOW_PRIVATE)
    logger.info(
        "webhook %s: %s, attempt %s: %s in %s ms",
        row.webhook.ident, row.event.title, row.attempts, outcome.status or outcome.note, outcome.took_ms,
    )  # fmt: skip
    return outcome


def _give_up(row: Delivery, claim: uuid.UUID, outcome: sending.Outcome | None) -> None:
    """The delivery has failed; a webhook which fails again and again is switched off."""
    with transaction.atomic():
        if not _finish(
            row, claim, Delivery.State.FAILED, outcome, note=f"Its sender was stopped {row.attempts} times."
        ):
            return
        webhooks = Webhook.objects.filter(pk=row.webhook_id)
        webhooks.update(failures=F("failures") + 1)
        reason = f"{FAILURES_TO_DISABLE} deliveries in a row failed; the last: {row.note}"
        many = Q(failures__gte=FAILURES_TO_DISABLE, disabled=False)
        if webhooks.filter(many).update(disabled=True, disabled_reason=reason[:NOTE_MAX]):
            logger.warning("webhook %s is disabled: %s", row.webhook.ident, reason)


def _held(row: Delivery, claim: uuid.UUID):  # type: ignore[no-untyped-def]
    return Delivery.objects.filter(pk=row.pk, claim=claim, state=Delivery.State.WAITING)


def _finish(
    row: Delivery, claim: uuid.UUID, state: Delivery.State, outcome: sending.Outcome | None = None, *, note: str = ""
) -> bool:
    """End a delivery; False when another sender has it by now."""
    row.note = (outcome.note if outcome is not None else note)[:NOTE_MAX]
    return bool(
        _held(row, claim).update(
            state=state,
            claim=None,
            finished_at=timezone.now(),
            status_code=outcome.status if outcome else None,
            note=row.note,
            took_ms=outcome.took_ms if outcome else None,
        )
    )
