"""Discussions and pull requests of a repository, what happened in them, and files attached to comments."""

from django.db import models

from models_registry.accounts.models import User
from models_registry.repos.models import Repository
from models_registry.storage.models import Blob

PULL_REFS = "refs/pr/"


class Status(models.TextChoices):
    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"
    DRAFT = "draft"


class Discussion(models.Model):
    """A discussion or a pull request: the two share a repository's numbers.

    A pull request has a ref, `refs/pr/<number>`, and a branch, `target`, into which it is to be merged.
    """

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="discussions", db_index=False)
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=200)
    is_pull_request = models.BooleanField(default=False)
    status = models.CharField(max_length=6, choices=Status, default=Status.OPEN)
    author = models.ForeignKey(User, models.SET_NULL, null=True)
    pinned = models.BooleanField(default=False)
    comment_count = models.PositiveIntegerField(default=0)
    event_count = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    target = models.CharField(max_length=255, blank=True, help_text="a pull request's branch, e.g. refs/heads/main")
    base_oid = models.CharField(max_length=40, blank=True, help_text="the commit at which a pull request began")
    merge_oid = models.CharField(max_length=40, blank=True, help_text="the commit which merged it")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "number"], name="one_discussion_a_number")]
        indexes = [
            models.Index(fields=["repository", "is_pull_request", "status", "-number"], name="discussions_by_kind"),
            models.Index(fields=["repository", "author", "-number"], name="discussions_by_author"),
        ]

    def __str__(self) -> str:
        return f"{self.repository_id}#{self.number}"

    @property
    def ref(self) -> str:
        """A pull request's own ref."""
        return f"{PULL_REFS}{self.number}"

    @property
    def is_over(self) -> bool:
        return self.status in (Status.CLOSED, Status.MERGED)


class Kind(models.TextChoices):
    """As the hub protocol writes them (§3)."""

    COMMENT = "comment"
    STATUS = "status-change"
    COMMIT = "commit"
    TITLE = "title-change"


class Event(models.Model):
    """Something that happened in a discussion. `data` is what the protocol shows of it; a comment has its `body`."""

    discussion = models.ForeignKey(Discussion, models.CASCADE, related_name="events")
    kind = models.CharField(max_length=13, choices=Kind)
    author = models.ForeignKey(User, models.SET_NULL, null=True)
    created_at = models.DateTimeField()
    data = models.JSONField(default=dict)
    body = models.TextField(blank=True, help_text="a comment's Markdown")
    edited_at = models.DateTimeField(null=True)
    hidden = models.BooleanField(default=False, help_text="its words are gone")

    def __str__(self) -> str:
        return f"{self.kind} in {self.discussion_id}"

    @property
    def public_id(self) -> str:
        """Its name in the API: 24 hex digits in lower case."""
        return f"{self.pk:024x}"


class CommentVersion(models.Model):
    """What a comment said before it was edited."""

    event = models.ForeignKey(Event, models.CASCADE, related_name="versions")
    body = models.TextField()
    written_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.event_id} at {self.written_at}"


class Attachment(models.Model):
    """An image, video or sound in a comment. Whoever has its address may see it: `name` can not be guessed."""

    name = models.CharField(max_length=40, unique=True, help_text="random, with an ending")
    blob = models.ForeignKey(Blob, models.PROTECT, related_name="+")
    content_type = models.CharField(max_length=40)
    author = models.ForeignKey(User, models.CASCADE, related_name="+", db_index=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["author", "created_at"], name="attachments_of_a_day")]

    def __str__(self) -> str:
        return self.name


class Offer(models.Model):
    """A content which somebody without the right to write sent for pull requests of theirs: only those may name it."""

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="+", db_index=False)
    author = models.ForeignKey(User, models.CASCADE, related_name="+")
    blob = models.ForeignKey(Blob, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "author", "blob"], name="one_row_an_offer")]

    def __str__(self) -> str:
        return f"{self.blob_id} for {self.repository_id} by {self.author_id}"
