"""What search reads: a text a repository, and how many public repositories have a tag."""

from django.db import models

from models_registry.repos.models import Repository, RepoType


class SearchText(models.Model):
    """What a search for words looks at, in lower case (search/index.py). Indexed by trigrams on both databases."""

    repository = models.OneToOneField(Repository, models.CASCADE, primary_key=True, related_name="search_text")
    text = models.TextField()

    def __str__(self) -> str:
        return self.text[:60]


class TagUse(models.Model):
    """How many public repositories of a type have a tag: counted where tags change, so that nobody counts rows."""

    type = models.CharField(max_length=8, choices=RepoType)
    tag = models.CharField(max_length=200)
    group = models.CharField(max_length=40, help_text="the kind of tag, as models-tags-by-type groups them")
    uses = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["type", "tag"], name="one_row_a_used_tag")]
        indexes = [models.Index(fields=["type", "-uses", "tag"], name="most_used_tags")]

    def __str__(self) -> str:
        return f"{self.tag}: {self.uses}"
