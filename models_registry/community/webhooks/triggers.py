"""What webhooks are told of: the events of repositories and discussions, as their rooms signal them."""

from typing import Any

from models_registry.accounts.models import Namespace
from models_registry.community.discussions import events as talk
from models_registry.community.discussions.models import Discussion
from models_registry.community.discussions.models import Event as Comment
from models_registry.community.webhooks.outbox import DISCUSSIONS, REPOSITORIES, follow, record
from models_registry.community.webhooks.payloads import (
    comment_part,
    discussion_part,
    former_part,
    owner_ident,
    repo_part,
)
from models_registry.repos import events
from models_registry.repos.models import Repository
from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS

_TOLD_SETTINGS = ("private",)


def connect() -> None:
    for signal, receiver in (
        (events.repository_created, on_repository_created),
        (events.revision_published, on_revision_published),
        (events.repository_moved, on_repository_moved),
        (events.repository_settings_changed, on_settings_changed),
        (events.repository_deleted, on_repository_deleted),
        (talk.discussion_opened, on_discussion_opened),
        (talk.discussion_renamed, on_discussion_changed),
        (talk.discussion_status_changed, on_discussion_changed),
        (talk.discussion_commented, on_commented),
        (talk.comment_changed, on_comment_changed),
    ):
        signal.connect(receiver, dispatch_uid=f"models_registry.community.webhooks.{receiver.__name__}")


# --- repositories ---------------------------------------------------------------------------------------------------
def on_repository_created(sender: object, *, repository: Repository, **_: Any) -> None:
    record(repository, REPOSITORIES, "create", "repo", lambda: {"repo": repo_part(repository)})


def on_revision_published(
    sender: object, *, repository: Repository, ref: str, oid: str, old_oid: str | None, **_: Any
) -> None:
    if ref == HEADS + DEFAULT_BRANCH and old_oid is None:
        return  # the first commit is part of making the repository
    changed = [{"ref": ref, "oldSha": old_oid, "newSha": oid}]
    record(
        repository,
        REPOSITORIES,
        "update",
        "repo.content",
        lambda: {"repo": repo_part(repository), "updatedRefs": changed},
    )


def on_repository_moved(
    sender: object, *, repository: Repository, old_full_name: str, old_namespace: Namespace, **_: Any
) -> None:
    record(
        repository,
        REPOSITORIES,
        "move",
        "repo",
        lambda: {
            "repo": former_part(repository, old_full_name, old_namespace),
            "movedTo": {"name": repository.full_name, "owner": {"id": owner_ident(repository.namespace)}},
        },
        before=(old_full_name, old_namespace),
    )
    follow(repository, old_full_name)


def on_settings_changed(sender: object, *, repository: Repository, changes: dict[str, Any], **_: Any) -> None:
    told = {name: getattr(repository, name) for name in _TOLD_SETTINGS if name in changes}
    record(
        repository,
        REPOSITORIES,
        "update",
        "repo.config",
        lambda: {"repo": repo_part(repository), "updatedConfig": told},
    )


def on_repository_deleted(sender: object, *, repository: Repository, **_: Any) -> None:
    record(repository, REPOSITORIES, "delete", "repo", lambda: {"repo": repo_part(repository)})


# --- discussions and pull requests ----------------------------------------------------------------------------------
def on_discussion_opened(sender: object, *, discussion: Discussion, event: Comment, **_: Any) -> None:
    _talk(discussion, "create", "discussion", event)


def on_discussion_changed(sender: object, *, discussion: Discussion, **_: Any) -> None:
    _talk(discussion, "update", "discussion")


def on_commented(sender: object, *, discussion: Discussion, event: Comment, **_: Any) -> None:
    _talk(discussion, "create", "discussion.comment", event)


def on_comment_changed(sender: object, *, discussion: Discussion, event: Comment, **_: Any) -> None:
    _talk(discussion, "update", "discussion.comment", event)


def _talk(discussion: Discussion, action: str, scope: str, comment: Comment | None = None) -> None:
    repository = discussion.repository

    def more() -> dict[str, Any]:
        part = {"repo": repo_part(repository, head=False), "discussion": discussion_part(discussion)}
        return part if comment is None else part | {"comment": comment_part(discussion, comment)}

    record(repository, DISCUSSIONS, action, scope, more)
