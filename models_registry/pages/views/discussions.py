"""A repository's community: discussions and pull requests. Every change is an act of community.discussions."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.html import escape
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from models_registry.accounts.policies import (
    can_change_discussion,
    can_discuss,
    can_edit_comment,
    can_hide_comment,
    can_merge,
    can_moderate,
    can_open_pull_request,
    can_push_to_pull_request,
    can_read_files,
)
from models_registry.community.discussions import merging, pulls, services
from models_registry.community.discussions.models import Discussion, Event, Kind
from models_registry.community.discussions.rendering import HIDDEN, render_comment
from models_registry.errors import BadRequest, HubError, NotFound
from models_registry.hfapi.base import endpoint
from models_registry.hfapi.discussions import diff_of
from models_registry.pages.links import at, repository_link
from models_registry.pages.places import actor_of, frame
from models_registry.pages.views.account import signed_in
from models_registry.repos.diffs import MAX_FILES, FileDiff, changes_of, diff_files
from models_registry.repos.gating import require_files
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.revisions import HEADS, commit_at
from models_registry.repos.services import find_repository

PAGE = 25
MAX_SHOWN_LINES = 4000  # of one page of changes; the whole diff is a link away
_STATUSES = (("open", "Open"), ("closed", "Closed"), ("all", "All"))
_TYPES = (("all", "Everything"), ("discussion", "Discussions"), ("pull_request", "Pull requests"))
_MARKS = {" ": "same", "+": "came", "-": "went", "@": "place", "\\": "place"}


# --- reading ------------------------------------------------------------------------------------------------------
@require_safe
def discussions(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    """The list: pinned first, then the newest; by status, type and words of the title."""
    repository = _repository(request, kind, namespace, name)
    asked = {"status": request.GET.get("status", "open"), "type": request.GET.get("type", "all")}
    words = request.GET.get("q", "").strip()[:200]
    rows = services.list_discussions(repository, kind=asked["type"], status=asked["status"], words=words)
    page = Paginator(rows.order_by("-pinned", "-number"), PAGE).get_page(request.GET.get("page"))
    own = repository_link(repository)

    def link(**change: str) -> str:
        query = {**asked, "q": words, **change}
        return f"{own}/discussions?{urlencode({k: v for k, v in query.items() if v})}"

    context = frame(request, repository, "discussions") | {
        "rows": page.object_list,
        "discussion_pages": page,
        "older": link(page=str(page.next_page_number())) if page.has_next() else "",
        "newer": link(page=str(page.previous_page_number())) if page.has_previous() else "",
        "statuses": [(title, link(status=key), key == asked["status"]) for key, title in _STATUSES],
        "types": [(title, link(type=key), key == asked["type"]) for key, title in _TYPES],
        "asked": asked,
        "words": words,
        "can_open_pull": not actor_of(request).is_anonymous and can_open_pull_request(actor_of(request), repository),
    }
    return render(request, "pages/discussions.html", context)


@require_safe
def discussion(request: HttpRequest, kind: RepoType, namespace: str, name: str, num: str) -> HttpResponse:
    """What was said and what happened, and of a pull request whether it can be merged."""
    found = _discussion(request, kind, namespace, name, num)
    context = _around(request, found, "talk")
    context["timeline"] = [_shown(request, event) for event in services.events_of(found)]
    if found.is_pull_request:
        context["can_push"] = not found.is_over and can_push_to_pull_request(actor_of(request), found)
        context["can_merge"] = can_merge(actor_of(request), found.repository)
    return render(request, "pages/discussion.html", context)


@require_safe
def changes(request: HttpRequest, kind: RepoType, namespace: str, name: str, num: str) -> HttpResponse:
    """The files which a pull request changes, by lines."""
    found = _pull_request(request, kind, namespace, name, num)
    context = _around(request, found, "changes")
    state = context["state"]
    trees = [commit_at(found.repository, oid).tree for oid in (state.base, state.head)]
    changed = changes_of(found.repository, *trees)
    left, files = MAX_SHOWN_LINES, []
    for file in diff_files(found.repository, changed):
        lines = file.lines.split("\n")[:-1] if file.is_shown and not file.is_content else []
        files.append(_file(found, file, lines if len(lines) <= left else [], state))
        files[-1]["is_cut"] = len(lines) > left
        left -= len(lines) if len(lines) <= left else 0
    context |= {"files": files, "count": len(changed), "more_files": max(0, len(changed) - MAX_FILES)}
    return render(request, "pages/discussion_changes.html", context)


@require_safe
def diff(request: HttpRequest, kind: RepoType, namespace: str, name: str, num: str) -> HttpResponse:
    """The changes as `git apply` takes them."""
    found = _pull_request(request, kind, namespace, name, num)
    return HttpResponse(diff_of(found, pulls.state_of(found)), content_type="text/plain; charset=utf-8")


# --- changing -----------------------------------------------------------------------------------------------------
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    """Open a discussion, or a pull request as a draft which takes commits."""
    repository = _repository(request, kind, namespace, name)
    services.require_discuss(actor_of(request), repository)
    given = request.POST if request.method == "POST" else request.GET
    is_pull = given.get("type") == "pull_request"
    title, description, problem = given.get("title", ""), given.get("description", ""), ""
    if request.method == "POST":
        act = pulls.open_draft if is_pull else services.open_discussion
        try:
            made = act(actor_of(request), repository, title, description.strip() or title)
            return redirect(_link(made))
        except BadRequest as error:
            problem = error.message
    context = frame(request, repository, "discussions") | {
        "is_pull": is_pull,
        "title": title,
        "description": description,
        "problem": problem,
    }
    return render(request, "pages/discussion_new.html", context, status=400 if problem else 200)


@signed_in
@require_POST
def act(request: HttpRequest, kind: RepoType, namespace: str, name: str, num: str, what: str) -> HttpResponse:
    """A form of the page: what went wrong is said on the page itself."""
    found = _discussion(request, kind, namespace, name, num)
    return _done(request, found, lambda: _ACTS[what](request, found))


@signed_in
@require_POST
def act_on_comment(
    request: HttpRequest, kind: RepoType, namespace: str, name: str, num: str, comment: str, what: str
) -> HttpResponse:
    found = _discussion(request, kind, namespace, name, num)

    def run() -> str:
        event = services.find_comment(found, comment)
        if what == "edit":
            services.edit_comment(actor_of(request), event, request.POST.get("content", ""))
            return ""
        services.hide_comment(actor_of(request), event)
        return "The comment is hidden, and its words are gone."

    return _done(request, found, run)


def _comment(request: HttpRequest, found: Discussion) -> str:
    services.comment(actor_of(request), found, request.POST.get("comment", ""))
    return ""


def _title(request: HttpRequest, found: Discussion) -> str:
    services.rename(actor_of(request), found, request.POST.get("title", ""))
    return ""


def _status(request: HttpRequest, found: Discussion) -> str:
    status = request.POST.get("status", "")
    services.change_status(actor_of(request), found, status, request.POST.get("comment", ""))
    return ""


def _pin(request: HttpRequest, found: Discussion) -> str:
    services.set_pinned(actor_of(request), found, pinned=request.POST.get("pinned") == "yes")
    return ""


def _merge(request: HttpRequest, found: Discussion) -> str:
    merging.merge(actor_of(request), found, request.POST.get("comment", ""))
    return f"Merged into {found.target.removeprefix(HEADS)}."


def _update(request: HttpRequest, found: Discussion) -> str:
    keep = request.POST.get("keep")
    merging.bring_up_to_date(
        actor_of(request), found, "ours" if keep == "ours" else "theirs" if keep == "theirs" else None
    )
    return f"This pull request now holds all of {found.target.removeprefix(HEADS)}."


_ACTS: dict[str, Callable[[HttpRequest, Discussion], str]] = {
    "comment": _comment,
    "title": _title,
    "status": _status,
    "pin": _pin,
    "merge": _merge,
    "update": _update,
}


# --- parts --------------------------------------------------------------------------------------------------------
def _repository(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> Repository:
    return find_repository(actor_of(request), kind, f"{namespace}/{name}")


def _discussion(request: HttpRequest, kind: RepoType, namespace: str, name: str, num: str) -> Discussion:
    return services.find_discussion(_repository(request, kind, namespace, name), int(num))


def _pull_request(request: HttpRequest, kind: RepoType, namespace: str, name: str, num: str) -> Discussion:
    found = _discussion(request, kind, namespace, name, num)
    if not found.is_pull_request:
        raise NotFound(f"Discussion {num} changes no files.")
    require_files(actor_of(request), found.repository, endpoint(request))
    return found


def _link(found: Discussion) -> str:
    return f"{repository_link(found.repository)}/discussions/{found.number}"


def _done(request: HttpRequest, found: Discussion, run: Callable[[], str]) -> HttpResponse:
    try:
        said = run()
        if said:
            messages.success(request, said)
    except HubError as error:
        messages.error(request, error.message)
    return redirect(_link(found))


def _around(request: HttpRequest, found: Discussion, page: str) -> dict[str, Any]:
    """What both pages of a discussion show."""
    actor, repository = actor_of(request), found.repository
    context = frame(request, repository, "discussions") | {
        "discussion": found,
        "here": _link(found),
        "open_page": page,
        "can_talk": not actor.is_anonymous and can_discuss(actor, repository),
        "can_change": can_change_discussion(actor, found),
        "can_moderate": can_moderate(actor, repository),
    }
    if found.is_pull_request:
        context["state"] = pulls.state_of(found)
        context["target"] = found.target.removeprefix(HEADS)
        context["can_see_files"] = can_read_files(actor, repository)
    return context


def _shown(request: HttpRequest, event: Event) -> dict[str, Any]:
    actor = actor_of(request)
    shown: dict[str, Any] = {"event": event, "kind": event.kind}
    repository = event.discussion.repository
    if event.kind == Kind.COMMENT:
        shown["html"] = escape(HIDDEN) if event.hidden else render_comment(event.body, repository.path)
        shown["versions"] = sorted(event.versions.all(), key=lambda row: row.pk)
        shown["can_edit"] = not event.hidden and can_edit_comment(actor, event)
        shown["can_hide"] = not event.hidden and can_hide_comment(actor, event)
    elif event.kind == Kind.COMMIT:
        shown["link"] = at(repository, "commit", event.data["oid"])
    return shown


def _file(found: Discussion, file: FileDiff, lines: list[str], state: pulls.PullState) -> dict[str, Any]:
    change = file.change
    head = state.head if change.new else state.base
    return {
        "path": change.path,
        "kind": change.kind,
        "link": at(found.repository, "blob", head, change.path),
        "old_bytes": file.old_bytes if change.old else None,
        "new_bytes": file.new_bytes if change.new else None,
        "is_content": file.is_content,
        "is_shown": file.is_shown and not file.is_content,
        "in_conflict": change.path in state.conflicts,
        "came": sum(line.startswith("+") for line in lines),
        "went": sum(line.startswith("-") for line in lines),
        "lines": [(_MARKS.get(line[:1], "same"), line) for line in lines],
    }
