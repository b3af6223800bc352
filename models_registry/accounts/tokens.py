"""Acts on access tokens: make, list, renew, revoke; and who holds one."""

import hashlib
import logging
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.apps import apps
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet, prefetch_related_objects
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import AccessToken, Namespace, TokenRole, TokenScope, User
from models_registry.accounts.policies import readable_by, role_in
from models_registry.accounts.rights import GLOBAL, OF_A_NAMESPACE, OF_A_REPOSITORY, Right
from models_registry.errors import BadRequest, Conflict, NotFound

logger = logging.getLogger(__name__)
MAX_TOKENS = 200
MAX_SCOPES = 100
_USE_NOTED_EVERY = timedelta(minutes=10)


@dataclass(frozen=True)
class Scope:
    """Rights in one namespace or on one repository (exactly one of them, by its row)."""

    rights: Sequence[str]
    namespace: Namespace | None = None
    repository_pk: int | None = None


@dataclass(frozen=True)
class FineGrained:
    """What a fine-grained token may: its scopes, rights which hold everywhere, and gated public repositories."""

    scopes: Sequence[Scope] = ()
    global_rights: Sequence[str] = ()
    can_read_gated: bool = False


def create_token(
    user: User,
    name: str,
    role: str = "read",
    value: str | None = None,
    *,
    fine_grained: FineGrained | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Make a token and return its value, which is never shown again.

    Raises BadRequest (role, value, rights, an end in the past), Conflict (the value is in use).
    """
    if role not in TokenRole.values:
        raise BadRequest(f"A token's role is read, write or fineGrained, not {role[:40]!r}.")
    if value is not None and not re.fullmatch(r"[\x21-\x7e]{8,200}", value):
        raise BadRequest("A token's value is 8 to 200 printable characters without spaces.")
    if expires_at is not None and expires_at <= timezone.now():
        raise BadRequest("A token can not have expired before it is made: choose a moment to come.")
    asked = _checked(fine_grained or FineGrained()) if role == TokenRole.FINE_GRAINED else FineGrained()
    value = value or new_value()
    name = name.strip()[:100] or "token"
    with transaction.atomic():
        if AccessToken.objects.filter(user=user).count() >= MAX_TOKENS:
            raise BadRequest(f"You have {MAX_TOKENS} tokens: revoke some which are not used.")
        try:
            with transaction.atomic():
                token = AccessToken.objects.create(
                    user=user,
                    name=name,
                    role=role,
                    digest=digest_of(value),
                    hint=value[:7],
                    global_rights=list(asked.global_rights),
                    can_read_gated=asked.can_read_gated,
                    expires_at=expires_at,
                )
        except IntegrityError as error:
            raise Conflict("This token exists already.") from error
        TokenScope.objects.bulk_create(
            TokenScope(token=token, namespace=s.namespace, repository_id=s.repository_pk, rights=list(s.rights))
            for s in asked.scopes
        )
    logger.info("token %s (%s) of %s is made", token.pk, role, user.username)
    return value


def scope_of_text(user: User, text: str) -> Scope:
    """`namespace:right,right`, `namespace/name:…` or `datasets/namespace/name:…` as a scope of this user's token.

    Raises BadRequest; NotFound for what the user may not see.
    """
    place, separator, names = text.rpartition(":")
    parts, rights = place.split("/"), [name.strip() for name in names.split(",") if name.strip()]
    if not separator or not rights or not all(parts) or "\0" in place:
        raise BadRequest(f"A scope is written namespace/name:right,right, not {text[:100]!r}.")
    if len(parts) == 1:
        namespace = Namespace.objects.filter(name__lower=place.lower()).first()
        if namespace is None or not (user.is_superuser or role_in(Actor(user), namespace)):
            raise NotFound(f"{place[:100]!r} is neither {user.username} nor an organisation of theirs.")
        return Scope(rights, namespace=namespace)
    kind = parts.pop(0).removesuffix("s") if len(parts) == 3 else "model"
    rows = apps.get_model("repos", "Repository").objects.filter(readable_by(Actor(user)), type=kind)
    found = rows.filter(full_name__lower="/".join(parts).lower()).first()
    if found is None:
        raise NotFound(f"There is no {kind[:20]} {'/'.join(parts)[:100]!r} which {user.username} may see.")
    return Scope(rights, repository_pk=found.pk)


def renew_token(user: User, pk: int) -> str:
    """Give a token a new value, which is returned; the old one is refused from now on. Raises NotFound."""
    value = new_value()
    own = AccessToken.objects.filter(user=user, pk=pk, family="")
    if not own.update(digest=digest_of(value), hint=value[:7], last_used_at=None):
        raise NotFound("There is no such token of yours.")
    logger.info("token %s of %s has a new value", pk, user.username)
    return value


def revoke_token(user: User, pk: int) -> None:
    """Refuse a token from now on; of a device login, the renewed ones too. Raises NotFound."""
    token = AccessToken.objects.filter(user=user, pk=pk).first()
    if token is None:
        raise NotFound("There is no such token of yours.")
    AccessToken.objects.filter(Q(user=user, family=token.family) if token.family else Q(pk=pk)).delete()
    logger.info("token %s of %s is revoked", pk, user.username)


def tokens_of(user: User) -> QuerySet[AccessToken]:
    """A person's tokens with their scopes, newest first."""
    scopes = "scope_rows__namespace", "scope_rows__repository"
    return AccessToken.objects.filter(user=user).prefetch_related(*scopes)


def actor_of_token(value: str) -> Actor | None:
    """Who holds this token, or None when nobody does (any more)."""
    rows = AccessToken.objects.select_related("user").filter(digest=digest_of(value), user__is_active=True)
    token = rows.first()
    if token is None or token.has_expired:
        return None
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > _USE_NOTED_EVERY:
        AccessToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return _actor(token)


def actor_of_claims(user_pk: int | None, token_pk: int | None) -> Actor | None:
    """Who a signed link or a Xet token was made for, with the limits which their credentials have now.

    None when the user is gone, or the token was revoked or has expired. (None, None) is an anonymous caller.
    """
    if user_pk is None:
        return Actor()
    if token_pk is None:
        user = User.objects.filter(pk=user_pk, is_active=True).first()
        return Actor(user) if user else None
    rows = AccessToken.objects.select_related("user").filter(pk=token_pk, user=user_pk, user__is_active=True)
    token = rows.first()
    return None if token is None or token.has_expired else _actor(token)


def claims_of(actor: Actor) -> dict[str, int | None]:
    """What a signed link keeps of an actor, for `actor_of_claims`."""
    return {"user": actor.user.pk if actor.user else None, "token": actor.token.pk if actor.token else None}


def new_value(prefix: str = "hf_") -> str:
    return prefix + secrets.token_urlsafe(27).replace("-", "x").replace("_", "y")


def digest_of(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()


def _actor(token: AccessToken) -> Actor:
    if token.is_fine_grained:
        prefetch_related_objects([token], "scope_rows")
    return Actor(token.user, token)


def _checked(asked: FineGrained) -> FineGrained:
    """With every right known and possible in its scope, and scopes of one place joined. Raises BadRequest."""
    if len(asked.scopes) > MAX_SCOPES:
        raise BadRequest(f"A token has at most {MAX_SCOPES} scopes.")
    joined: dict[tuple[int | None, int | None], Scope] = {}
    for scope in asked.scopes:
        known = OF_A_NAMESPACE if scope.namespace is not None else OF_A_REPOSITORY
        key = (scope.namespace.pk if scope.namespace else None, scope.repository_pk)
        there = joined[key].rights if key in joined else ()
        joined[key] = Scope(_rights([*there, *scope.rights], known), scope.namespace, scope.repository_pk)
    return FineGrained(
        [scope for scope in joined.values() if scope.rights],
        _rights(asked.global_rights, GLOBAL),
        asked.can_read_gated,
    )


def _rights(names: Iterable[str], known: Sequence[Right]) -> list[str]:
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in known:
            raise BadRequest(f"{name[:60]!r} is no right which a token can have there: use {', '.join(known)}.")
    return chosen
