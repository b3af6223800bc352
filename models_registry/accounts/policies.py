"""Every question of permission is asked here, and nowhere else.

An answer joins two: what the person may do (their role in the namespace) and what their credentials carry (a session
everything, a classic token reading or all, a fine-grained token its rights in its scopes). docs/roles.md is the table.
"""

from django.db.models import Q

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Membership, Namespace, Role
from models_registry.accounts.rights import Right, granted_by

_WRITERS = (Role.WRITE, Role.ADMIN)
_CREATORS = (Role.CONTRIBUTOR, Role.WRITE, Role.ADMIN)


# --- repositories -------------------------------------------------------------------------------------------------
def readable_by(actor: Actor, prefix: str = "") -> Q:
    """A filter on repositories (reached by `prefix`) which keeps what this actor may see."""
    public = Q(**{f"{prefix}private": False})
    if actor.user is None:
        return public
    if _is_narrow(actor):
        return public | (_scoped(actor, prefix) & _own(actor, prefix))
    return Q() if actor.is_superuser else public | _own(actor, prefix)


def private_namespaces(actor: Actor) -> list[int] | None:
    """The namespaces whose private repositories an actor may see at most (None: all of them). By one query.

    A listing asks for these apart from the public ones, so that other people's private rows cost it nothing; what it
    finds still goes through `readable_by`.
    """
    if actor.user is None:
        return []
    if actor.user.is_superuser:
        return None
    shared = Membership.objects.filter(user=actor.user).values("namespace")
    return list(Namespace.objects.filter(Q(user=actor.user) | Q(pk__in=shared)).values_list("pk", flat=True))


def can_read(actor: Actor, repository) -> bool:
    """See that it is there, its info and (unless it is gated) its files."""
    if not repository.private:
        return True
    if actor.user is None or not actor.carries_on(Right.READ, repository):
        return False
    return actor.is_superuser or role_in(actor, repository.namespace) is not None


def can_read_files(actor: Actor, repository) -> bool:
    """What lies behind a gate (files, rows, git objects): for the repository's own people and whoever was let in."""
    if not can_read(actor, repository):
        return False
    if not repository.gated:
        return True
    if actor.user is None or not _carries_files(actor, repository):
        return False
    if actor.is_superuser or role_in(actor, repository.namespace) is not None:
        return True
    return bool(repository.access_requests.filter(user=actor.user, status="accepted").exists())


def files_readable_by(actor: Actor, prefix: str = "") -> Q:
    """A filter on repositories (reached by `prefix`) which keeps those whose files this actor may read."""
    readable, ungated = readable_by(actor, prefix), Q(**{f"{prefix}gated": ""})
    if actor.user is None:
        return readable & ungated
    let_in = Q(**{f"{prefix}pk__in": actor.user.access_requests.filter(status="accepted").values("repository")})
    if _is_narrow(actor):
        carried = _scoped(actor, prefix)
        if actor.token is not None and actor.token.can_read_gated:
            carried |= Q(**{f"{prefix}private": False})
        return readable & (ungated | (carried if actor.is_superuser else carried & (_own(actor, prefix) | let_in)))
    return Q() if actor.is_superuser else readable & (ungated | _own(actor, prefix) | let_in)


def can_ask_access(actor: Actor, repository) -> bool:
    """Ask to be let through a gate: it gives one's address away, so it takes credentials for the whole account."""
    return actor.has_whole_account and can_read(actor, repository)


def can_write(actor: Actor, repository) -> bool:
    """Commit, branch, tag, upload. A contributor of an organisation may do so to what they created."""
    return actor.carries_on(Right.WRITE, repository) and _works_on(actor, repository)


def can_manage(actor: Actor, repository) -> bool:
    """Settings, move, delete, access requests: whoever may write, as on the hub which the clients know."""
    return can_write(actor, repository)


def can_upload(actor: Actor, repository) -> bool:
    """Send contents to a repository: to commit them, or to propose them in a pull request."""
    return can_write(actor, repository) or can_open_pull_request(actor, repository)


def can_use(model, dataset) -> bool:
    """Whether a card of `model` may have `dataset` read: everyone who may write that card must be able to read it.

    Figures and refusals tell something of the rows, so the rights of whoever made the repository are not enough.
    """
    if dataset.namespace_id == model.namespace_id or not (dataset.private or dataset.gated):
        return True
    owner = model.namespace.user
    return owner is not None and can_read_files(Actor(owner), dataset)


# --- namespaces ---------------------------------------------------------------------------------------------------
def can_create_in(actor: Actor, namespace: Namespace) -> bool:
    """Make repositories there, and move repositories to there."""
    if not actor.carries(Right.WRITE, namespace=namespace.pk):
        return False
    return actor.is_superuser or role_in(actor, namespace) in _CREATORS


def can_create_organizations(actor: Actor) -> bool:
    """Everyone who is signed in; of tokens, those which stand for the whole account."""
    return actor.has_whole_account


def can_take_name(actor: Actor, namespace: Namespace, repository) -> bool:
    """Whether a name of `namespace` which now leads to `repository` (it was moved) may be given to another one.

    A contributor may create, but not draw the readers of their organisation's repositories to their own.
    """
    if not can_create_in(actor, namespace):
        return False
    return actor.is_superuser or role_in(actor, namespace) in _WRITERS or can_manage(actor, repository)


def can_administer(actor: Actor, namespace: Namespace) -> bool:
    """Change an organisation's members and profile, or one's own profile."""
    if not actor.carries(Right.ORGANIZATION, namespace=namespace.pk):
        return False
    return actor.is_superuser or role_in(actor, namespace) == Role.ADMIN


def can_leave(actor: Actor, membership: Membership) -> bool:
    """Every member may go; the act holds the last admin back."""
    own = actor.user is not None and membership.user_id == actor.user.pk
    return own and actor.carries(Right.ORGANIZATION, namespace=membership.namespace_id)


def can_see_roles(actor: Actor, namespace: Namespace) -> bool:
    """Who is a member is public; what they may do is told to members."""
    return actor.is_superuser or role_in(actor, namespace) is not None


def can_follow(actor: Actor) -> bool:
    """Follow and unfollow: an act of the person, which no scope of a fine-grained token stands for."""
    return actor.has_whole_account


def can_collect_in(actor: Actor, namespace: Namespace) -> bool:
    """Make, change and delete collections of a namespace."""
    if not actor.carries(Right.COLLECTIONS, namespace=namespace.pk):
        return False
    return actor.is_superuser or role_in(actor, namespace) in _CREATORS


def can_see_webhooks(actor: Actor) -> bool:
    """List one's own webhooks."""
    return _carries_at_home(actor, Right.WEBHOOKS_READ)


def can_change_webhooks(actor: Actor) -> bool:
    """Make, change and delete one's own webhooks."""
    return _carries_at_home(actor, Right.WEBHOOKS)


# --- discussions and pull requests ----------------------------------------------------------------------------------
def can_discuss(actor: Actor, repository) -> bool:
    """Open discussions and pull requests, comment, like: everyone who is signed in and sees the repository."""
    return can_read(actor, repository) and actor.carries_on(Right.DISCUSS, repository)


def can_send_measurements(actor: Actor, repository) -> bool:
    """Send what was measured on one's own machine: whoever may take part and may pull the files."""
    return can_discuss(actor, repository) and can_read_files(actor, repository)


def can_change_device(actor: Actor, device) -> bool:
    """Send the profile of a device anew: whoever sent it first, and administrators; a worker's nobody."""
    if actor.user is None or device.origin != "sent":
        return False
    return actor.is_superuser or device.sender_id == actor.user.pk


def can_save_budgets(actor: Actor, repository) -> bool:
    """Save a budget on a model, to be told of better variants: whoever may take part."""
    return can_discuss(actor, repository)


def can_open_pull_request(actor: Actor, repository) -> bool:
    """Propose a change: a pull request shows the files, so they must be readable."""
    return can_discuss(actor, repository) and can_read_files(actor, repository)


def can_change_discussion(actor: Actor, discussion) -> bool:
    """Rename, close, open again, publish a draft: its author, and whoever may write."""
    repository = discussion.repository
    return can_discuss(actor, repository) and (_is_author(actor, discussion) or can_write(actor, repository))


def can_moderate(actor: Actor, repository) -> bool:
    """Pin a discussion."""
    return can_write(actor, repository)


def can_edit_comment(actor: Actor, comment) -> bool:
    """Change its words: nobody but who wrote it."""
    return can_discuss(actor, comment.discussion.repository) and _is_author(actor, comment)


def can_hide_comment(actor: Actor, comment) -> bool:
    """Take its words away: who wrote it, and whoever may write to the repository."""
    return can_edit_comment(actor, comment) or can_write(actor, comment.discussion.repository)


def can_push_to_pull_request(actor: Actor, pull_request) -> bool:
    """Commit to its ref: who opened it, and whoever may write to the repository."""
    repository = pull_request.repository
    own = _is_author(actor, pull_request) and can_open_pull_request(actor, repository)
    return can_write(actor, repository) or own


def can_merge(actor: Actor, repository) -> bool:
    """Merge a pull request: it is a commit to the branch."""
    return can_write(actor, repository)


def can_attach(actor: Actor) -> bool:
    """Attach images and the like to comments: everyone who is signed in."""
    return actor.may_write


# --- collections and webhooks ---------------------------------------------------------------------------------------
def collections_readable_by(actor: Actor, prefix: str = "") -> Q:
    """A filter on collections (reached by `prefix`) which keeps what this actor may see."""
    public = Q(**{f"{prefix}private": False})
    if actor.user is None:
        return public
    own = _own(actor, prefix)
    if not _is_narrow(actor):
        return Q() if actor.is_superuser else public | own
    enough = granted_by(Right.COLLECTIONS_READ)
    rows = actor.token.scope_rows.all() if actor.token is not None else ()
    scopes = [scope.namespace_id for scope in rows if scope.namespace_id and enough.intersection(scope.rights)]
    return public | (Q(**{f"{prefix}namespace__in": scopes}) & own)


def can_read_collection(actor: Actor, collection) -> bool:
    if not collection.private:
        return True
    if actor.user is None or not actor.carries(Right.COLLECTIONS_READ, namespace=collection.namespace_id):
        return False
    return actor.is_superuser or role_in(actor, collection.namespace) is not None


def can_edit_collection(actor: Actor, collection) -> bool:
    """Its words, items and order; delete it. A contributor of an organisation may do so to what they created."""
    if not can_collect_in(actor, collection.namespace) or actor.user is None:
        return False
    if actor.is_superuser or collection.creator_id == actor.user.pk:
        return True
    return role_in(actor, collection.namespace) in _WRITERS


def collections_editable_by(actor: Actor) -> Q:
    """A filter on collections which keeps those that `can_edit_collection` lets this actor change, by a session."""
    if actor.user is None:
        return Q(pk__in=[])
    if actor.is_superuser:
        return Q()
    memberships = Membership.objects.filter(user=actor.user)
    written = Q(namespace__in=memberships.filter(role__in=_WRITERS).values("namespace"))
    made = Q(namespace__in=memberships.filter(role=Role.CONTRIBUTOR).values("namespace"), creator=actor.user)
    return Q(namespace__user=actor.user) | written | made


def can_upvote(actor: Actor, collection) -> bool:
    """An act of the person, as following is."""
    return actor.has_whole_account and can_read_collection(actor, collection)


def readers_of(repository, prefix: str = "") -> Q:
    """A filter on users (reached by `prefix`): those whom `can_read` lets see this repository, in a session."""
    if not repository.private:
        return Q()
    insiders = Q(**{f"{prefix}is_superuser": True})
    if repository.namespace.user_id is not None:
        return insiders | Q(**{f"{prefix}pk": repository.namespace.user_id})
    members = Membership.objects.filter(namespace=repository.namespace_id).values("user")
    return insiders | Q(**{f"{prefix}pk__in": members})


# --- what the questions share --------------------------------------------------------------------------------------
def role_in(actor: Actor, namespace: Namespace) -> Role | None:
    """The actor's role in a namespace; everyone is the admin of their own."""
    if actor.user is None:
        return None
    if namespace.user_id == actor.user.pk:
        return Role.ADMIN
    if namespace.user_id is not None:
        return None
    found = Membership.objects.filter(namespace=namespace, user=actor.user).values_list("role", flat=True).first()
    return Role(found) if found else None


def _is_author(actor: Actor, row) -> bool:
    return actor.user is not None and row.author_id == actor.user.pk


def _works_on(actor: Actor, repository) -> bool:
    if actor.user is None:
        return False
    if actor.is_superuser:
        return True
    role = role_in(actor, repository.namespace)
    return role in _WRITERS or (role == Role.CONTRIBUTOR and repository.creator_id == actor.user.pk)


def _is_narrow(actor: Actor) -> bool:
    """By a fine-grained token, which holds in its scopes only."""
    return actor.token is not None and actor.token.is_fine_grained


def _own(actor: Actor, prefix: str) -> Q:
    """Repositories of the actor's own namespace and organisations; for a superuser all, which is the empty Q."""
    if actor.is_superuser:
        return Q()
    mine = Q(**{f"{prefix}namespace__user": actor.user})
    return mine | Q(**{f"{prefix}namespace__in": Membership.objects.filter(user=actor.user).values("namespace")})


def _scoped(actor: Actor, prefix: str) -> Q:
    """Repositories on which a fine-grained token carries the right to read."""
    enough = granted_by(Right.READ)
    rows = actor.token.scope_rows.all() if actor.token is not None else ()
    scopes = [scope for scope in rows if enough.intersection(scope.rights)]
    named = Q(**{f"{prefix}pk__in": [scope.repository_id for scope in scopes if scope.repository_id]})
    return named | Q(**{f"{prefix}namespace__in": [scope.namespace_id for scope in scopes if scope.namespace_id]})


def _carries_files(actor: Actor, repository) -> bool:
    """Whether the credentials reach behind a gate: a fine-grained token says so by a scope, or for all public ones."""
    if actor.token is not None and actor.token.can_read_gated and not repository.private:
        return True
    return actor.carries_on(Right.READ, repository)


def _carries_at_home(actor: Actor, right: Right) -> bool:
    """Whether the credentials carry a right over the person's own namespace."""
    if actor.user is None:
        return False
    if actor.token is None or not actor.token.is_fine_grained:
        return actor.carries(right)
    own = Namespace.objects.filter(user=actor.user).values_list("pk", flat=True).first()
    return own is not None and actor.carries(right, namespace=own)
