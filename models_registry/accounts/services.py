"""Acts on accounts: make a user, make an organisation, find them. Members: members.py; tokens: tokens.py."""

import re

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from models_registry.accounts.models import Membership, Namespace, Role, User
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
        "devices",
        "docs",
        "fit",
        "graph",
        "healthz",
        "help",
        "huggingface",
        "jobs",
        "join",
        "kernels",
        "ledger",
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
def create_organization(name: str, owner: User, full_name: str = "", *, private_by_default: bool = False) -> Namespace:
    """Make an organisation; its owner is its first admin."""
    _check_namespace_name(name, "organisation")
    try:
        with transaction.atomic():
            namespace = Namespace.objects.create(
                name=name, full_name=full_name or name, private_by_default=private_by_default
            )
    except IntegrityError as error:
        raise Conflict(f"The name {name!r} is taken.") from error
    Membership.objects.create(namespace=namespace, user=owner, role=Role.ADMIN)
    return namespace


def find_user(name: str) -> User:
    """The user of this name in any case. Raises NotFound."""
    owned = _namespaces(name).filter(user__isnull=False, user__is_active=True).select_related("user").first()
    if owned is None or owned.user is None:
        raise NotFound(f"There is no user {name[:100]!r}.")
    return owned.user


def find_organization(name: str) -> Namespace:
    """The organisation of this name in any case. Raises NotFound."""
    found = _namespaces(name).filter(user__isnull=True).first()
    if found is None:
        raise NotFound(f"There is no organisation {name[:100]!r}.")
    return found


def _namespaces(name: str) -> QuerySet[Namespace]:
    if "\0" in name:
        return Namespace.objects.none()
    return Namespace.objects.filter(name__lower=name.lower())


def _check_namespace_name(name: str, what: str) -> None:
    check_name(name, what)
    if name.lower() in RESERVED:
        raise BadRequest(f"{name!r} is a word of the site and can not name a {what}.")
