"""What Xet clients pushed: xorbs (packs of chunks) and the files made of them."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from models_registry.accounts.models import AccessToken, User
from models_registry.repos.models import Repository


class Xorb(models.Model):
    """A stored pack of compressed chunks. `index` is its chunk table (formats/xorb.py)."""

    hash = models.CharField(max_length=64, primary_key=True)
    size_bytes = models.BigIntegerField()
    index = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(
        default=timezone.now, db_index=True, help_text="last sent, named or told of: clients build on it for weeks"
    )
    verified_at = models.DateTimeField(null=True, blank=True, db_index=True, help_text="its bytes were read and hashed")

    def __str__(self) -> str:
        return self.hash


class XorbHolder(models.Model):
    """A repository through which this xorb came. Whoever may read it may build files on the xorb; nobody else."""

    xorb = models.ForeignKey(Xorb, models.CASCADE, related_name="holders", db_index=False)
    repository = models.ForeignKey(Repository, models.CASCADE, related_name="xorb_rows")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["xorb", "repository"], name="one_row_a_holder")]

    def __str__(self) -> str:
        return f"{self.xorb_id} of {self.repository_id}"


class XorbSender(models.Model):
    """Who sent this xorb: a user, or one of their fine-grained tokens. The client remembers it and builds on it."""

    xorb = models.ForeignKey(Xorb, models.CASCADE, related_name="senders", db_index=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="xorb_rows")
    token = models.ForeignKey(AccessToken, models.CASCADE, null=True, related_name="+", help_text="a fine-grained one")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["xorb", "user"], condition=Q(token=None), name="one_row_a_sender"),
            models.UniqueConstraint(fields=["xorb", "token"], name="one_row_a_sending_token"),
        ]

    def __str__(self) -> str:
        return f"{self.xorb_id} by {self.user_id}"


class Realm(models.Model):
    """This hub's name in the CAS's address, made with the database: see `services.realm_of`."""

    name = models.CharField(max_length=16)

    def __str__(self) -> str:
        return self.name


class XetFile(models.Model):
    """A file as a list of terms: `[xorb hash, unpacked bytes, first chunk, chunk after the last]`."""

    hash = models.CharField(max_length=64, primary_key=True)
    sha256 = models.CharField(max_length=64, db_index=True)
    size_bytes = models.BigIntegerField()
    terms = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.hash


class XorbUse(models.Model):
    """A file is made of chunks of this xorb. While it is, the database itself refuses to let the xorb go."""

    file = models.ForeignKey(XetFile, models.CASCADE, related_name="uses", db_index=False)
    xorb = models.ForeignKey(Xorb, models.PROTECT, related_name="uses")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["file", "xorb"], name="one_row_a_use")]

    def __str__(self) -> str:
        return f"{self.xorb_id} in {self.file_id}"


class ChunkPlace(models.Model):
    """Where a chunk lies after which clients or the hub ask: the first of a file, and every 8th by its hash."""

    chunk = models.CharField(max_length=64)
    xorb = models.ForeignKey(Xorb, models.CASCADE, related_name="places")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["chunk", "xorb"], name="one_row_a_place")]

    def __str__(self) -> str:
        return f"{self.chunk} in {self.xorb_id}"
