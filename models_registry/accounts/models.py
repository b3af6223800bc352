"""Users, the namespaces in which repositories live, members of organisations, access tokens."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower

# `name__lower="x"` compares what the indexes on Lower(name) hold; `__iexact` would read the whole table on SQLite.
models.CharField.register_lookup(Lower)


class User(AbstractUser):
    """A person. Every user owns the namespace of the same name."""


class Namespace(models.Model):
    """The first half of `namespace/name`: a user's own, or an organisation's."""

    name = models.CharField(max_length=96)
    full_name = models.CharField(max_length=200, blank=True)
    user = models.OneToOneField(User, models.CASCADE, null=True, blank=True, related_name="namespace")
    private_by_default = models.BooleanField(default=False, help_text="new repositories which say nothing are private")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(Lower("name"), name="namespace_name_any_case")]

    def __str__(self) -> str:
        return self.name

    @property
    def is_organization(self) -> bool:
        return self.user_id is None


class Role(models.TextChoices):
    READ = "read"
    CONTRIBUTOR = "contributor"
    WRITE = "write"
    ADMIN = "admin"


class Membership(models.Model):
    """What a user may do in an organisation."""

    namespace = models.ForeignKey(Namespace, models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role, default=Role.READ)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["namespace", "user"], name="one_role_a_member")]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} in {self.namespace}"


class AccessToken(models.Model):
    """A bearer token. Only its SHA-256 is kept: the value is shown once, when it is made."""

    user = models.ForeignKey(User, models.CASCADE, related_name="access_tokens")
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=8, choices=[("read", "read"), ("write", "write")], default="read")
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=12, help_text="the first characters, to tell tokens apart")
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"
