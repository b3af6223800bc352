"""Every question of permission is asked here, and nowhere else."""

from dataclasses import dataclass

from django.db.models import Q

from models_registry.accounts.models import AccessToken, Membership, Namespace, Role, User

_WRITERS = (Role.WRITE, Role.ADMIN)
_CREATORS = (Role.CONTRIBUTOR, Role.WRITE, Role.ADMIN)


@dataclass(frozen=True)
class Actor:
    """Who asks: nobody, a user in a browser, or a user by a token (whose role may be narrower than its user's)."""

    user: User | None = None
    token: AccessToken | None = None

    @property
    def is_anonymous(self) -> bool:
        return self.user is None

    @property
    def name(self) -> str:
        return self.user.username if self.user else "anonymous"

    @property
    def may_write(self) -> bool:
        """Whether the credentials carry the right to change anything at all."""
        return self.user is not None and (self.token is None or self.token.role == "write")


ANONYMOUS = Actor()


def readable_by(actor: Actor, prefix: str = "") -> Q:
    """A filter on repositories (reached by `prefix`) which keeps what this actor may see."""
    public = Q(**{f"{prefix}private": False})
    if actor.user is None:
        return public
    if actor.user.is_superuser:
        return Q()
    mine = Q(**{f"{prefix}namespace__user": actor.user})
    shared = Q(**{f"{prefix}namespace__in": Membership.objects.filter(user=actor.user).values("namespace")})
    return public | mine | shared


def can_read(actor: Actor, repository) -> bool:
    if not repository.private:
        return True
    if actor.user is None:
        return False
    return actor.user.is_superuser or role_in(actor, repository.namespace) is not None


def can_read_files(actor: Actor, repository) -> bool:
    """What lies behind a gate (files, rows, git objects): for the repository's own people and whoever was let in."""
    if not can_read(actor, repository):
        return False
    if not repository.gated:
        return True
    if actor.user is None:
        return False
    if actor.user.is_superuser or role_in(actor, repository.namespace) is not None:
        return True
    return bool(repository.access_requests.filter(user=actor.user, status="accepted").exists())


def files_readable_by(actor: Actor, prefix: str = "") -> Q:
    """A filter on repositories (reached by `prefix`) which keeps those whose files this actor may read."""
    open_to_all = Q(**{f"{prefix}gated": ""})
    if actor.user is None:
        return readable_by(actor, prefix) & open_to_all
    if actor.user.is_superuser:
        return Q()
    mine = Q(**{f"{prefix}namespace__user": actor.user})
    shared = Q(**{f"{prefix}namespace__in": Membership.objects.filter(user=actor.user).values("namespace")})
    let_in = actor.user.access_requests.filter(status="accepted").values("repository")
    return readable_by(actor, prefix) & (open_to_all | mine | shared | Q(**{f"{prefix}pk__in": let_in}))


def can_write(actor: Actor, repository) -> bool:
    """Commit, branch, tag, settings, delete. A contributor of an organisation may do so to what they created."""
    if not actor.may_write or actor.user is None:
        return False
    if actor.user.is_superuser:
        return True
    role = role_in(actor, repository.namespace)
    return role in _WRITERS or (role == Role.CONTRIBUTOR and repository.creator_id == actor.user.pk)


def can_use(model, dataset) -> bool:
    """Whether a card of `model` may have `dataset` read: everyone who may write that card must be able to read it.

    Figures and refusals tell something of the rows, so the rights of whoever made the repository are not enough.
    """
    if not dataset.private or dataset.namespace_id == model.namespace_id:
        return True
    owner = model.namespace.user
    return owner is not None and can_read(Actor(owner), dataset)


def can_create_in(actor: Actor, namespace: Namespace) -> bool:
    if not actor.may_write or actor.user is None:
        return False
    return actor.user.is_superuser or role_in(actor, namespace) in _CREATORS


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


# --- discussions and pull requests ----------------------------------------------------------------------------------
def can_discuss(actor: Actor, repository) -> bool:
    """Open discussions and pull requests, comment: everyone who is signed in and sees the repository."""
    return actor.may_write and can_read(actor, repository)


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
    return can_write(actor, repository) or (can_discuss(actor, repository) and _is_author(actor, pull_request))


def can_merge(actor: Actor, repository) -> bool:
    """Merge a pull request: it is a commit to the branch."""
    return can_write(actor, repository)


def _is_author(actor: Actor, row) -> bool:
    return actor.user is not None and row.author_id == actor.user.pk
