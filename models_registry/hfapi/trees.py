"""What a revision holds: tree, paths-info, refs, commits (hub-protocol §2.4)."""

from typing import Any

from django.utils.html import escape
from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.community.discussions.models import PULL_REFS
from models_registry.errors import BadRequest, TooLarge
from models_registry.hfapi.base import HubView, flag, json_object, moment, number, page_of
from models_registry.repos import git_objects as git
from models_registry.repos.entries import Entry, entries_at, last_commits, list_entries
from models_registry.repos.history import read_history
from models_registry.repos.models import Ref, Repository
from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS, TAGS, resolve_revision, split_revision
from models_registry.scanning.services import statuses_of
from models_registry.xet.offers import offered_hashes

MAX_PATHS = 1000


class Tree(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str, rest: str) -> Response:
        """The files and folders at a revision, in git's order; `recursive`, `expand`, paged by `Link`."""
        repository = self.repository(types, namespace, name)
        commit_oid, path = split_revision(self.actor, repository, rest)
        expand = flag(request.query_params.get("expand"))
        limit = number(request, "limit", 50 if expand else 1000, 50 if expand else 1000) or 1
        offset = number(request, "cursor", 0, 10**9)
        entries = list_entries(
            repository, commit_oid, path.strip("/"), recursive=flag(request.query_params.get("recursive"))
        )
        part = entries[offset : offset + limit]
        items = describe(repository, commit_oid, part, expand=expand)
        return page_of(request, items, len(entries), offset, limit, **{"X-Repo-Commit": commit_oid})


class PathsInfo(HubView):
    def post(self, request: Request, types: str, namespace: str, name: str, rest: str) -> Response:
        """The entries at the paths asked for; those which are missing are left out."""
        repository = self.repository(types, namespace, name)
        commit_oid = resolve_revision(self.actor, repository, rest)
        if "json" in (request.content_type or ""):
            data = json_object(request)
            paths, expand = data.get("paths", []), bool(data.get("expand", False))
        else:
            form = request._request.POST
            paths, expand = form.getlist("paths"), flag(form.get("expand", "false"))
        if isinstance(paths, str):
            paths = [paths]
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise BadRequest("The field 'paths' must be a list of texts.")
        if len(paths) > MAX_PATHS:
            raise TooLarge(f"At most {MAX_PATHS} paths at once, not {len(paths):,}.")
        return Response(describe(repository, commit_oid, entries_at(repository, commit_oid, paths), expand=expand))


class Refs(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Branches (the default one first), tags, conversions and variants; with `include_prs` pull requests."""
        repository = self.repository(types, namespace, name)
        with_pulls = flag(request.query_params.get("include_prs", "false"))
        groups: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": [], "variants": []}
        prefixes = {HEADS: "branches", TAGS: "tags", "refs/convert/": "converts", "refs/variants/": "variants"}
        rows = Ref.objects.filter(repository=repository).order_by("name")
        if with_pulls:
            prefixes[PULL_REFS] = "pullRequests"
            groups["pullRequests"] = []
        else:
            rows = rows.exclude(name__startswith=PULL_REFS)
        for ref, oid in rows.values_list("name", "oid"):
            for prefix, group in prefixes.items():
                if ref.startswith(prefix):
                    groups[group].append({"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": oid})
        groups["branches"].sort(key=lambda row: row["name"] != DEFAULT_BRANCH)
        if with_pulls:
            groups["pullRequests"].sort(key=lambda row: int(row["name"]))
        return Response(groups)


class Commits(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str, rest: str) -> Response:
        """A revision's history, newest first."""
        repository = self.repository(types, namespace, name)
        head = resolve_revision(self.actor, repository, rest)
        history = read_history(repository, head)
        limit = number(request, "limit", 50, 1000) or 1
        offset = number(request, "cursor", number(request, "p", 0, 10**6) * limit, 10**9)
        formatted = "formatted" in request.query_params.getlist("expand[]") + request.query_params.getlist("expand")
        rows = [_commit(commit, formatted) for commit in history[offset : offset + limit]]
        return page_of(request, rows, len(history), offset, limit, **{"X-Total-Count": str(len(history))})


def describe(
    repository: Repository, commit_oid: str, entries: list[Entry], *, expand: bool = False
) -> list[dict[str, Any]]:
    """Entries in the protocol's shape."""
    commits = last_commits(repository, commit_oid, [entry.path for entry in entries]) if expand and entries else {}
    statuses = statuses_of(repository, entries) if expand else {}
    xet_hashes = offered_hashes(repository, commit_oid, entries)
    items = []
    for entry in entries:
        item: dict[str, Any] = {
            "type": "directory" if entry.is_folder else "file",
            "oid": entry.oid,
            "size": entry.size_bytes,
            "path": entry.path,
        }
        if entry.sha256:
            item["lfs"] = {"oid": entry.sha256, "size": entry.size_bytes, "pointerSize": entry.pointer_bytes}
            if entry.path in xet_hashes:
                item["xetHash"] = xet_hashes[entry.path]
        if expand:
            commit = commits[entry.path]
            item["lastCommit"] = {"id": commit.oid, "title": commit.title, "date": moment(commit.time_s)}
            if not entry.is_folder:
                item["securityFileStatus"] = statuses[entry.path]
        items.append(item)
    return items


def _commit(commit: git.CommitInfo, formatted: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": commit.oid,
        "title": commit.title,
        "message": commit.description,
        "authors": [{"user": commit.author, "avatar": "/static/avatar.svg"}],
        "date": moment(commit.time_s),
    }
    if formatted:
        row["formatted"] = {"title": escape(commit.title), "message": escape(commit.description)}
    return row
