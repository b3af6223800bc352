"""Acts on an organisation's members and profile, and following."""

import logging
from collections.abc import Sequence

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Follow, Membership, Namespace, Role, User
from models_registry.accounts.policies import can_administer, can_create_organizations, can_follow, can_leave
from models_registry.accounts.services import create_organization, find_user
from models_registry.accounts.throttles import Limit, count_try
from models_registry.errors import BadRequest, Forbidden, HubError, NotFound, Unauthorized

logger = logging.getLogger(__name__)
MAX_MEMBERS = 10_000
_FOUNDED = Limit("organizations", 20, 24 * 3600)
_LAST_ADMIN = "An organisation keeps at least one admin: make somebody else an admin first."


def found_organization(actor: Actor, name: str, full_name: str = "") -> Namespace:
    """Make an organisation whose first admin is the caller.

    Raises Unauthorized, Forbidden, BadRequest, Conflict, TooManyRequests.
    """
    if actor.user is None:
        raise Unauthorized("Sign in to make an organisation.")
    if not can_create_organizations(actor):
        raise Forbidden("This token may not make organisations: use a session, or a token with the role write.")
    if "\0" in full_name or len(full_name) > 200:
        raise BadRequest("A full name has at most 200 characters, without NUL.")
    count_try(_FOUNDED, f"{actor.user.pk}")
    return create_organization(name, actor.user, full_name)


def set_member(actor: Actor, organization: Namespace, name: str, role: str) -> Membership:
    """Add a user to an organisation, or change their role.

    Raises Unauthorized, Forbidden, NotFound (no such user), BadRequest (no such role; the last admin).
    """
    require_administer(actor, organization)
    if role not in Role.values:
        raise BadRequest(f"A role is one of {', '.join(Role.values)}, not {role[:40]!r}.")
    user = find_user(name)
    with transaction.atomic():
        _lock(organization)
        member = Membership.objects.filter(namespace=organization, user=user).first()
        if member is None:
            if Membership.objects.filter(namespace=organization).count() >= MAX_MEMBERS:
                raise BadRequest(f"An organisation has at most {MAX_MEMBERS:,} members.")
            member = Membership.objects.create(namespace=organization, user=user, role=role)
        elif member.role != role:
            _keep_an_admin(member)
            member.role = role
            member.save(update_fields=["role"])
    logger.info("%s is %s in %s, by %s", user.username, role, organization.name, actor.name)
    return member


def remove_member(actor: Actor, organization: Namespace, name: str) -> None:
    """Take a user out of an organisation; members may also take themselves out.

    Raises Unauthorized, Forbidden, NotFound (no such member), BadRequest (the last admin).
    """
    if actor.is_anonymous:
        require_administer(actor, organization)
    user = _user_or_none(name)
    with transaction.atomic():
        _lock(organization)
        member = Membership.objects.filter(namespace=organization, user=user).first() if user else None
        if member is None or not can_leave(actor, member):
            require_administer(actor, organization)
        if member is None:
            raise NotFound(f"{name[:100]!r} is no member of {organization.name}.")
        _keep_an_admin(member)
        member.delete()
    logger.info("%s left %s, by %s", name, organization.name, actor.name)


def set_profile(
    actor: Actor, namespace: Namespace, *, full_name: str, details: str, private_by_default: bool | None = None
) -> None:
    """Change what a profile says, and whether new repositories are private unless somebody says otherwise.

    Raises Unauthorized, Forbidden, BadRequest.
    """
    require_administer(actor, namespace)
    full_name, details = full_name.strip(), details.strip()
    if "\0" in full_name + details or len(full_name) > 200 or len(details) > 500:
        raise BadRequest("A full name has at most 200 characters and the text about it 500, without NUL.")
    namespace.full_name, namespace.details = full_name or namespace.name, details
    if private_by_default is not None:
        namespace.private_by_default = private_by_default
    namespace.save(update_fields=["full_name", "details", "private_by_default"])


def require_administer(actor: Actor, namespace: Namespace) -> None:
    if actor.is_anonymous:
        raise Unauthorized("Sign in, or send a token which may administer the organisation.")
    if not can_administer(actor, namespace):
        raise Forbidden(f"Only an admin of {namespace.name} may, with a session or a token which carries org.write.")


def members_of(organization: Namespace, roles: Sequence[str] = ()) -> QuerySet[Membership]:
    """Members with their users and namespaces, by the order in which they came."""
    rows = Membership.objects.filter(namespace=organization, user__is_active=True)
    if roles:
        rows = rows.filter(role__in=roles)
    return rows.select_related("user__namespace").order_by("pk")


def organizations_of(user: User) -> QuerySet[Membership]:
    return Membership.objects.filter(user=user).select_related("namespace").order_by("namespace__name")


# --- following ------------------------------------------------------------------------------------------------------
def set_follow(actor: Actor, namespace: Namespace, *, follows: bool) -> None:
    """Follow or unfollow; doing it twice changes nothing. Raises Unauthorized, Forbidden, BadRequest (oneself)."""
    if actor.user is None:
        raise Unauthorized("Sign in, or send a token with the role write, to follow somebody.")
    if not can_follow(actor):
        raise Forbidden("This token may not follow anybody: use one with the role write.")
    if namespace.user_id == actor.user.pk:
        raise BadRequest("Nobody follows themselves.")
    if follows:
        Follow.objects.get_or_create(user=actor.user, namespace=namespace)
    else:
        Follow.objects.filter(user=actor.user, namespace=namespace).delete()


def follows(actor: Actor, namespace: Namespace) -> bool:
    return actor.user is not None and Follow.objects.filter(user=actor.user, namespace=namespace).exists()


def followers_of(namespace: Namespace) -> QuerySet[Follow]:
    """Newest first."""
    rows = Follow.objects.filter(namespace=namespace, user__is_active=True)
    return rows.select_related("user__namespace").order_by("-pk")


def followed_by(user: User) -> QuerySet[Follow]:
    """The users and organisations whom a user follows, newest first."""
    return Follow.objects.filter(user=user).select_related("namespace__user").order_by("-pk")


def follow_counts(namespace: Namespace) -> tuple[int, int]:
    """(followers, whom the user follows: users only)."""
    followers = Follow.objects.filter(namespace=namespace, user__is_active=True).count()
    if namespace.user_id is None:
        return followers, 0
    return followers, Follow.objects.filter(user=namespace.user_id, namespace__user__is_active=True).count()


def _user_or_none(name: str) -> User | None:
    try:
        return find_user(name)
    except HubError:
        return None


def _lock(organization: Namespace) -> None:
    """Changes of one organisation's members wait for each other: two admins can not both leave."""
    Namespace.objects.select_for_update().get(pk=organization.pk)


def _keep_an_admin(member: Membership) -> None:
    """Refuse to lower or remove the only admin. Raises BadRequest."""
    if member.role != Role.ADMIN:
        return
    counts = Membership.objects.filter(namespace=member.namespace_id).aggregate(
        admins=Count("pk", filter=Q(role=Role.ADMIN) & Q(user__is_active=True) & ~Q(pk=member.pk))
    )
    if not counts["admins"]:
        raise BadRequest(_LAST_ADMIN)
