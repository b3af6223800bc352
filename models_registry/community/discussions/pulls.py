"""Acts on pull requests: open, commit to; and what one changes. Merging is `merging.py`."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from django.core.cache import cache
from django.db import transaction

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_open_pull_request, can_push_to_pull_request, can_write
from models_registry.community.discussions import events, services
from models_registry.community.discussions.models import PULL_REFS, Discussion, Kind, Status
from models_registry.community.discussions.offers import take_up
from models_registry.errors import Conflict, Forbidden, GatedRepo, NotFound, RevisionNotFound
from models_registry.repos import git_objects as git
from models_registry.repos.commits import AddContent, AddFile, Operation, write_commit
from models_registry.repos.merges import History, Merged, RepositoryObjects, merge_trees
from models_registry.repos.models import Ref, Repository
from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS, branch_head, commit_at, resolve_revision
from models_registry.repos.services import require_write

logger = logging.getLogger(__name__)
_PULL = re.compile(r"refs/pr/([1-9]\d{0,8})")
_SHA = re.compile(r"[0-9a-fA-F]{7,40}")
_DAY_S = 24 * 3600


@dataclass(frozen=True)
class PullState:
    """What a pull request would change now, or did change when it was merged. Oids of commits."""

    head: str
    base: str  # where the two histories part
    target: str | None  # the branch's head (before the merge); None when the branch is gone
    conflicts: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """There is nothing to merge: the branch has it all."""
        return self.head == self.base


# --- finding ------------------------------------------------------------------------------------------------------
def number_of(revision: str) -> int | None:
    """The number in `refs/pr/<number>`; None for any other revision."""
    match = _PULL.fullmatch(revision)
    return int(match[1]) if match else None


def find_pull_request(repository: Repository, number: int) -> Discussion:
    """Raises RevisionNotFound, Forbidden."""
    try:
        found = services.find_discussion(repository, number)
    except NotFound as error:
        raise RevisionNotFound(f"Invalid rev id: {PULL_REFS}{number}") from error
    if not found.is_pull_request:
        raise RevisionNotFound(f"Invalid rev id: {PULL_REFS}{number}: {number} is a discussion without changes.")
    return found


def state_of(pull: Discussion) -> PullState:
    """Worked out once for each pair of heads: commits never change."""
    repository = pull.repository
    head: str | None
    target: str | None
    if pull.status == Status.MERGED:
        target, head = commit_at(repository, pull.merge_oid).parents[:2]
    else:
        head, target = heads_of(pull)
    head = head or pull.base_oid
    if target is None:
        return PullState(head, pull.base_oid, None, ())
    key = f"pull:{repository.pk}:{pull.base_oid}:{target}:{head}"
    known = cache.get(key)
    if known is None:
        base = _base(pull, target, head)
        is_merged = pull.status == Status.MERGED
        conflicts = () if is_merged else tuple(merged_trees(repository, base, target, head).conflicts)
        known = (base, conflicts)
        cache.set(key, known, _DAY_S)
    return PullState(head, known[0], target, known[1])


# --- opening ------------------------------------------------------------------------------------------------------
def require_open(actor: Actor, repository: Repository, branch: str = DEFAULT_BRANCH) -> str:
    """The head of the branch against which this actor may open a pull request.

    Raises Unauthorized, Forbidden; RevisionNotFound for what is no branch: a pull request is merged into one.
    """
    _require_open(actor, repository)
    head = branch_head(repository, branch.removeprefix(HEADS)) if "\0" not in branch else None
    if head is None:
        raise RevisionNotFound(f"Invalid rev id: {branch[:200]} is no branch, and only into a branch can be merged.")
    return head


def open_draft(actor: Actor, repository: Repository, title: str, description: str) -> Discussion:
    """A pull request without commits, as a draft: its ref names main's head, and takes commits from now on."""
    head = require_open(actor, repository)
    title, description = services.check_title(title), services.check_comment(description)
    with transaction.atomic():
        return _open(actor, repository, DEFAULT_BRANCH, head, title, description, Status.DRAFT)


def open_with_commit(
    actor: Actor,
    repository: Repository,
    branch: str,
    operations: Sequence[Operation],
    title: str,
    description: str = "",
    parent: str | None = None,
) -> tuple[Discussion, str]:
    """A pull request with its first commit, which stands on `parent` (default: the branch's head).

    Returns it, and the commit's oid.
    """
    base = require_open(actor, repository, branch)
    if parent is not None:
        base = _parent(actor, repository, parent, base)
    subject = " ".join(title.split())[: services.MAX_TITLE] or "Update files"
    text = description if description.strip() else subject
    with transaction.atomic():
        pull = _open(
            actor, repository, branch.removeprefix(HEADS), base, subject, services.check_comment(text), Status.OPEN
        )
        oid = _write(actor, pull, operations, title, description, None)
    return pull, oid


def require_upload(actor: Actor, repository: Repository, revision: str, *, create_pull: bool) -> bool:
    """Whether what this actor sends for a commit to `revision` is an offer only (see offers.py): they may not write.

    Raises Unauthorized, Forbidden, RevisionNotFound, Conflict when they may not send anything for it.
    """
    number = number_of(revision)
    if create_pull:
        _require_open(actor, repository)
    elif number is not None:
        require_push(actor, find_pull_request(repository, number))
    else:
        require_write(actor, repository)
    return not can_write(actor, repository)


def only_offers(actor: Actor, repository: Repository) -> bool:
    """The same where nothing says for which revision contents are sent (git-lfs): a reader's are offers."""
    if can_write(actor, repository):
        return False
    _require_open(actor, repository)
    return True


def require_push(actor: Actor, pull: Discussion) -> None:
    """Raises Unauthorized, Forbidden, Conflict."""
    services.require_discuss(actor, pull.repository)
    if not can_push_to_pull_request(actor, pull):
        raise Forbidden(
            f"Only who opened pull request {pull.number}, or someone who may write to {pull.repository.full_name}, "
            "may push to it."
        )
    if pull.is_over:
        advice = "open a new one." if pull.status == Status.MERGED else "open it again first."
        raise Conflict(f"Pull request {pull.number} is {pull.status} and takes no commits: {advice}")


def commit_to(
    actor: Actor,
    pull: Discussion,
    operations: Sequence[Operation],
    title: str,
    description: str = "",
    parent: str | None = None,
) -> str:
    """Commit to a pull request's ref. Returns the commit's oid. Raises as `commits.commit` does, and Conflict."""
    require_push(actor, pull)
    with transaction.atomic():
        services.lock(pull)
        require_push(actor, pull)
        return _write(actor, pull, operations, title, description, parent)


def commits_of(pull: Discussion, state: PullState) -> list[git.CommitInfo]:
    """What a pull request brings, oldest first."""
    return History(pull.repository).ahead(state.head, state.target or state.base)


def _require_open(actor: Actor, repository: Repository) -> None:
    services.require_discuss(actor, repository)
    if not can_open_pull_request(actor, repository):
        raise GatedRepo(
            f"Access to {repository.kind.value} {repository.full_name} is restricted and you are not in the authorized "
            "list. Ask for access on its page first.",
            status=403,
        )


# --- parts ----------------------------------------------------------------------------------------------------------
def _open(
    actor: Actor, repository: Repository, branch: str, base: str, title: str, description: str, status: Status
) -> Discussion:
    pull = services.new_discussion(
        actor, repository, title, status, is_pull_request=True, target=HEADS + branch, base_oid=base
    )
    Ref.objects.create(repository=repository, name=pull.ref, oid=base)
    first = services.new_event(pull, actor.user, Kind.COMMENT, body=description)
    events.discussion_opened.send(Discussion, discussion=pull, actor=actor, event=first)
    logger.info("pull request %s of %s by %s", pull.number, repository.path, actor.name)
    return pull


def _write(
    actor: Actor, pull: Discussion, operations: Sequence[Operation], title: str, description: str, parent: str | None
) -> str:
    repository = pull.repository
    if actor.user is not None:
        take_up(repository, actor.user, _contents(operations))
    return write_commit(
        repository, pull.ref, operations, title, description, author=actor.name, parent=parent, actor=actor
    )


def _contents(operations: Sequence[Operation]) -> set[str]:
    """The SHA-256 which operations name, also by a pointer's text."""
    pointers = [git.parse_pointer(op.content) for op in operations if isinstance(op, AddFile)]
    return {op.sha256 for op in operations if isinstance(op, AddContent)} | {p[0] for p in pointers if p}


def _parent(actor: Actor, repository: Repository, parent: str, head: str) -> str:
    """The commit which a client names as parent: a sha, or 5 digits and more of one."""
    if len(parent) >= 5 and head.startswith(parent.lower()):
        return head
    if not _SHA.fullmatch(parent):
        raise RevisionNotFound(f"Invalid rev id: {parent[:80]} is no commit on which a pull request can stand.")
    return resolve_revision(actor, repository, parent)


def heads_of(pull: Discussion) -> tuple[str | None, str | None]:
    """The heads of the pull request and of its branch; None where one is gone."""
    rows = Ref.objects.filter(repository=pull.repository, name__in=(pull.ref, pull.target)).values_list("name", "oid")
    heads = dict(rows)
    return heads.get(pull.ref), heads.get(pull.target)


def _base(pull: Discussion, target: str, head: str) -> str:
    """Where the histories part; where they share nothing (one was squashed), where the pull request began."""
    if target == pull.base_oid:
        return pull.base_oid
    return History(pull.repository).merge_base(target, head) or pull.base_oid


def merged_trees(
    repository: Repository, base: str, ours: str, theirs: str, keep: Literal["ours", "theirs"] | None = None
) -> Merged:
    """Three commits' trees as one; `keep` settles what both sides changed."""
    old, mine, yours = (commit_at(repository, oid).tree for oid in (base, ours, theirs))
    return merge_trees(RepositoryObjects(repository), old, mine, yours, keep)
