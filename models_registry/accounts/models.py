"""Users, the namespaces in which repositories live, members and followers, access tokens, device logins."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

# `name__lower="x"` compares what the indexes on Lower(name) hold; `__iexact` would read the whole table on SQLite.
models.CharField.register_lookup(Lower)


class User(AbstractUser):
    """A person. Every user owns the namespace of the same name."""


class Namespace(models.Model):
    """The first half of `namespace/name`: a user's own, or an organisation's."""

    name = models.CharField(max_length=96)
    full_name = models.CharField(max_length=200, blank=True)
    details = models.CharField(max_length=500, blank=True, help_text="who this is, in their own words")
    user = models.OneToOneField(User, models.CASCADE, null=True, blank=True, related_name="namespace")
    private_by_default = models.BooleanField(default=False, help_text="new repositories which say nothing are private")
    created_at = models.DateTimeField(auto_now_add=True)
    public_quota_bytes = models.BigIntegerField(null=True, blank=True, help_text="null: the hub's own limit")
    private_quota_bytes = models.BigIntegerField(null=True, blank=True, help_text="null: the hub's own limit")

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


class Follow(models.Model):
    """A user follows another user, or an organisation, by their namespace."""

    user = models.ForeignKey(User, models.CASCADE, related_name="follow_rows")
    namespace = models.ForeignKey(Namespace, models.CASCADE, related_name="follower_rows")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "namespace"], name="followed_once")]

    def __str__(self) -> str:
        return f"{self.user} follows {self.namespace}"


class TokenRole(models.TextChoices):
    """Read and write hold wherever the user's own rights do; a fine-grained token holds in its scopes only."""

    READ = "read"
    WRITE = "write"
    FINE_GRAINED = "fineGrained", "fine-grained"


class AccessToken(models.Model):
    """A bearer token. Only its SHA-256 is kept: the value is shown once, when it is made."""

    user = models.ForeignKey(User, models.CASCADE, related_name="access_tokens")
    name = models.CharField(max_length=100)
    role = models.CharField(max_length=12, choices=TokenRole, default=TokenRole.READ)
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=12, help_text="the first characters, to tell tokens apart")
    global_rights = models.JSONField(default=list, help_text="fine-grained: rights which hold everywhere")
    can_read_gated = models.BooleanField(default=False, help_text="fine-grained: gated public repositories too")
    client_id = models.CharField(max_length=64, blank=True, help_text="the OAuth client which it was made for")
    family = models.CharField(max_length=32, blank=True, db_index=True, help_text="one login, with its renewed tokens")
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def is_fine_grained(self) -> bool:
        return bool(self.role == TokenRole.FINE_GRAINED)


class TokenScope(models.Model):
    """Where a fine-grained token holds, and which rights (rights.py) it has there."""

    token = models.ForeignKey(AccessToken, models.CASCADE, related_name="scope_rows")
    namespace = models.ForeignKey(Namespace, models.CASCADE, null=True, blank=True, related_name="+")
    repository = models.ForeignKey("repos.Repository", models.CASCADE, null=True, blank=True, related_name="+")
    rights = models.JSONField(default=list)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(namespace__isnull=True) ^ models.Q(repository__isnull=True),
                name="a_scope_is_a_namespace_or_a_repository",
            ),
            models.UniqueConstraint(fields=["token", "namespace"], name="one_scope_a_namespace"),
            models.UniqueConstraint(fields=["token", "repository"], name="one_scope_a_repository"),
        ]

    def __str__(self) -> str:
        return f"{', '.join(self.rights)} on {self.namespace or self.repository}"


class RefreshToken(models.Model):
    """Renews the access token of a device login, once. Kept as a hash, like every token."""

    token = models.ForeignKey(AccessToken, models.CASCADE, related_name="refresh_rows")
    digest = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"renews {self.token}"


class DeviceGrant(models.Model):
    """A device which asks to be signed in: it holds the device code, its person types the user code (RFC 8628)."""

    class Status(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        DENIED = "denied"
        USED = "used"

    client_id = models.CharField(max_length=64)
    device_digest = models.CharField(max_length=64, unique=True)
    user_code = models.CharField(max_length=8, unique=True)
    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING)
    user = models.ForeignKey(User, models.CASCADE, null=True, blank=True, related_name="+")
    role = models.CharField(max_length=12, choices=TokenRole, default=TokenRole.WRITE)
    address = models.CharField(max_length=64, blank=True, help_text="where the device asked from")
    interval_s = models.PositiveSmallIntegerField(default=5)
    polled_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.user_code} ({self.status})"


class Throttle(models.Model):
    """How often something was tried in a window of time. In the database: every web process counts together."""

    key = models.CharField(max_length=200, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    ends_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.key}: {self.count}"
