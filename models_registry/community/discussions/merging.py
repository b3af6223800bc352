"""Acts which merge: a pull request into its branch, and the branch into a pull request."""

import logging
from dataclasses import dataclass
from typing import Literal

from django.db import transaction
from dulwich.objects import Blob, ShaFile

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_merge
from models_registry.cards.services import CARD, refuse_bad_card
from models_registry.community.discussions import pulls, services
from models_registry.community.discussions.models import Discussion, Status
from models_registry.errors import BadRequest, Conflict, Forbidden, HeadMoved
from models_registry.repos import git_objects as git
from models_registry.repos.commits import MOVED, advance, make_commit
from models_registry.repos.merges import Merged
from models_registry.repos.models import Ref, Repository
from models_registry.repos.revisions import HEADS

logger = logging.getLogger(__name__)
_TRIES = 3  # of a merge whose branches move while it is worked out
_LISTED_COMMITS = 50


def merge(actor: Actor, pull: Discussion, text: str = "") -> str:
    """Merge into the branch by a commit with both as parents; returns its oid.

    Raises Conflict (409, with the list `filesWithConflicts`) when both sides changed the same; BadRequest for drafts
    and for what changes nothing.
    """
    services.require_discuss(actor, pull.repository)
    if not can_merge(actor, pull.repository):
        raise Forbidden(f"Only who may write to {pull.repository.full_name} may merge pull request {pull.number}.")
    text = services.check_comment(text) if text.strip() else ""
    for _ in range(_TRIES):
        # Worked out before the lock is taken: others go on committing meanwhile.
        _require_mergeable(pull)
        ready = _worked_out(pull, pulls.state_of(pull))
        with transaction.atomic():
            services.lock(pull)
            _require_mergeable(pull)
            if pulls.heads_of(pull) == (ready.state.head, ready.state.target):
                return _land(actor, pull, ready, text)
    # The branch never stands still: then under the lock.
    with transaction.atomic():
        services.lock(pull)
        _require_mergeable(pull)
        return _land(actor, pull, _worked_out(pull, pulls.state_of(pull)), text)


def _require_mergeable(pull: Discussion) -> None:
    if not pull.is_pull_request:
        raise BadRequest(f"Discussion {pull.number} is no pull request: there is nothing to merge.")
    if pull.status == Status.DRAFT:
        raise BadRequest(f"Pull request {pull.number} is a draft: publish it (set its status to open), then merge it.")
    if pull.is_over:
        raise Conflict(f"Pull request {pull.number} is {pull.status} already.")


@dataclass(frozen=True)
class _Ready:
    """A merge which only has to be written."""

    state: pulls.PullState
    merged: Merged
    message: str


def _worked_out(pull: Discussion, state: pulls.PullState) -> _Ready:
    if state.target is None:
        raise Conflict(
            f"The branch {pull.target.removeprefix(HEADS)} is gone: pull request {pull.number} can not merge."
        )
    if state.is_empty:
        raise BadRequest(f"Pull request {pull.number} changes nothing: push a commit to {pull.ref} first.")
    merged = pulls.merged_trees(pull.repository, state.base, state.target, state.head)
    if merged.conflicts:
        raise _conflict(pull, merged)
    _check_card(pull.repository, merged)
    return _Ready(state, merged, _message(pull, state))


def _land(actor: Actor, pull: Discussion, ready: _Ready, text: str) -> str:
    repository = pull.repository
    row = Ref.objects.get(repository=repository, name=pull.target)
    tree, objects = _tree(ready.merged)
    made = make_commit(tree, [row.oid, ready.state.head], actor.name, ready.message)
    oid = advance(repository, pull.target, row, made, objects)
    pull.merge_oid = oid
    pull.save(update_fields=["merge_oid"])
    if text:
        services.add_comment(actor, pull, text)
    services.set_status(actor, pull, Status.MERGED)
    logger.info("merged %s of %s as %s by %s", pull.ref, repository.path, oid, actor.name)
    return oid


def bring_up_to_date(actor: Actor, pull: Discussion, keep: Literal["ours", "theirs"] | None = None) -> str:
    """Merge the branch into the pull request's ref; returns the new commit's oid.

    Args:
        keep: for files which both sides changed: the pull request's own (`ours`) or the branch's (`theirs`).

    Raises Conflict with `filesWithConflicts`, BadRequest when there is nothing new, HeadMoved.
    """
    pulls.require_push(actor, pull)
    repository = pull.repository
    state = pulls.state_of(pull)
    branch = pull.target.removeprefix(HEADS)
    if state.target is None:
        raise Conflict(f"The branch {branch} is gone.")
    if state.target == state.base:
        raise BadRequest(f"Pull request {pull.number} holds all of {branch} already.")
    merged = pulls.merged_trees(repository, state.base, state.head, state.target, keep)
    if merged.conflicts:
        raise _conflict(pull, merged)
    _check_card(repository, merged)
    with transaction.atomic():
        services.lock(pull)
        pulls.require_push(actor, pull)
        if pulls.heads_of(pull) != (state.head, state.target):
            raise HeadMoved(MOVED)
        row = Ref.objects.get(repository=repository, name=pull.ref)
        tree, objects = _tree(merged)
        made = make_commit(tree, [state.head, state.target], actor.name, f"Merge {branch} into {pull.ref}")
        return advance(repository, pull.ref, row, made, objects)


def _message(pull: Discussion, state: pulls.PullState) -> str:
    """The title with the number; below it, the commits which come with it."""
    lines = [f"- {commit.title} ({commit.oid})" for commit in pulls.commits_of(pull, state)[:_LISTED_COMMITS]]
    return f"{pull.title} (#{pull.number})\n\n" + "\n".join(lines)


def _tree(merged: Merged) -> tuple[str, list[ShaFile]]:
    if merged.tree is not None:
        return merged.tree, merged.objects
    empty = git.make_tree([])
    return empty.id.decode(), [*merged.objects, empty]


def _conflict(pull: Discussion, merged: Merged) -> Conflict:
    more = f" and {len(merged.conflicts) - 5} more" if len(merged.conflicts) > 5 else ""
    return Conflict(
        f"Pull request {pull.number} conflicts with {pull.target.removeprefix(HEADS)} in "
        f"{', '.join(merged.conflicts[:5])}{more}: bring {pull.ref} up to date, choosing a side, then merge.",
        {"filesWithConflicts": merged.conflicts},
    )


def _check_card(repository: Repository, merged: Merged) -> None:
    """Two cards which were right can make one which is not: the same gate as for a commit."""
    card = next((item for item in _root_of(merged.tree, merged.objects) if item.name == CARD), None)
    made = {item.id.decode(): item for item in merged.objects if isinstance(item, Blob)}
    if card is not None and card.oid in made:
        refuse_bad_card(CARD, made[card.oid].as_raw_string(), repository.kind)


def _root_of(tree: str | None, objects: list[ShaFile]) -> list[git.TreeItem]:
    found = next((item for item in objects if item.id.decode() == tree), None)
    return list(git.parse_tree(found.as_raw_string()).values()) if found is not None else []
