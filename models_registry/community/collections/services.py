"""Acts on collections. Each holds the row of what it orders (the owner, or the collection): positions have no gaps."""

import logging
from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.db.models import F, Max, Model
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Namespace
from models_registry.accounts.policies import can_collect_in, can_edit_collection, can_upvote
from models_registry.community.collections.models import (
    DESCRIPTION_MAX,
    NOTE_MAX,
    TITLE_MAX,
    Collection,
    CollectionItem,
    Theme,
    Upvote,
)
from models_registry.community.collections.reading import What, items_readable_by, key_of
from models_registry.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized
from models_registry.repos.services import namespace_named

logger = logging.getLogger(__name__)
MAX_COLLECTIONS, MAX_ITEMS = 1000, 1000


def create_collection(
    actor: Actor, title: str, owner: str | None = None, *, description: str = "", private: bool = False
) -> Collection:
    """Make an empty collection at the end of its owner's list.

    Raises Unauthorized, Forbidden, BadRequest; Conflict, with the `slug` of the one there is, for a title used twice.
    """
    if actor.user is None:
        raise Unauthorized("Sign in or send a token with the role write to make a collection.")
    namespace = namespace_named(owner or actor.user.username)
    if namespace is None or not can_collect_in(actor, namespace):
        raise Forbidden(
            f"You don't have the rights to create a collection under the namespace {owner or actor.name!r}."
        )
    title, description = _title(title), _bounded(description, "description", DESCRIPTION_MAX)
    with transaction.atomic():
        Namespace.objects.select_for_update().get(pk=namespace.pk)
        others = Collection.objects.filter(namespace=namespace)
        twin = others.filter(title=title).first()
        if twin is not None:
            twin.namespace = namespace
            raise Conflict(f"The collection {title!r} exists already.", {"slug": twin.slug})
        last = others.aggregate(last=Max("position"))["last"]
        if last is not None and last + 1 >= MAX_COLLECTIONS:
            raise BadRequest(f"{namespace.name} has {MAX_COLLECTIONS:,} collections: delete one to make another.")
        made = Collection.objects.create(
            namespace=namespace,
            creator=actor.user,
            title=title,
            description=description,
            private=private,
            position=0 if last is None else last + 1,
            last_updated=timezone.now(),
        )
    logger.info("collection %s by %s", made.slug, actor.name)
    return made


def update_collection(
    actor: Actor,
    collection: Collection,
    *,
    title: str | None = None,
    description: str | None = None,
    private: bool | None = None,
    theme: str | None = None,
    position: int | None = None,
) -> None:
    """Change what is given. Raises Unauthorized, Forbidden, BadRequest, Conflict."""
    require_edit(actor, collection)
    changes: dict[str, object] = {}
    if title is not None:
        changes["title"] = _title(title)
    if description is not None:
        changes["description"] = _bounded(description, "description", DESCRIPTION_MAX)
    if private is not None:
        changes["private"] = private
    if theme is not None:
        if theme not in Theme.values:
            raise BadRequest(f"A collection's theme is one of {', '.join(Theme.values)}, not {theme[:40]!r}.")
        changes["theme"] = theme
    with transaction.atomic():
        if changes:
            try:
                with transaction.atomic():
                    Collection.objects.filter(pk=collection.pk).update(**changes, last_updated=timezone.now())
            except IntegrityError as error:
                raise Conflict(f"Another collection has the title {title!r} already.") from error
        if position is not None:
            Namespace.objects.select_for_update().get(pk=collection.namespace_id)
            rows = list(Collection.objects.filter(namespace=collection.namespace_id).order_by("position", "pk"))
            _write_order(_moved(rows, rows, collection.pk, position))
    collection.refresh_from_db()


def delete_collection(actor: Actor, collection: Collection) -> None:
    require_edit(actor, collection)
    slug = collection.slug
    with transaction.atomic():
        Namespace.objects.select_for_update().get(pk=collection.namespace_id)
        # Read under the lock: it may have moved since the caller saw it.
        held = Collection.objects.filter(pk=collection.pk).first()
        if held is None:
            raise NotFound("Collection not found")
        held.delete()
        rows = Collection.objects.filter(namespace=collection.namespace_id, position__gt=held.position)
        rows.update(position=F("position") - 1)
    logger.info("collection %s deleted by %s", slug, actor.name)


def add_item(actor: Actor, collection: Collection, what: What, note: str = "") -> CollectionItem:
    """Put something at the end. Raises Unauthorized, Forbidden, BadRequest; Conflict when it is there already."""
    require_edit(actor, collection)
    note = _bounded(note, "note", NOTE_MAX)
    if what.target is not None and what.target.pk == collection.pk:
        raise BadRequest("A collection can not hold itself.")
    with transaction.atomic():
        rows = _locked_items(collection)
        if rows.filter(**what.lookup()).exists():
            raise Conflict("This item is in the collection already.")
        ordered = list(rows.order_by("position", "pk"))
        if len(ordered) >= MAX_ITEMS:
            raise BadRequest(f"A collection holds at most {MAX_ITEMS:,} items.")
        _write_order(ordered)
        made = CollectionItem.objects.create(
            collection=collection, type=what.type, note=note, position=len(ordered), **what.lookup()
        )
        _touch(collection)
    return made


def update_item(
    actor: Actor, collection: Collection, ident: str, *, note: str | None = None, position: int | None = None
) -> CollectionItem:
    """Change an item's note or its place among the items which this actor sees. Raises NotFound, BadRequest, …"""
    require_edit(actor, collection)
    with transaction.atomic():
        rows = _locked_items(collection)
        item = _item(rows, actor, ident)
        if note is not None:
            item.note = _bounded(note, "note", NOTE_MAX)
            item.save(update_fields=["note"])
        if position is not None:
            ordered = list(rows.order_by("position", "pk"))
            seen = set(rows.filter(items_readable_by(actor)).values_list("pk", flat=True))
            _write_order(_moved(ordered, [row for row in ordered if row.pk in seen], item.pk, position))
        _touch(collection)
    return item


def remove_item(actor: Actor, collection: Collection, ident: str) -> None:
    require_edit(actor, collection)
    with transaction.atomic():
        rows = _locked_items(collection)
        _item(rows, actor, ident).delete()
        _write_order(list(rows.order_by("position", "pk")))
        _touch(collection)


def upvote(actor: Actor, collection: Collection, *, on: bool) -> None:
    """Give or take back one's upvote; twice changes nothing. Raises Unauthorized, Forbidden."""
    if actor.user is None:
        raise Unauthorized("Sign in or send a token with the role write to upvote a collection.")
    if not can_upvote(actor, collection):
        raise Forbidden("These credentials may not upvote: use a token with the role write.")
    row = Collection.objects.filter(pk=collection.pk)
    with transaction.atomic():
        if on:
            if Upvote.objects.get_or_create(collection=collection, user=actor.user)[1]:
                row.update(upvotes=F("upvotes") + 1)
        elif Upvote.objects.filter(collection=collection, user=actor.user).delete()[0]:
            row.filter(upvotes__gt=0).update(upvotes=F("upvotes") - 1)
    collection.refresh_from_db(fields=["upvotes"])


def upvotes(actor: Actor, collection: Collection) -> bool:
    """Whether this actor upvotes it."""
    return actor.user is not None and Upvote.objects.filter(collection=collection, user=actor.user).exists()


def require_edit(actor: Actor, collection: Collection) -> None:
    if actor.is_anonymous:
        raise Unauthorized("Sign in or send a token with the role write.")
    if not can_edit_collection(actor, collection):
        raise Forbidden("You may not change this collection: use a token with the role write of someone who may.")


def _title(text: str) -> str:
    text = _bounded(text.strip(), "title", TITLE_MAX)
    if not text:
        raise BadRequest("A collection needs a title.")
    return text


def _bounded(text: str, what: str, most: int) -> str:
    if "\0" in text:
        raise BadRequest(f"The {what} can not hold a NUL character.")
    if len(text) > most:
        raise BadRequest(f"The {what} has {len(text):,} characters: it may have {most}.")
    return text


def _locked_items(collection: Collection):  # type: ignore[no-untyped-def]
    """The items, with the collection's row held: whoever changes them comes one after the other."""
    if Collection.objects.select_for_update().filter(pk=collection.pk).first() is None:
        raise NotFound("Collection not found")
    return CollectionItem.objects.filter(collection=collection)


def _item(rows, actor: Actor, ident: str) -> CollectionItem:  # type: ignore[no-untyped-def]
    key = key_of(ident)
    item = rows.filter(items_readable_by(actor), pk=key).first() if key else None
    if item is None:
        raise NotFound("This collection has no such item.")
    return item


def _touch(collection: Collection) -> None:
    collection.last_updated = timezone.now()
    Collection.objects.filter(pk=collection.pk).update(last_updated=collection.last_updated)


def _moved(rows: Sequence[Model], seen: Sequence[Model], key: int, position: int) -> list[Model]:
    """The rows with one of them at `position` among those which are seen; what is unseen keeps its neighbours."""
    mover = next(row for row in rows if row.pk == key)
    rest = [row for row in rows if row.pk != key]
    others = [row for row in seen if row.pk != key]
    if position >= len(others):
        after = rest.index(others[-1]) + 1 if others else 0
    else:
        after = rest.index(others[max(0, position)])
    return [*rest[:after], mover, *rest[after:]]


def _write_order(rows: Sequence[Model]) -> None:
    """Number the rows from 0; only those which change are written."""
    changed = []
    for position, row in enumerate(rows):
        if row.position != position:  # type: ignore[attr-defined]
            row.position = position  # type: ignore[attr-defined]
            changed.append(row)
    if changed:
        type(changed[0])._default_manager.bulk_update(changed, ["position"], batch_size=200)
