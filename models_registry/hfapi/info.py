"""Repository info and listings (hub-protocol §2.3, §2.8)."""

from typing import Any
from urllib.parse import quote, urlencode

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.cards.services import card_at
from models_registry.errors import BadRequest
from models_registry.hfapi.base import TYPES, HubView, endpoint, flag, moment, number
from models_registry.hfapi.fields import DEFAULTS, EXPANDS, Known, gather, show, unread_columns
from models_registry.repos.entries import list_entries, list_paths
from models_registry.repos.models import RepoType
from models_registry.repos.revisions import DEFAULT_BRANCH, commit_at, resolve_revision
from models_registry.search.extensions import extensions_of
from models_registry.search.listings import Filters, find_repositories, read_amounts
from models_registry.search.tag_uses import tags_by_type

_LISTED = ["author", "private", "gated", "disabled", "likes", "downloads", "trendingScore", "tags", "createdAt",
           "lastModified"]  # fmt: skip
# Which files a local app runs: the tags of what it reads.
_APPS = {
    "llama.cpp": ("gguf",), "ollama": ("gguf",), "lmstudio": ("gguf",), "jan": ("gguf",), "koboldcpp": ("gguf",),
    "vllm": ("transformers", "safetensors"), "sglang": ("transformers", "safetensors"), "mlx-lm": ("mlx",),
}  # fmt: skip


class RepoInfo(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str, rest: str = DEFAULT_BRANCH) -> Response:
        """A repository at a revision: card, tags, files; `blobs` adds sizes, `expand` picks fields.

        `sha`, `siblings`, `lastModified` and what the card says are those of the revision asked for; tags, library,
        task and what weight files say are those of main, under which the repository is listed.
        """
        repository = self.repository(types, namespace, name)
        expand = _expand(request, repository.kind)
        oid = resolve_revision(self.actor, repository, rest)
        blobs = flag(request.query_params.get("blobs", "false"))
        security = flag(request.query_params.get("securityStatus", "false"))
        keys = expand or [*DEFAULTS[repository.kind].split(), *(["securityRepoStatus"] if security else [])]
        known = Known(shas={repository.pk: oid}, blobs=blobs)
        if "siblings" in keys or "securityRepoStatus" in keys:
            sized = blobs or "securityRepoStatus" in keys
            entries = list_entries(repository, oid, recursive=True) if sized else list_paths(repository, oid)
            known.entries[repository.pk] = entries
        if rest != DEFAULT_BRANCH:
            repository.card = card_at(repository, oid).metadata
        body = show(repository, keys, gather(self.actor, [repository], keys, known))
        if rest != DEFAULT_BRANCH and "lastModified" in body:
            body["lastModified"] = moment(commit_at(repository, oid).time_s)
        return Response(body)


class RepoList(HubView):
    def get(self, request: Request, types: str) -> Response:
        """Repositories by `search`, `author`, `filter`, `pipeline_tag`, `sort` and more; paged by `Link`."""
        kind, query = TYPES[types], request.query_params
        keys = _expand(request, kind) or _listed(query, kind)
        limit = number(request, "limit", 50, 1000) or 1
        page = find_repositories(
            self.actor, kind, filters_of(query, kind), limit, query.get("cursor", ""), unread_columns(keys)
        )
        known = gather(self.actor, page.rows, keys)
        response = Response([show(row, keys, known) for row in page.rows])
        if page.next:
            pairs = [(key, value) for key, values in query.lists() for value in values if key != "cursor"]
            url = f"{endpoint(request)}{quote(request.path)}?{urlencode([*pairs, ('cursor', page.next)])}"
            response["Link"] = f'<{url}>; rel="next"'
        return response


class TagsByType(HubView):
    def get(self, request: Request, types: str) -> Response:
        """The tags which public repositories use, by their type."""
        return Response(tags_by_type(TYPES[types]))


def filters_of(query: Any, kind: RepoType) -> Filters:
    """The filters of an address. Raises BadRequest for values which can not be understood."""
    if query.get("direction", "-1") not in ("-1", ""):
        raise BadRequest("Listings are sorted from the greatest down: leave 'direction' out, or send -1.")
    extensions = extensions_of(kind)
    extended = [(one.key, text) for one in extensions for text in query.getlist(one.key)]
    given = []
    for value in query.getlist("filter"):
        own = next((one for one in extensions if value.startswith(one.prefix)), None)
        if own is not None:
            extended.append((own.key, value))
        else:
            given.append(value)
    tags = [tag.strip() for value in given for tag in value.split(",") if tag.strip()]
    apps = [app for value in query.getlist("apps") for app in value.split(",") if app]
    tags += [tag for app in apps for tag in _APPS.get(app, ())]
    for key, prefix in (("models", "model"), ("datasets", "dataset")) if kind is RepoType.SPACE else ():
        tags += [f"{prefix}:{name}" for value in query.getlist(key) for name in value.split(",") if name]
    # This hub runs no inference and knows no other apps, so nothing meets these filters.
    nothing = any(query.get(key) for key in ("inference", "inference_provider")) or any(
        app not in _APPS for app in apps
    )
    return Filters(
        search=tuple(query.getlist("search")),
        author=query.get("author", ""),
        tags=tuple(dict.fromkeys(tags)),
        pipeline_tag=query.get("pipeline_tag", ""),
        gated=flag(query["gated"]) if "gated" in query else None,
        parameters=read_amounts(query["num_parameters"]) if query.get("num_parameters") else (None, None),
        linked=flag(query.get("linked", "false")),
        extended=tuple(extended),
        nothing=nothing,
        sort=query.get("sort", ""),
    )


def _listed(query: Any, kind: RepoType) -> list[str]:
    keys = [*_LISTED]
    full = flag(query.get("full", "false"))
    if kind is RepoType.MODEL:
        keys += ["library_name", "pipeline_tag"]
    if kind is RepoType.SPACE:
        keys.append("sdk")
    if full:
        keys += ["sha", "siblings"]
    if flag(query.get("cardData", "false")) or (full and kind is not RepoType.MODEL):
        keys.append("cardData")
    if kind is RepoType.DATASET and full:
        keys += ["description", "citation", "paperswithcode_id"]
    if flag(query.get("config", "false")) and kind is RepoType.MODEL:
        keys.append("config")
    return keys


def _expand(request: Request, kind: RepoType) -> list[str]:
    asked = request.query_params.getlist("expand") + request.query_params.getlist("expand[]")
    known = EXPANDS[kind].split()
    for index, value in enumerate(asked):
        if value not in known:
            options = "|".join(f'"{option}"' for option in sorted(known))
            raise BadRequest(f"✖ Invalid option: expected one of {options}\n  → at expand[{index}]")
    return asked
