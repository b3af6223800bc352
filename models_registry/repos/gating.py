"""The gate of a repository: everybody may see that it is there, its files are for those who were let in."""

import logging
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import User
from models_registry.accounts.policies import can_ask_access, can_read_files
from models_registry.accounts.services import find_user
from models_registry.errors import BadRequest, Conflict, Forbidden, GatedRepo, NotFound, RevisionNotFound, Unauthorized
from models_registry.repos.models import AccessRequest, Gate, Repository
from models_registry.repos.revisions import split_revision
from models_registry.repos.services import require_manage

logger = logging.getLogger(__name__)
# What stays readable in front of a gate: the card says what the repository is and how to ask (hub-protocol §2.3).
OPEN_FILES = ("README.md",)
MAX_REASON, MAX_ANSWER, MAX_QUESTIONS = 1000, 2000, 50
Status = AccessRequest.Status


def require_files(actor: Actor, repository: Repository, hub: str, path: str | None = None) -> None:
    """Raises GatedRepo unless this actor may read the file at `path` (or, without one, any file) of a repository.

    Args:
        hub: the hub's address as the caller knows it (`hfapi.base.endpoint`), for the sentence.
    """
    if path in OPEN_FILES or can_read_files(actor, repository):
        return
    # The words are the protocol's: clients compare them (hub-protocol §1).
    raise GatedRepo(
        f"Access to {repository.kind.value} {repository.full_name} is restricted and you are not in the authorized "
        f"list. Visit {hub}/{repository.path} to ask for access.",
        status=401 if actor.is_anonymous else 403,
    )


def split_revision_behind_gate(actor: Actor, repository: Repository, rest: str, hub: str) -> tuple[str, str]:
    """`split_revision` for a file's content. The gate is told of before a missing revision or file (§2.5)."""
    if can_read_files(actor, repository):
        return split_revision(actor, repository, rest)
    try:
        commit_oid, path = split_revision(actor, repository, rest)
    except RevisionNotFound:
        require_files(actor, repository, hub)
        raise
    require_files(actor, repository, hub, path)
    return commit_oid, path


def ask_access(actor: Actor, repository: Repository, answers: dict[str, str]) -> AccessRequest:
    """Ask to be let in; a gate which is `auto` opens at once.

    Raises Unauthorized, Forbidden (this token may not; or the request was rejected), BadRequest (no gate, let in
    already, a question of the card is not answered), Conflict (asked already).
    """
    if actor.user is None:
        raise Unauthorized("Sign in to ask for access.")
    if not can_ask_access(actor, repository):
        raise Forbidden("Ask for access in a browser, or with a token which has the role write.")
    _require_gate(repository)
    if can_read_files(actor, repository):
        raise BadRequest(f"You may read {repository.full_name} already.")
    fields = _answers(repository, answers)
    opens = repository.gated == Gate.AUTO
    status, now = (Status.ACCEPTED, timezone.now()) if opens else (Status.PENDING, None)
    with transaction.atomic():
        row = AccessRequest.objects.select_for_update().filter(repository=repository, user=actor.user).first()
        if row is None:
            row = _insert(repository, actor.user, status=status, fields=fields, decided_at=now)
        elif row.status == Status.REJECTED:
            raise Forbidden(f"Your request was rejected. {row.rejection_reason}".strip())
        elif row.status == Status.PENDING and opens:
            row.status, row.fields, row.decided_at = status, fields, now
            row.save(update_fields=["status", "fields", "decided_at"])
        else:
            raise Conflict("You asked already: the repository's owners have not answered yet.")
    logger.info("%s asked for access to %s: %s", actor.name, repository.path, row.status)
    return row


def access_requests(actor: Actor, repository: Repository, status: str) -> QuerySet[AccessRequest]:
    """The requests of one status, newest first, for those who manage the repository."""
    require_manage(actor, repository)
    _check_status(status)
    rows = AccessRequest.objects.filter(repository=repository, status=status).select_related("user")
    return rows.order_by("-requested_at", "-pk")


def decide_access(
    actor: Actor,
    repository: Repository,
    status: str,
    *,
    username: str | None = None,
    request_id: int | None = None,
    reason: str = "",
) -> AccessRequest:
    """Accept, reject, or set back a request. BadRequest when that is how it stands, NotFound when there is none."""
    require_manage(actor, repository)
    _check_status(status)
    if "\0" in reason or len(reason) > MAX_REASON:
        raise BadRequest(f"A reason is a text of at most {MAX_REASON:,} characters without NUL.")
    if reason and status != Status.REJECTED:
        raise BadRequest("Only a rejection has a reason.")
    rows = AccessRequest.objects.select_for_update(of=("self",)).select_related("user").filter(repository=repository)
    rows = rows.filter(pk=request_id) if request_id is not None else rows.filter(user=_user(username or ""))
    with transaction.atomic():
        row = rows.first()
        if row is None:
            raise NotFound("There is no such request for access.")
        if row.status == status:
            raise BadRequest(f"The request of {row.user.username} is {status} already.")
        row.status, row.rejection_reason, row.decided_at = status, reason, timezone.now()
        row.save(update_fields=["status", "rejection_reason", "decided_at"])
    logger.info("access of %s to %s is %s, by %s", row.user.username, repository.path, status, actor.name)
    return row


def grant_access(actor: Actor, repository: Repository, username: str) -> AccessRequest:
    """Let somebody in who need not have asked. Raises BadRequest when they are in already, NotFound for no user."""
    require_manage(actor, repository)
    _require_gate(repository)
    user, now = _user(username), timezone.now()
    with transaction.atomic():
        row = AccessRequest.objects.select_for_update().filter(repository=repository, user=user).first()
        if row is None:
            row = _insert(repository, user, status=Status.ACCEPTED, granted=True, decided_at=now)
        elif row.status == Status.ACCEPTED:
            raise BadRequest(f"{user.username} has access already.")
        else:
            row.status, row.rejection_reason, row.decided_at = Status.ACCEPTED, "", now
            row.save(update_fields=["status", "rejection_reason", "decided_at"])
    logger.info("access of %s to %s was granted by %s", user.username, repository.path, actor.name)
    return row


def request_of(actor: Actor, repository: Repository) -> AccessRequest | None:
    """What this person asked of this gate, if they did."""
    return AccessRequest.objects.filter(repository=repository, user=actor.user).first() if actor.user else None


def questions_of(repository: Repository) -> list[dict[str, Any]]:
    """What a card wants to know of who asks (`extra_gated_fields`): [{name, kind, options}]."""
    asked = repository.card.get("extra_gated_fields")
    questions = []
    for name, kind in list(asked.items())[:MAX_QUESTIONS] if isinstance(asked, dict) else []:
        options: list[str] = []
        if isinstance(kind, dict):
            found = kind.get("options")
            options = [_option(option) for option in found][:MAX_QUESTIONS] if isinstance(found, list) else []
            kind = kind.get("type")
        known = {"checkbox": "checkbox", "select": "select", "date_picker": "date"}.get(str(kind), "text")
        questions.append(
            {"name": str(name)[:200], "kind": known if known != "select" or options else "text", "options": options}
        )
    return questions


def _option(option: Any) -> str:
    return str(option.get("value") or option.get("label") if isinstance(option, dict) else option)[:200]


def _answers(repository: Repository, answers: dict[str, str]) -> dict[str, str]:
    """The answers to the card's questions. BadRequest when one is missing or no answer to it."""
    given = {}
    for question in questions_of(repository):
        name, text = question["name"], answers.get(question["name"], "").strip()
        if not text:
            what = "Agree to" if question["kind"] == "checkbox" else "Answer"
            raise BadRequest(f"{what} {name!r} to ask for access.")
        if "\0" in text or len(text) > MAX_ANSWER or (question["options"] and text not in question["options"]):
            raise BadRequest(f"What you wrote for {name!r} is no answer to it.")
        given[name] = text
    return given


def _user(name: str) -> User:
    if "\0" in name:
        raise NotFound("There is no such user.")
    return find_user(name)


def _insert(repository: Repository, user: User, **values: Any) -> AccessRequest:
    try:
        with transaction.atomic():
            return AccessRequest.objects.create(repository=repository, user=user, **values)
    except IntegrityError as error:
        raise Conflict("There is a request of this person already: look again.") from error


def _require_gate(repository: Repository) -> None:
    if not repository.gated:
        raise BadRequest(f"{repository.full_name} is not gated: everyone who sees it may read its files.")


def _check_status(status: str) -> None:
    if status not in Status.values:
        raise BadRequest(f"A request is pending, accepted or rejected, not {status[:40]!r}.")
