"""Collections: named, ordered lists of repositories, papers and other collections."""

from django.db import models
from django.db.models import Q
from django.utils.text import slugify

from models_registry.accounts.models import Namespace, User
from models_registry.repos.models import Repository

TITLE_MAX, DESCRIPTION_MAX, NOTE_MAX = 150, 150, 500


class Theme(models.TextChoices):
    ORANGE = "orange"
    BLUE = "blue"
    GREEN = "green"
    PURPLE = "purple"
    PINK = "pink"
    INDIGO = "indigo"


class ItemType(models.TextChoices):
    MODEL = "model"
    DATASET = "dataset"
    SPACE = "space"
    KERNEL = "kernel"
    PAPER = "paper"
    COLLECTION = "collection"


class Collection(models.Model):
    """A user's or an organisation's. `position` is its place in its owner's list."""

    namespace = models.ForeignKey(Namespace, models.CASCADE, related_name="collections")
    creator = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    title = models.CharField(max_length=TITLE_MAX)
    description = models.CharField(max_length=DESCRIPTION_MAX, blank=True)
    private = models.BooleanField(default=False)
    theme = models.CharField(max_length=6, choices=Theme, default=Theme.ORANGE)
    position = models.PositiveIntegerField(default=0)
    upvotes = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    last_updated = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["namespace", "title"], name="one_collection_a_title")]
        indexes = [
            models.Index(fields=["-last_updated", "-id"], name="collections_newest"),
            models.Index(fields=["-upvotes", "-last_updated", "-id"], name="collections_most_upvoted"),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def ident(self) -> str:
        """24 hex digits: the end of the slug, by which a collection is found whatever its title is now."""
        return f"{self.pk:024x}"

    @property
    def slug(self) -> str:
        """`namespace/words-of-the-title-<ident>`, with the namespace fetched."""
        words = slugify(self.title)
        return f"{self.namespace.name}/{words}-{self.ident}" if words else f"{self.namespace.name}/{self.ident}"


class CollectionItem(models.Model):
    """One entry. Which of `repository`, `target` and `paper` is set goes by `type`."""

    collection = models.ForeignKey(Collection, models.CASCADE, related_name="items", db_index=False)
    type = models.CharField(max_length=10, choices=ItemType)
    repository = models.ForeignKey(Repository, models.CASCADE, null=True, related_name="collection_items")
    target = models.ForeignKey(Collection, models.CASCADE, null=True, related_name="listed_in")
    paper = models.CharField(max_length=20, blank=True, db_index=True)
    note = models.CharField(max_length=NOTE_MAX, blank=True)
    position = models.PositiveIntegerField(default=0)
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["collection", "repository"], name="a_repository_once"),
            models.UniqueConstraint(fields=["collection", "target"], name="a_collection_once"),
            models.UniqueConstraint(fields=["collection", "paper"], condition=~Q(paper=""), name="a_paper_once"),
        ]
        indexes = [models.Index(fields=["collection", "position"], name="items_in_order")]

    def __str__(self) -> str:
        return f"{self.type} {self.position} of {self.collection_id}"


class Upvote(models.Model):
    collection = models.ForeignKey(Collection, models.CASCADE, related_name="upvote_rows", db_index=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["collection", "user"], name="one_upvote_a_person")]

    def __str__(self) -> str:
        return f"{self.user_id} upvotes {self.collection_id}"
