"""Repository info and listings (hub-protocol §2.3, §2.8)."""

from collections.abc import Callable
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.errors import BadRequest
from models_registry.hfapi.base import TYPES, HubView, flag, moment, number, page_of
from models_registry.repos.entries import Entry, list_entries
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.revisions import DEFAULT_BRANCH, branch_head, commit_at, resolve_revision
from models_registry.search.listings import Filters, list_repositories

_COMMON = "author cardData createdAt disabled downloads downloadsAllTime gated lastModified likes private resourceGroup sha siblings tags trendingScore usedStorage"  # noqa: E501
EXPANDS = {
    RepoType.MODEL: f"{_COMMON} baseModels childrenModelCount config evalResults gguf inference inferenceProviderMapping library_name mask_token model-index pipeline_tag safetensors spaces transformersInfo widgetData",  # noqa: E501
    RepoType.DATASET: f"{_COMMON} citation description mainSize paperswithcode_id",
    RepoType.SPACE: f"{_COMMON} datasets models region runtime sdk subdomain",
    RepoType.KERNEL: _COMMON,
}


class RepoInfo(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str, rest: str = DEFAULT_BRANCH) -> Response:
        """A repository at a revision: card, tags, files; `blobs` adds sizes, `expand` picks fields."""
        repository = self.repository(types, namespace, name)
        expand = _expand(request, repository.kind)
        commit_oid = resolve_revision(self.actor, repository, rest)
        commit = commit_at(repository, commit_oid)
        blobs = flag(request.query_params.get("blobs", "false"))
        wants_files = not expand or "siblings" in expand or "usedStorage" in expand
        entries = list_entries(repository, commit_oid, recursive=True) if wants_files else []
        fields = _fields(repository, commit_oid, [entry for entry in entries if not entry.is_folder], blobs=blobs)
        fields["lastModified"] = lambda: moment(commit.time_s)
        if flag(request.query_params.get("securityStatus", "false")):
            fields["securityRepoStatus"] = lambda: {"scansDone": True, "filesWithIssues": []}
        if expand:
            return Response(_identity(repository) | {key: fields[key]() for key in expand if key in fields})
        hidden = {"downloadsAllTime", "baseModels", "trendingScore", "inference", "resourceGroup"}
        return Response(_identity(repository) | {key: make() for key, make in fields.items() if key not in hidden})


class RepoList(HubView):
    def get(self, request: Request, types: str) -> Response:
        """Repositories by `search`, `author`, `filter`, `pipeline_tag`, `sort`, `limit`, `full`, `expand`; paged."""
        kind = TYPES[types]
        query = request.query_params
        expand = _expand(request, kind)
        filters = Filters(
            search=tuple(query.getlist("search")),
            author=query.get("author", ""),
            tags=tuple(tag for value in query.getlist("filter") for tag in value.split(",") if tag),
            pipeline_tag=query.get("pipeline_tag", ""),
            gated=flag(query["gated"]) if "gated" in query else None,
            sort=query.get("sort", ""),
        )
        limit = number(request, "limit", 50, 1000) or 1
        offset = number(request, "cursor", 0, 10**9)
        rows = list(list_repositories(self.actor, kind, filters)[offset : offset + limit + 1])
        full = flag(query.get("full", "false"))
        items = [self._item(row, expand, full=full) for row in rows[:limit]]
        return page_of(request, items, offset + len(rows), offset, limit)

    def _item(self, repository: Repository, expand: list[str], *, full: bool) -> dict[str, Any]:
        query = self.request.query_params
        head = branch_head(repository) if expand or full else None
        wants_files = "siblings" in expand or full
        entries = list_entries(repository, head, recursive=True) if head and wants_files else []
        fields = _fields(repository, head, [entry for entry in entries if not entry.is_folder], blobs=False)
        if expand:
            return _identity(repository) | {key: fields[key]() for key in expand if key in fields}
        keys = [
            "author",
            "private",
            "gated",
            "likes",
            "downloads",
            "trendingScore",
            "tags",
            "createdAt",
            "lastModified",
        ]
        keys += ["disabled"]
        if repository.kind is RepoType.MODEL:
            keys += ["library_name", "pipeline_tag"]
        if full:
            keys += ["sha", "siblings"]
        if flag(query.get("cardData", "false")) or (full and repository.kind is RepoType.DATASET):
            keys.append("cardData")
        if flag(query.get("config", "false")) and repository.kind is RepoType.MODEL:
            keys.append("config")
        return _identity(repository) | {key: fields[key]() for key in keys}


class TagsByType(HubView):
    def get(self, request: Request, types: str) -> Response:
        """The tags in use, by their type."""
        from models_registry.search.listings import tags_by_type

        return Response(tags_by_type(self.actor, TYPES[types]))


def _identity(repository: Repository) -> dict[str, Any]:
    ident: dict[str, Any] = {"_id": f"{repository.pk:024x}", "id": repository.full_name}
    if repository.kind is RepoType.MODEL:
        ident["modelId"] = repository.full_name
    return ident


def _fields(
    repository: Repository, commit_oid: str | None, entries: list[Entry], *, blobs: bool
) -> dict[str, Callable[[], Any]]:
    """Every field which this hub can tell of a repository; each is worked out only when it is asked for."""
    card = repository.card
    fields: dict[str, Callable[[], Any]] = {
        "author": lambda: repository.namespace.name,
        "sha": lambda: commit_oid,
        "lastModified": lambda: moment(repository.last_modified),
        "createdAt": lambda: moment(repository.created_at),
        "private": lambda: repository.private,
        "gated": lambda: repository.gated or False,
        "disabled": lambda: False,
        "downloads": lambda: repository.downloads,
        "downloadsAllTime": lambda: repository.downloads,
        "likes": lambda: repository.likes,
        "trendingScore": lambda: 0,
        "tags": lambda: sorted(row.tag for row in repository.tag_rows.all()),
        "cardData": lambda: card,
        "resourceGroup": lambda: None,
        "usedStorage": lambda: sum(entry.size_bytes for entry in entries),
        "siblings": lambda: [_sibling(entry, blobs=blobs) for entry in entries],
    }
    if repository.kind is RepoType.MODEL:
        base = card.get("base_model")
        fields |= {
            "library_name": lambda: repository.library_name or None,
            "pipeline_tag": lambda: repository.pipeline_tag or None,
            "config": dict,
            "model-index": lambda: card.get("model-index"),
            "widgetData": lambda: card.get("widget", []),
            "mask_token": lambda: card.get("mask_token"),
            "baseModels": lambda: {
                "models": [{"id": name} for name in ([base] if isinstance(base, str) else base or [])]
            },
            "spaces": list,
            "inference": lambda: None,
        }
    if repository.kind is RepoType.DATASET:
        fields |= {
            "description": lambda: repository.summary,
            "citation": lambda: card.get("citation"),
            "paperswithcode_id": lambda: card.get("paperswithcode_id"),
        }
    return fields


def _sibling(entry: Entry, *, blobs: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"rfilename": entry.path}
    if blobs:
        row |= {"size": entry.size_bytes, "blobId": entry.oid}
        if entry.sha256:
            row["lfs"] = {"sha256": entry.sha256, "size": entry.size_bytes, "pointerSize": entry.pointer_bytes}
    return row


def _expand(request: Request, kind: RepoType) -> list[str]:
    asked = request.query_params.getlist("expand") + request.query_params.getlist("expand[]")
    known = EXPANDS[kind].split()
    for index, value in enumerate(asked):
        if value not in known:
            options = "|".join(f'"{option}"' for option in sorted(known))
            raise BadRequest(f"✖ Invalid option: expected one of {options}\n  → at expand[{index}]")
    return asked
