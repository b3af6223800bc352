"""Webhooks, what they watch, the events which they were told of, and each delivery.

An event and its deliveries are written in the transaction of what happened (an outbox): they exist if and only if it
did. A delivery's `due_at` is also its lease: whoever claims it moves `due_at` on, so that a sender which was killed
leaves it to the next one.
"""

import uuid

from django.db import models
from django.db.models import Q

from models_registry.accounts.models import Namespace, User
from models_registry.repos.models import Repository

URL_MAX, SECRET_MAX, NOTE_MAX = 2000, 256, 300


class Webhook(models.Model):
    """Where to send a person's events. `secret` is kept as it is, because every request carries it."""

    owner = models.ForeignKey(User, models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=URL_MAX)
    secret = models.CharField(max_length=SECRET_MAX, blank=True)
    of_repositories = models.BooleanField(default=True, help_text="the domain `repo`")
    of_discussions = models.BooleanField(default=True, help_text="the domain `discussion`")
    disabled = models.BooleanField(default=False)
    disabled_reason = models.CharField(max_length=NOTE_MAX, blank=True, help_text="empty when its owner did it")
    failures = models.PositiveIntegerField(default=0, help_text="deliveries given up since the last success")
    origin = models.CharField(max_length=300, help_text="this hub's address, as the owner wrote it")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"webhook {self.ident} of {self.owner_id}"

    @property
    def ident(self) -> str:
        return f"{self.pk:024x}"

    @property
    def domains(self) -> list[str]:
        pairs = (("repo", self.of_repositories), ("discussion", self.of_discussions))
        return [name for name, on in pairs if on]


class Watched(models.Model):
    """A user, an organisation or a repository by its name; it need not exist yet."""

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="watched_rows", db_index=False)
    type = models.CharField(max_length=8)
    name = models.CharField(max_length=200)
    name_lower = models.CharField(max_length=200)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["webhook", "type", "name_lower"], name="watched_once")]
        indexes = [models.Index(fields=["name_lower", "type"], name="who_watches")]
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.type} {self.name}"


class Event(models.Model):
    """What happened, as all its deliveries tell it. Addresses in `payload` begin at the hub's root.

    What is needed to ask again who may know of it outlives the repository.
    """

    key = models.UUIDField(default=uuid.uuid4, unique=True, help_text="X-Webhook-Id: the same in every delivery")
    repository = models.ForeignKey(Repository, models.SET_NULL, null=True, related_name="webhook_events")
    namespace = models.ForeignKey(Namespace, models.CASCADE, related_name="+")
    private = models.BooleanField(help_text="whether the repository was, when it happened")
    payload = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"event {self.key}"

    @property
    def title(self) -> str:
        """`update repo.content`"""
        event = self.payload["event"]
        return f"{event['action']} {event['scope']}"


class Delivery(models.Model):
    """One event on its way to one webhook."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"
        DROPPED = "dropped", "not sent"

    webhook = models.ForeignKey(Webhook, models.CASCADE, related_name="deliveries", db_index=False)
    event = models.ForeignKey(Event, models.CASCADE, related_name="deliveries")
    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(help_text="when it may be claimed; a claim moves it on")
    claim = models.UUIDField(null=True, help_text="of the sender which holds it")
    status_code = models.PositiveSmallIntegerField(null=True)
    note = models.CharField(max_length=NOTE_MAX, blank=True)
    took_ms = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state="waiting"), name="deliveries_due"),
            models.Index(fields=["webhook", "-created_at"], name="deliveries_newest"),
            models.Index(fields=["finished_at"], name="deliveries_finished"),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk}: {self.state}"
