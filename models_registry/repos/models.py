"""Repositories, their refs and git objects, and which contents they may name."""

from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from models_registry.accounts.models import Namespace, User
from models_registry.storage.models import Blob


class RepoType(models.TextChoices):
    MODEL = "model"
    DATASET = "dataset"
    SPACE = "space"
    KERNEL = "kernel"
    BUCKET = "bucket"

    @property
    def has_history(self) -> bool:
        """Whether there is git behind it. A bucket has files and no past (buckets/)."""
        return self is not RepoType.BUCKET

    @property
    def plural(self) -> str:
        return f"{self.value}s"

    @property
    def url_prefix(self) -> str:
        """What stands before `namespace/name` in a URL: nothing for models."""
        return "" if self is RepoType.MODEL else f"{self.value}s/"


GIT_TYPES = tuple(kind for kind in RepoType if kind.has_history)


class Gate(models.TextChoices):
    """How people come by the files of a gated repository. No gate is the empty text."""

    AUTO = "auto", "asking is enough"
    MANUAL = "manual", "its owners decide"


class Repository(models.Model):
    """A model or a dataset (or a bare space or kernel), `namespace/name`, with git history.

    What the card says is kept beside it in columns, so that listings never read git objects.
    """

    type = models.CharField(max_length=8, choices=RepoType, default=RepoType.MODEL)
    namespace = models.ForeignKey(Namespace, models.PROTECT, related_name="repositories", db_index=False)
    name = models.CharField(max_length=96)
    full_name = models.CharField(max_length=200, help_text="namespace/name", db_index=True)
    private = models.BooleanField(default=False)
    creator = models.ForeignKey(User, models.SET_NULL, null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_modified = models.DateTimeField()
    downloads = models.PositiveBigIntegerField(default=0)
    likes = models.PositiveIntegerField(default=0)
    trending = models.FloatField(default=0, help_text="search/trending.py: comparable, but no figure to show")
    card = models.JSONField(default=dict, help_text="the README's YAML at the head of main")
    summary = models.TextField(blank=True, help_text="the first words of the card, for listings")
    library_name = models.CharField(max_length=100, blank=True)
    pipeline_tag = models.CharField(max_length=100, blank=True)
    tags = models.JSONField(default=list, help_text="as clients are shown them; RepositoryTag is what filters ask")
    file_facts = models.JSONField(default=dict, help_text="what the files at main's head say (cards/facts.py)")
    num_parameters = models.BigIntegerField(null=True, blank=True, db_index=True)
    main_size_bytes = models.BigIntegerField(default=0, help_text="of the files at main's head")
    gated = models.CharField(max_length=6, blank=True, choices=Gate, help_text="empty: the files are for every reader")
    discussions_disabled = models.BooleanField(default=False)
    sdk = models.CharField(max_length=20, blank=True, help_text="of a space")
    description = models.TextField(blank=True, help_text="set by its owners; the card's own words are `summary`")
    used_storage_bytes = models.BigIntegerField(default=0, help_text="of the contents in RepositoryBlob")

    class Meta:
        constraints = [models.UniqueConstraint("type", Lower("full_name"), name="repository_name_any_case")]
        # A listing walks the index of its order from where the page begins: no sort, and no cost which grows.
        indexes = [
            models.Index(fields=["type", "private", "-last_modified", "-id"], name="listing_by_last_modified"),
            models.Index(fields=["type", "private", "-created_at", "-id"], name="listing_by_created_at"),
            models.Index(fields=["type", "private", "-downloads", "-id"], name="listing_by_downloads"),
            models.Index(fields=["type", "private", "-likes", "-id"], name="listing_by_likes"),
            models.Index(fields=["type", "private", "-trending", "-id"], name="listing_by_trending"),
            models.Index(fields=["gated"], name="listing_of_gated"),
            models.Index(fields=["namespace", "type", "private", "-last_modified", "-id"], name="listing_of_namespace"),
        ]

    def __str__(self) -> str:
        return self.full_name

    @property
    def kind(self) -> RepoType:
        return RepoType(self.type)

    @property
    def path(self) -> str:
        """The repository's path in a URL, without the first slash."""
        return f"{self.kind.url_prefix}{self.full_name}"


class RepositoryTag(models.Model):
    """A tag by which listings filter: what the card and the file names say (`license:mit`, `onnx`, …)."""

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="tag_rows")
    tag = models.CharField(max_length=200)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "tag"], name="one_row_a_tag")]
        indexes = [models.Index(fields=["tag", "repository"], name="repositories_of_a_tag")]

    def __str__(self) -> str:
        return self.tag


class Ref(models.Model):
    """A full ref name (`refs/heads/main`, `refs/tags/v1`, `refs/variants/int8-dynamic`) and the commit it names."""

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="refs")
    name = models.CharField(max_length=255)
    oid = models.CharField(max_length=40)
    tag_oid = models.CharField(max_length=40, blank=True, help_text="of an annotated tag's own object")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "name"], name="one_ref_a_name")]

    def __str__(self) -> str:
        return self.name


class GitObject(models.Model):
    """A git object's body. For an LFS pointer, `sha256` and `size_bytes` are those of the file it stands for."""

    repository = models.ForeignKey(Repository, models.CASCADE, db_index=False, related_name="objects_rows")
    oid = models.CharField(max_length=40)
    kind = models.PositiveSmallIntegerField(help_text="git's number: 1 commit, 2 tree, 3 blob, 4 tag")
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64, blank=True, help_text="of the content, for an LFS pointer")
    data = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "oid"], name="one_row_an_object")]
        indexes = [
            # History is read commit by commit without touching the many trees and files beside them.
            models.Index(fields=["repository", "id"], condition=models.Q(kind=1), name="commits_of_a_repository"),
            models.Index(fields=["repository", "sha256"], condition=~models.Q(sha256=""), name="pointers"),
        ]

    def __str__(self) -> str:
        return self.oid


class RepositoryBlob(models.Model):
    """This repository's owner has shown that they hold this content: its commits may name it."""

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="blob_rows", db_index=False)
    blob = models.ForeignKey(Blob, models.PROTECT, related_name="repository_rows")
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(default=timezone.now, help_text="when a client last sent it or asked for it here")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "blob"], name="one_row_a_blob")]

    def __str__(self) -> str:
        return f"{self.blob_id} in {self.repository_id}"


class Abandoned(models.Model):
    """A commit or tag to which no ref leads any more, as garbage collection first saw it: the grace runs from then."""

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="abandoned_rows", db_index=False)
    oid = models.CharField(max_length=40)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "oid"], name="abandoned_once")]

    def __str__(self) -> str:
        return self.oid


class RepositoryRedirect(models.Model):
    """A name which a repository had before it was moved. It ends when another repository takes the name."""

    type = models.CharField(max_length=8, choices=RepoType)
    full_name = models.CharField(max_length=200, help_text="namespace/name, as it was")
    repository = models.ForeignKey(Repository, models.CASCADE, related_name="redirects")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint("type", Lower("full_name"), name="redirect_name_any_case")]

    def __str__(self) -> str:
        return self.full_name


class AccessRequest(models.Model):
    """One person at the gate of one repository: what they asked, and what was decided."""

    class Status(models.TextChoices):
        PENDING = "pending"
        ACCEPTED = "accepted"
        REJECTED = "rejected"

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="access_requests", db_index=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="access_requests")
    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING)
    granted = models.BooleanField(default=False, help_text="given by an owner without being asked for")
    fields = models.JSONField(default=dict, help_text="what the person wrote when asking: {label: text}")
    rejection_reason = models.TextField(blank=True)
    requested_at = models.DateTimeField(auto_now_add=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "user"], name="one_request_a_person")]
        indexes = [models.Index(fields=["repository", "status", "-requested_at"], name="requests_of_a_gate")]

    def __str__(self) -> str:
        return f"{self.user} at {self.repository}: {self.status}"
