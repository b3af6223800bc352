"""The bodies of webhooks, version 3 (hub-docs, docs/hub/webhooks.md).

An event is kept with addresses which begin at the hub's root; each delivery makes them whole for its reader.
"""

import json
from typing import Any

from models_registry.accounts.models import Namespace
from models_registry.community.discussions.models import Discussion
from models_registry.community.discussions.models import Event as Comment
from models_registry.repos.models import Ref, Repository
from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS

VERSION = 3


def ident(key: int) -> str:
    return f"{key:024x}"


def owner_ident(namespace: Namespace) -> str:
    """The id which `whoami` gives: a user's own, or an organisation's."""
    return ident(namespace.user_id or namespace.pk)


def repo_part(repository: Repository, *, head: bool = True) -> dict[str, Any]:
    """`head` adds `headSha`, which only events of the scope `repo` carry."""
    part: dict[str, Any] = {
        "type": repository.type,
        "name": repository.full_name,
        "id": ident(repository.pk),
        "private": repository.private,
        "url": {
            "web": f"/{repository.path}",
            "api": f"/api/{repository.kind.plural}/{repository.full_name}",
        },
        "owner": {"id": owner_ident(repository.namespace)},
    }
    if head:
        refs = Ref.objects.filter(repository=repository, name=HEADS + DEFAULT_BRANCH)
        part["headSha"] = refs.values_list("oid", flat=True).first()
    return part


def former_part(repository: Repository, old_name: str, old_owner: Namespace) -> dict[str, Any]:
    """A repository which was moved, as it was called before; that address leads on to the new one."""
    part = repo_part(repository)
    kind = repository.kind
    addresses = {"web": f"/{kind.url_prefix}{old_name}", "api": f"/api/{kind.plural}/{old_name}"}
    return part | {"name": old_name, "url": addresses, "owner": {"id": owner_ident(old_owner)}}


def discussion_part(discussion: Discussion) -> dict[str, Any]:
    repository, number = discussion.repository, discussion.number
    part: dict[str, Any] = {
        "id": ident(discussion.pk),
        "title": discussion.title,
        "url": {
            "web": f"/{repository.path}/discussions/{number}",
            "api": f"/api/{repository.kind.plural}/{repository.full_name}/discussions/{number}",
        },
        "status": discussion.status,
        "author": {"id": ident(discussion.author_id or 0)},
        "num": number,
        "isPullRequest": discussion.is_pull_request,
        "pinned": discussion.pinned,
    }
    if discussion.is_pull_request:
        part["changes"] = {"base": discussion.target}
        if discussion.merge_oid:
            part["changes"]["mergeCommitId"] = discussion.merge_oid
    return part


def comment_part(discussion: Discussion, comment: Comment) -> dict[str, Any]:
    """A hidden comment has no content."""
    part: dict[str, Any] = {
        "id": comment.public_id,
        "author": {"id": ident(comment.author_id or 0)},
        "hidden": comment.hidden,
        "url": {"web": f"/{discussion.repository.path}/discussions/{discussion.number}#{comment.public_id}"},
    }
    return part if comment.hidden else part | {"content": comment.body}


def body_of(payload: dict[str, Any], webhook_ident: str, origin: str) -> bytes:
    """An event as the bytes which one webhook is sent."""
    whole = _with_origin(payload, origin) | {"webhook": {"id": webhook_ident, "version": VERSION}}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def _with_origin(value: Any, origin: str) -> Any:
    """Every `url` object with its addresses made absolute."""
    if not isinstance(value, dict):
        return value
    return {
        key: {name: origin + address for name, address in part.items()}
        if key == "url" and isinstance(part, dict)
        else _with_origin(part, origin)
        for key, part in value.items()
    }
