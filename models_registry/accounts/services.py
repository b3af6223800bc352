"""Acts on accounts: make a user, an organisation, a token; find out who a token is."""

import hashlib
import re
import secrets
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from models_registry.accounts.models import AccessToken, Membership, Namespace, Role, User
from models_registry.accounts.policies import Actor
from models_registry.errors import BadRequest, Conflict, NotFound

NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
RESERVED = frozenset(
    [
        "api",
        "accounts",
        "avatars",
        "blog",
        "buckets",
        "cas",
        "collections",
        "datasets",
        "docs",
        "fit",
        "graph",
        "healthz",
        "help",
        "huggingface",
        "jobs",
        "join",
        "kernels",
        "lfs",
        "login",
        "logout",
        "metrics",
        "models",
        "new",
        "notifications",
        "oauth",
        "organizations",
        "pages",
        "papers",
        "search",
        "settings",
        "signup",
        "spaces",
        "static",
        "storage",
        "support",
        "terms",
        "tasks",
        "uploads",
        "users",
        "variants",
        "welcome",
    ]
)


def check_name(name: str, what: str) -> str:
    """A name which can stand in a URL and a file name; returns it, or raises BadRequest with the rule."""
    if not NAME.fullmatch(name) or "--" in name or ".." in name or name.endswith((".git", ".ipynb")):
        raise BadRequest(
            f"{name!r} can not name a {what}: use 1 to 96 letters, digits, '-', '_' and '.', beginning and ending with "
            "a letter, a digit or '_', without '--' or '..' and not ending in '.git' or '.ipynb'."
        )
    return name


@transaction.atomic
def create_user(
    name: str, password: str | None = None, *, email: str = "", full_name: str = "", admin: bool = False
) -> User:
    """Make a user and the namespace of the same name."""
    _check_namespace_name(name, "user")
    full_name = full_name.strip()[:150]
    if password is not None:
        try:
            validate_password(password, User(username=name))
        except ValidationError as error:
            raise BadRequest(" ".join(error.messages)) from error
    try:
        with transaction.atomic():
            user = User.objects.create_user(
                name, email, password, first_name=full_name, is_staff=admin, is_superuser=admin
            )
            Namespace.objects.create(name=name, user=user, full_name=full_name or name)
    except IntegrityError as error:
        raise Conflict(f"The name {name!r} is taken.") from error
    return user


@transaction.atomic
def create_organization(name: str, owner: User, full_name: str = "") -> Namespace:
    """Make an organisation; its owner is its first admin."""
    _check_namespace_name(name, "organisation")
    try:
        with transaction.atomic():
            namespace = Namespace.objects.create(name=name, full_name=full_name or name)
    except IntegrityError as error:
        raise Conflict(f"The name {name!r} is taken.") from error
    Membership.objects.create(namespace=namespace, user=owner, role=Role.ADMIN)
    return namespace


def find_user(name: str) -> User:
    user = User.objects.filter(namespace__name__lower=name.lower()).first()
    if user is None:
        raise NotFound(f"There is no user {name!r}.")
    return user


def create_token(user: User, name: str, role: str = "read", value: str | None = None) -> str:
    """Make a token and return its value, which is never shown again."""
    if role not in ("read", "write"):
        raise BadRequest(f"A token's role is read or write, not {role!r}.")
    if value is None:
        value = "hf_" + secrets.token_urlsafe(27).replace("-", "x").replace("_", "y")
    elif not re.fullmatch(r"[\x21-\x7e]{8,200}", value):
        raise BadRequest("A token's value is 8 to 200 printable characters without spaces.")
    name = name.strip()[:100] or "token"
    try:
        AccessToken.objects.create(user=user, name=name, role=role, digest=_digest(value), hint=value[:7])
    except IntegrityError as error:
        raise Conflict("This token exists already.") from error
    return value


def revoke_token(user: User, pk: int) -> None:
    deleted, _ = AccessToken.objects.filter(user=user, pk=pk).delete()
    if not deleted:
        raise NotFound("There is no such token of yours.")


def actor_of_token(value: str) -> Actor | None:
    """Who holds this token, or None when nobody does."""
    token = AccessToken.objects.select_related("user").filter(digest=_digest(value), user__is_active=True).first()
    if token is None:
        return None
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > timedelta(minutes=10):
        AccessToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return Actor(token.user, token)


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()


def _check_namespace_name(name: str, what: str) -> None:
    check_name(name, what)
    if name.lower() in RESERVED:
        raise BadRequest(f"{name!r} is a word of the site and can not name a {what}.")
