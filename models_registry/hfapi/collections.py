"""Collections (hub-protocol §3)."""

from collections.abc import Sequence
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.community.collections import reading, services
from models_registry.community.collections.models import Collection, CollectionItem
from models_registry.community.collections.notes import note_html
from models_registry.errors import BadRequest
from models_registry.hfapi.base import HubView, endpoint, json_object, moment, number, page_of, text_field
from models_registry.hfapi.identity import AVATAR


class Collections(HubView):
    max_body_bytes = 1024 * 1024

    def get(self, request: Request) -> Response:
        """Collections by `owner` and `item`, by `sort`; each with its first items, and without `position`; paged."""
        query = request.query_params
        found = reading.list_collections(
            self.actor, owner=query.get("owner", ""), item=query.get("item", ""), sort=query.get("sort", "")
        )
        limit, offset = number(request, "limit", 20, 100) or 1, number(request, "cursor", 0, 10**9)
        rows = list(found[offset : offset + limit + 1])
        items = reading.first_items(self.actor, rows[:limit])
        page = [_collection(request, row, items[row.pk]) for row in rows[:limit]]
        return page_of(request, page, offset + len(rows), offset, limit)

    def post(self, request: Request) -> Response:
        """Make a collection. 409, with its `slug`, when the owner has one of this title."""
        data = json_object(request)
        owner = data.get("namespace")
        if owner is not None and not isinstance(owner, str):
            raise BadRequest("The field 'namespace' must be a text.")
        made = services.create_collection(
            self.actor,
            text_field(data, "title"),
            owner,
            description=text_field(data, "description", "") if data.get("description") is not None else "",
            private=_flag(data, "private") or False,
        )
        return Response(_collection(request, made, []) | {"position": made.position})


class OneCollection(HubView):
    max_body_bytes = 1024 * 1024

    def get(self, request: Request, namespace: str, slug: str) -> Response:
        """A collection with all its items which the caller may see."""
        found = reading.find_collection(self.actor, f"{namespace}/{slug}")
        return Response(self._whole(request, found))

    def patch(self, request: Request, namespace: str, slug: str) -> Response:
        """Change title, description, privacy, theme or place in the owner's list."""
        found = reading.find_collection(self.actor, f"{namespace}/{slug}")
        data = json_object(request)
        words = {
            name: text_field(data, name) for name in ("title", "description", "theme") if data.get(name) is not None
        }
        services.update_collection(self.actor, found, private=_flag(data, "private"), position=_position(data), **words)
        return Response({"success": True, "data": self._whole(request, found)})

    def delete(self, request: Request, namespace: str, slug: str) -> Response:
        """Delete a collection; what it lists stays."""
        services.delete_collection(self.actor, reading.find_collection(self.actor, f"{namespace}/{slug}"))
        return Response({"success": True})

    def _whole(self, request: Request, found: Collection) -> dict[str, Any]:
        return _collection(request, found, reading.items_of(self.actor, found)) | {"position": found.position}


class Items(OneCollection):
    http_method_names = ["post", "options"]

    def post(self, request: Request, namespace: str, slug: str) -> Response:
        """Add an item at the end. 404 for what does not exist, 409 for what is there already."""
        found = reading.find_collection(self.actor, f"{namespace}/{slug}")
        data = json_object(request)
        item = data.get("item")
        if not isinstance(item, dict):
            raise BadRequest("The field 'item' must be an object with 'type' and 'id'.")
        what = reading.resolve_item(self.actor, text_field(item, "type"), text_field(item, "id"))
        services.add_item(self.actor, found, what, _note(data) or "")
        return Response(self._whole(request, found))


class Item(HubView):
    max_body_bytes = 1024 * 1024

    def patch(self, request: Request, namespace: str, slug: str, ident: str) -> Response:
        """Change an item's note or position."""
        found = reading.find_collection(self.actor, f"{namespace}/{slug}")
        data = json_object(request)
        services.update_item(self.actor, found, ident, note=_note(data), position=_position(data))
        return Response({"success": True})

    def delete(self, request: Request, namespace: str, slug: str, ident: str) -> Response:
        """Take an item out."""
        services.remove_item(self.actor, reading.find_collection(self.actor, f"{namespace}/{slug}"), ident)
        return Response({"success": True})


class Upvotes(HubView):
    def post(self, request: Request, namespace: str, slug: str) -> Response:
        """Give one's upvote."""
        return self._set(namespace, slug, on=True)

    def delete(self, request: Request, namespace: str, slug: str) -> Response:
        """Take one's upvote back."""
        return self._set(namespace, slug, on=False)

    def _set(self, namespace: str, slug: str, *, on: bool) -> Response:
        found = reading.find_collection(self.actor, f"{namespace}/{slug}")
        services.upvote(self.actor, found, on=on)
        return Response({"upvotes": found.upvotes})


def _collection(request: Request, row: Collection, items: Sequence[CollectionItem]) -> dict[str, Any]:
    """The protocol's fields. `position` is not among them: the client's lists number collections themselves."""
    namespace = row.namespace
    return {
        "slug": row.slug,
        "title": row.title,
        "description": row.description or None,
        "owner": {
            "type": "org" if namespace.is_organization else "user",
            "name": namespace.name,
            "fullname": namespace.full_name or namespace.name,
            "avatarUrl": AVATAR,
        },
        "items": [_item(item, position) for position, item in enumerate(items)],
        "lastUpdated": moment(row.last_updated),
        "private": row.private,
        "theme": row.theme,
        "upvotes": row.upvotes,
        "shareUrl": f"{endpoint(request)}/collections/{row.slug}",
        "gating": False,
    }


def _item(row: CollectionItem, position: int) -> dict[str, Any]:
    found: dict[str, Any] = {"_id": f"{row.pk:024x}", "type": row.type, "position": position}
    if row.repository is not None:
        repository = row.repository
        found |= {
            "id": repository.full_name,
            "repoType": repository.type,
            "author": repository.namespace.name,
            "private": repository.private,
            "likes": repository.likes,
            "downloads": repository.downloads,
            "lastModified": moment(repository.last_modified),
        }
    elif row.target is not None:
        found |= {"id": row.target.ident, "slug": row.target.slug, "title": row.target.title}
    else:
        found |= {"id": row.paper}
    if row.note:
        found["note"] = {"text": row.note, "html": note_html(row.note)}
    return found


def _flag(data: dict[str, Any], name: str) -> bool | None:
    value = data.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRequest(f"The field {name!r} must be true or false.")
    return value


def _position(data: dict[str, Any]) -> int | None:
    value = data.get("position")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadRequest("The field 'position' must be a whole number from 0 on.")
    return value


def _note(data: dict[str, Any]) -> str | None:
    return text_field(data, "note") if data.get("note") is not None else None
