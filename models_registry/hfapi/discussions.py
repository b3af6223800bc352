"""Discussions and pull requests over the API (hub-protocol §3)."""

from typing import Any, Literal

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.html import escape
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.accounts.policies import can_read_files
from models_registry.community.discussions import attachments, merging, pulls, services
from models_registry.community.discussions.models import Discussion, Event, Kind
from models_registry.community.discussions.rendering import HIDDEN, render_comment
from models_registry.errors import BadRequest
from models_registry.hfapi.base import (
    HubView,
    body_stream,
    endpoint,
    flag,
    json_object,
    moment,
    number,
    parse_json,
    repo_url,
    text_field,
)
from models_registry.repos.diffs import diff_text
from models_registry.repos.models import Repository
from models_registry.repos.revisions import commit_at
from models_registry.storage.delivery import content_of_blob, serve

PAGE = 50
KEEP: dict[str, Literal["ours", "theirs"]] = {"pullRequest": "ours", "branch": "theirs"}
_AVATAR = "/static/avatar.svg"


class DiscussionView(HubView):
    """A view of one discussion."""

    def discussion(self, types: str, namespace: str, name: str, num: str) -> Discussion:
        return services.find_discussion(self.repository(types, namespace, name), int(num))


class Discussions(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """A page of 50 (`p` counts from 0), newest number first: `type`, `status` and `author` filter."""
        repository = self.repository(types, namespace, name)
        asked = request.query_params
        filters = {"kind": asked.get("type") or "all", "author": asked.get("author") or ""}
        rows = services.list_discussions(repository, status=asked.get("status") or "all", **filters)
        start = number(request, "p", 0, 10**6) * PAGE
        part = list(rows[start : start + PAGE])
        base = repo_url(request, repository)
        return Response(
            {
                "discussions": [describe(request, row, repository, base) for row in part],
                "count": rows.count(),
                "start": start,
                "numClosedDiscussions": services.list_discussions(repository, status="closed", **filters).count(),
            }
        )

    def post(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Open a discussion, or a pull request as a draft."""
        repository = self.repository(types, namespace, name)
        data = json_object(request)
        title, is_pull = text_field(data, "title"), data.get("pullRequest", False)
        if not isinstance(is_pull, bool):
            raise BadRequest("The field 'pullRequest' must be true or false.")
        description = text_field(data, "description", "") or title
        act = pulls.open_draft if is_pull else services.open_discussion
        made = act(self.actor, repository, title, description)
        url = f"{repo_url(request, repository)}/discussions/{made.number}"
        return Response({"num": made.number, "url": url, "pullRequest": is_pull})


class DiscussionDetails(DiscussionView):
    def get(self, request: Request, types: str, namespace: str, name: str, num: str) -> Response:
        """Everything that happened in it; of a pull request also its conflicts, and with `diff=1` its changes."""
        found = self.discussion(types, namespace, name, num)
        repository = found.repository
        base = repo_url(request, repository)
        answer = describe(request, found, repository, base)
        answer["events"] = [describe_event(request, event, repository) for event in services.events_of(found)]
        if found.is_pull_request:
            state = pulls.state_of(found)
            answer["changes"] = {"base": found.target}
            if found.merge_oid:
                answer["changes"]["mergeCommitId"] = found.merge_oid
            answer["filesWithConflicts"] = list(state.conflicts) or False
            answer["diffUrl"] = f"{base}/discussions/{found.number}.diff"
            # Clients always ask for it: in front of a gate they get the rest.
            if flag(request.query_params.get("diff", "false")) and can_read_files(self.actor, repository):
                answer["diff"] = diff_of(found, state)
        return Response(answer)


class Comment(DiscussionView):
    def post(self, request: Request, types: str, namespace: str, name: str, num: str) -> Response:
        """Add a comment."""
        found = self.discussion(types, namespace, name, num)
        event = services.comment(self.actor, found, text_field(json_object(request), "comment"))
        return Response({"newMessage": describe_event(request, event, found.repository)})


class CommentChange(DiscussionView):
    def post(
        self, request: Request, types: str, namespace: str, name: str, num: str, comment: str, act: str
    ) -> Response:
        """`edit` a comment's words, or `hide` them for ever."""
        found = self.discussion(types, namespace, name, num)
        event = services.find_comment(found, comment.lower())
        if act == "edit":
            event = services.edit_comment(self.actor, event, text_field(json_object(request), "content"))
        else:
            event = services.hide_comment(self.actor, event)
        return Response({"updatedComment": describe_event(request, event, found.repository)})


class Title(DiscussionView):
    def post(self, request: Request, types: str, namespace: str, name: str, num: str) -> Response:
        """Rename it."""
        found = self.discussion(types, namespace, name, num)
        event = services.rename(self.actor, found, text_field(json_object(request), "title"))
        return Response({"newTitle": describe_event(request, event, found.repository)})


class StatusChange(DiscussionView):
    def post(self, request: Request, types: str, namespace: str, name: str, num: str) -> Response:
        """Close it, open it again, or publish a draft."""
        found = self.discussion(types, namespace, name, num)
        data = json_object(request)
        event = services.change_status(self.actor, found, text_field(data, "status"), text_field(data, "comment", ""))
        return Response({"newStatus": describe_event(request, event, found.repository)})


class Pin(DiscussionView):
    def post(self, request: Request, types: str, namespace: str, name: str, num: str) -> Response:
        """Pin it to the top of the page, or unpin it."""
        found = self.discussion(types, namespace, name, num)
        pinned = json_object(request).get("pinned", True)
        if not isinstance(pinned, bool):
            raise BadRequest("The field 'pinned' must be true or false.")
        services.set_pinned(self.actor, found, pinned=pinned)
        return Response({"pinned": pinned})


class Merge(DiscussionView):
    def post(self, request: Request, types: str, namespace: str, name: str, num: str) -> Response:
        """Merge a pull request. 409 with `filesWithConflicts` when both sides changed the same."""
        found = self.discussion(types, namespace, name, num)
        # The client sends no body, or null, when it has nothing to say.
        data = parse_json(request._request.body.strip() or b"null", "The body is not valid JSON.") or {}
        if not isinstance(data, dict):
            raise BadRequest("The body must be a JSON object, or null.")
        comment = data.get("comment") or ""
        if not isinstance(comment, str):
            raise BadRequest("The field 'comment' must be a text.")
        oid = merging.merge(self.actor, found, comment)
        return Response({"success": True, "mergeCommitId": oid, "num": found.number, "status": found.status})


class Update(DiscussionView):
    def post(self, request: Request, types: str, namespace: str, name: str, num: str) -> Response:
        """Merge the branch into a pull request. `keep`, for conflicts: `pullRequest` or `branch` (FitHub's own)."""
        found = self.discussion(types, namespace, name, num)
        keep = json_object(request).get("keep")
        if keep not in (None, *KEEP):
            raise BadRequest(f"The field 'keep' must be {' or '.join(KEEP)}.")
        pull = pulls.find_pull_request(found.repository, found.number)
        return Response({"commitOid": merging.bring_up_to_date(self.actor, pull, KEEP[keep] if keep else None)})


class Uploads(HubView):
    max_body_bytes = attachments.MAX_VIDEO_BYTES

    def post(self, request: Request) -> HttpResponse:
        """Attach an image, video or sound: its raw bytes. The answer is its address, as plain text."""
        stream, announced = body_stream(request._request)
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        made = attachments.attach(self.actor, stream, kind, announced)
        return HttpResponse(f"{endpoint(request)}/uploads/{made.name}", content_type="text/plain; charset=utf-8")


@csrf_exempt
@require_safe
def attachment(request: HttpRequest, name: str) -> HttpResponseBase:
    """An attachment. Its address is the permission."""
    found = attachments.find_attachment(name)
    headers = {
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'inline; filename="{found.name}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "Cross-Origin-Resource-Policy": "same-site",
    }
    return serve(request, content_of_blob(found.blob), found.content_type, headers)


# --- shapes ---------------------------------------------------------------------------------------------------------
def diff_of(pull: Discussion, state: pulls.PullState) -> str:
    """A pull request's changes as one unified diff."""
    trees = [commit_at(pull.repository, oid).tree for oid in (state.base, state.head)]
    return diff_text(pull.repository, *trees)


def describe(request: Request, row: Discussion, repository: Repository, base: str) -> dict[str, Any]:
    """A discussion as lists show it. `base` is the repository's URL."""
    answer: dict[str, Any] = {
        "num": row.number,
        "title": row.title,
        "status": row.status,
        "isPullRequest": row.is_pull_request,
        "createdAt": moment(row.created_at),
        "repo": {"name": repository.full_name, "type": repository.type},
        "pinned": row.pinned,
        "numComments": row.comment_count,
        "url": f"{base}/discussions/{row.number}",
    }
    # A person who is gone has no author: the clients write "deleted" then.
    return answer | _author(request, row.author)


def describe_event(request: Request, event: Event, repository: Repository) -> dict[str, Any]:
    answer: dict[str, Any] = {"id": event.public_id, "type": event.kind, "createdAt": moment(event.created_at)}
    answer |= _author(request, event.author)
    answer["data"] = _comment(request, event, repository) if event.kind == Kind.COMMENT else event.data
    return answer


def _comment(request: Request, event: Event, repository: Repository) -> dict[str, Any]:
    author = _author(request, event.author)

    def version(text: str, at: Any) -> dict[str, Any]:
        html = escape(HIDDEN) if event.hidden else render_comment(text, repository.path)
        return {"raw": HIDDEN if event.hidden else text, "html": html, "updatedAt": moment(at), **author}

    history = sorted(event.versions.all(), key=lambda row: row.pk)
    return {
        "edited": event.edited_at is not None,
        "hidden": event.hidden,
        "latest": version(event.body, event.edited_at or event.created_at),
        "history": [version(row.body, row.written_at) for row in history],
    }


def _author(request: Request, user: Any) -> dict[str, Any]:
    if user is None:
        return {}
    shown = {
        "name": user.username,
        "fullname": user.get_full_name() or user.username,
        "avatarUrl": f"{endpoint(request)}{_AVATAR}",
        "type": "user",
        "isPro": False,
    }
    return {"author": shown}
