"""Acts on discussions: open, comment, edit, hide, rename, close, open, pin. Pull requests: pulls.py and merging.py."""

import logging

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import User
from models_registry.accounts.policies import (
    can_change_discussion,
    can_discuss,
    can_edit_comment,
    can_hide_comment,
    can_moderate,
)
from models_registry.community.discussions import events
from models_registry.community.discussions.models import CommentVersion, Discussion, Event, Kind, Status
from models_registry.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized
from models_registry.repos.models import Repository

logger = logging.getLogger(__name__)
MIN_TITLE, MAX_TITLE = 3, 200
MAX_COMMENT = 65_536
MAX_EVENTS = 2000  # of one discussion: an answer of the API holds them all
MAX_VERSIONS = 50  # of one comment


# --- finding ------------------------------------------------------------------------------------------------------
def require_discussions(repository: Repository) -> None:
    """Raises Forbidden where the repository's owner has turned them off."""
    if repository.discussions_disabled:
        raise Forbidden(f"Discussions are disabled for {repository.full_name}: its owner can turn them on in settings.")


def find_discussion(repository: Repository, number: int) -> Discussion:
    """Raises NotFound, Forbidden. The repository is one which the caller may see."""
    require_discussions(repository)
    found = Discussion.objects.filter(repository=repository, number=number).select_related("author").first()
    if found is None:
        raise NotFound(f"{repository.full_name} has no discussion {number}.")
    found.repository = repository
    return found


def list_discussions(
    repository: Repository, *, kind: str = "all", status: str = "all", author: str = "", words: str = ""
) -> QuerySet[Discussion]:
    """Newest number first. `kind`: all, discussion, pull_request; `status`: all, open, closed, draft, merged.

    Open takes drafts in, closed what was merged. Raises BadRequest, Forbidden.
    """
    require_discussions(repository)
    rows = Discussion.objects.filter(repository=repository).select_related("author").order_by("-number")
    if kind not in ("all", "discussion", "pull_request"):
        raise BadRequest(f"type={kind[:40]!r} must be all, discussion or pull_request.")
    if kind != "all":
        rows = rows.filter(is_pull_request=kind == "pull_request")
    groups = {
        "open": [Status.OPEN, Status.DRAFT],
        "closed": [Status.CLOSED, Status.MERGED],
        "draft": [Status.DRAFT],
        "merged": [Status.MERGED],
    }
    if status != "all":
        if status not in groups:
            raise BadRequest(f"status={status[:40]!r} must be all, open, closed, draft or merged.")
        rows = rows.filter(status__in=groups[status])
    if "\0" in author + words:
        return rows.none()
    if author:
        # The user first: an index answers, and a name which nobody has finds nothing.
        rows = rows.filter(author=User.objects.filter(username=author).values("pk")[:1])
    if words:
        rows = rows.filter(title__icontains=words)
    return rows


def events_of(discussion: Discussion) -> list[Event]:
    """All that happened, oldest first, with authors and former versions: three queries."""
    rows = discussion.events.select_related("author").prefetch_related("versions").order_by("pk")
    found = list(rows)
    for row in found:
        row.discussion = discussion
    return found


def find_comment(discussion: Discussion, public_id: str) -> Event:
    """Raises NotFound."""
    try:
        key = int(public_id, 16) if len(public_id) == 24 else 0
    except ValueError:
        key = 0
    found = None
    if 0 < key < 2**63:
        found = discussion.events.filter(pk=key, kind=Kind.COMMENT).select_related("author").first()
    if found is None:
        raise NotFound(f"Discussion {discussion.number} has no comment {public_id[:40]!r}.")
    found.discussion = discussion
    return found


# --- acts ---------------------------------------------------------------------------------------------------------
def open_discussion(actor: Actor, repository: Repository, title: str, description: str) -> Discussion:
    """Raises Unauthorized, Forbidden, BadRequest."""
    require_discuss(actor, repository)
    title, description = check_title(title), check_comment(description)
    with transaction.atomic():
        discussion = new_discussion(actor, repository, title)
        first = new_event(discussion, actor.user, Kind.COMMENT, body=description)
        events.discussion_opened.send(Discussion, discussion=discussion, actor=actor, event=first)
    logger.info("discussion %s of %s by %s", discussion.number, repository.path, actor.name)
    return discussion


def comment(actor: Actor, discussion: Discussion, text: str) -> Event:
    require_discuss(actor, discussion.repository)
    text = check_comment(text)
    with transaction.atomic():
        lock(discussion)
        return add_comment(actor, discussion, text)


def edit_comment(actor: Actor, found: Event, text: str) -> Event:
    """Change the words of one's own comment; what it said before stays to be seen."""
    _require_signed_in(actor)
    require_discussions(found.discussion.repository)
    if not can_edit_comment(actor, found):
        raise Forbidden("Only who wrote a comment may edit it.")
    text = check_comment(text)
    with transaction.atomic():
        lock(found.discussion)
        found.refresh_from_db(fields=["body", "edited_at", "hidden"])
        if found.hidden:
            raise Conflict("This comment is hidden: its words are gone and can not be edited.")
        if found.versions.count() >= MAX_VERSIONS:
            raise BadRequest(f"This comment was edited {MAX_VERSIONS} times: write a new one.")
        CommentVersion.objects.create(event=found, body=found.body, written_at=found.edited_at or found.created_at)
        found.body, found.edited_at = text, timezone.now()
        found.save(update_fields=["body", "edited_at"])
        events.comment_changed.send(Discussion, discussion=found.discussion, actor=actor, event=found)
    return found


def hide_comment(actor: Actor, found: Event) -> Event:
    """Take a comment's words away for ever, and all that it said before."""
    _require_signed_in(actor)
    require_discussions(found.discussion.repository)
    if not can_hide_comment(actor, found):
        raise Forbidden("Only who wrote a comment, or someone who may write to the repository, may hide it.")
    with transaction.atomic():
        lock(found.discussion)
        found.versions.all().delete()
        found.body, found.hidden = "", True
        found.save(update_fields=["body", "hidden"])
        events.comment_changed.send(Discussion, discussion=found.discussion, actor=actor, event=found)
    logger.info("comment %s of %s hidden by %s", found.pk, found.discussion, actor.name)
    return found


def rename(actor: Actor, discussion: Discussion, title: str) -> Event:
    require_change(actor, discussion)
    title = check_title(title)
    with transaction.atomic():
        lock(discussion)
        old = discussion.title
        discussion.title = title
        discussion.save(update_fields=["title", "updated_at"])
        event = new_event(discussion, actor.user, Kind.TITLE, {"from": old, "to": title})
        events.discussion_renamed.send(Discussion, discussion=discussion, actor=actor, event=event, old_title=old)
    return event


def change_status(actor: Actor, discussion: Discussion, status: str, text: str = "") -> Event:
    """Close; open again; publish a draft. Raises Conflict when it is so already, or merged for ever."""
    require_change(actor, discussion)
    if status not in (Status.OPEN, Status.CLOSED):
        raise BadRequest(f"The status {status[:40]!r} must be open or closed.")
    text = check_comment(text) if text.strip() else ""
    with transaction.atomic():
        lock(discussion)
        if discussion.status == Status.MERGED:
            raise Conflict(f"Pull request {discussion.number} is merged: that can not be undone. Open a new one.")
        if discussion.status == status:
            raise Conflict(f"Discussion {discussion.number} is {status} already.")
        if text:
            add_comment(actor, discussion, text)
        return set_status(actor, discussion, Status(status))


def set_pinned(actor: Actor, discussion: Discussion, *, pinned: bool) -> None:
    _require_signed_in(actor)
    require_discussions(discussion.repository)
    if not can_moderate(actor, discussion.repository):
        raise Forbidden(f"Only who may write to {discussion.repository.full_name} may pin a discussion.")
    Discussion.objects.filter(pk=discussion.pk).update(pinned=pinned)
    discussion.pinned = pinned


# --- parts of acts: the caller holds the lock ------------------------------------------------------------------------
def lock(discussion: Discussion) -> None:
    """Lock the repository's row, as commits do, and read what may have changed until then."""
    Repository.objects.select_for_update().get(pk=discussion.repository_id)
    discussion.refresh_from_db(
        fields=["title", "status", "comment_count", "event_count", "target", "merge_oid", "pinned"]
    )


def new_discussion(
    actor: Actor, repository: Repository, title: str, status: Status = Status.OPEN, **fields: object
) -> Discussion:
    """A row with the next number. Locks the repository's row: discussions and pull requests share the numbers."""
    Repository.objects.select_for_update().get(pk=repository.pk)
    last = Discussion.objects.filter(repository=repository).order_by("-number").values_list("number", flat=True).first()
    return Discussion.objects.create(
        repository=repository, number=(last or 0) + 1, title=title, status=status, author=actor.user, **fields
    )


def new_event(
    discussion: Discussion, author: User | None, kind: Kind, data: dict[str, str] | None = None, body: str = ""
) -> Event:
    # A full discussion can still be closed and merged.
    most = MAX_EVENTS + (100 if kind == Kind.STATUS else 0)
    if discussion.event_count >= most:
        raise BadRequest(f"Discussion {discussion.number} holds {MAX_EVENTS:,} entries: open a new one.")
    now = timezone.now()
    event = Event.objects.create(
        discussion=discussion, author=author, kind=kind, data=data or {}, body=body, created_at=now
    )
    comments = int(kind == Kind.COMMENT)
    Discussion.objects.filter(pk=discussion.pk).update(
        event_count=F("event_count") + 1, comment_count=F("comment_count") + comments, updated_at=now
    )
    discussion.event_count += 1
    discussion.comment_count += comments
    return event


def add_comment(actor: Actor, discussion: Discussion, text: str) -> Event:
    event = new_event(discussion, actor.user, Kind.COMMENT, body=text)
    events.discussion_commented.send(Discussion, discussion=discussion, actor=actor, event=event)
    return event


def set_status(actor: Actor, discussion: Discussion, status: Status, **data: str) -> Event:
    old = discussion.status
    discussion.status = status
    discussion.save(update_fields=["status", "updated_at"])
    event = new_event(discussion, actor.user, Kind.STATUS, {"status": status.value, **data})
    events.discussion_status_changed.send(Discussion, discussion=discussion, actor=actor, event=event, old_status=old)
    logger.info("%s of %s is %s, by %s", discussion.number, discussion.repository.path, status.value, actor.name)
    return event


# --- checks -------------------------------------------------------------------------------------------------------
def require_discuss(actor: Actor, repository: Repository) -> None:
    """Raises Unauthorized, Forbidden."""
    _require_signed_in(actor)
    require_discussions(repository)
    if not can_discuss(actor, repository):
        raise Forbidden("This token may only read: use one with the role write to take part in discussions.")


def _require_signed_in(actor: Actor) -> None:
    if actor.is_anonymous:
        raise Unauthorized("Sign in or send a token with the role write to take part in discussions.")


def require_change(actor: Actor, discussion: Discussion) -> None:
    require_discuss(actor, discussion.repository)
    if not can_change_discussion(actor, discussion):
        raise Forbidden(
            f"Only who opened discussion {discussion.number}, or someone who may write to the repository, may do this."
        )


def check_title(title: str) -> str:
    title = " ".join(title.split())
    if not MIN_TITLE <= len(title) <= MAX_TITLE or "\0" in title:
        raise BadRequest(f"A title has {MIN_TITLE} to {MAX_TITLE} characters, not {len(title):,}.")
    return title


def check_comment(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise BadRequest("A comment needs words, and can not hold a NUL character.")
    if len(text) > MAX_COMMENT:
        raise BadRequest(f"A comment has at most {MAX_COMMENT:,} characters, not {len(text):,}.")
    return text
