"""Finding collections: by slug, in lists, with the items which the reader may see. No act is here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import (
    can_read_collection,
    collections_editable_by,
    collections_readable_by,
    readable_by,
)
from models_registry.community.collections.models import Collection, CollectionItem, ItemType
from models_registry.errors import BadRequest, NotFound, RepoNotFound
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.services import find_repository

SORTS = {
    "": ("-last_updated", "-pk"),
    "lastModified": ("-last_updated", "-pk"),
    "upvotes": ("-upvotes", "-last_updated", "-pk"),
    "trending": ("-upvotes", "-last_updated", "-pk"),
}
ITEMS_IN_LISTS = 4
PAPER = re.compile(r"\d{4}\.\d{4,5}(v\d{1,2})?")
_SLUG = re.compile(r"(?:[^/]*-)?([0-9a-f]{24})")
_LARGEST = 2**63 - 1
# What the API and the pages say of an item: without cards, which are the heaviest column.
_SHOWN = (
    "collection_id", "type", "paper", "note", "position",
    "repository__type", "repository__full_name", "repository__name", "repository__private", "repository__likes",
    "repository__downloads", "repository__last_modified",
    "repository__namespace__name",
    "target__title", "target__private", "target__namespace__name",
)  # fmt: skip
_REPOSITORY_TYPES = {kind.plural: kind for kind in RepoType}


@dataclass(frozen=True)
class What:
    """What an item stands for. Exactly one of the last three is set."""

    type: ItemType
    repository: Repository | None = None
    target: Collection | None = None
    paper: str = ""

    def lookup(self) -> dict[str, object]:
        """How the item's row is found."""
        if self.paper:
            return {"paper": self.paper}
        return {"repository": self.repository} if self.repository is not None else {"target": self.target}


def key_of(ident: str) -> int | None:
    """The primary key behind 24 hex digits, None when they are not one."""
    if not re.fullmatch(r"[0-9a-f]{24}", ident) or int(ident, 16) > _LARGEST:
        return None
    return int(ident, 16)


def find_collection(actor: Actor, slug: str) -> Collection:
    """By the trailing id, so that slugs of older titles keep working. Raises NotFound, also for what is invisible."""
    owner, _, rest = slug.partition("/")
    match = _SLUG.fullmatch(rest)
    key = key_of(match[1]) if match else None
    found = Collection.objects.select_related("namespace").filter(pk=key).first() if key else None
    # Another owner's name before a collection would lend it that name.
    if found is None or found.namespace.name.lower() != owner.lower() or not can_read_collection(actor, found):
        raise NotFound("Collection not found")
    return found


def list_collections(actor: Actor, *, owner: str = "", item: str = "", sort: str = "") -> QuerySet[Collection]:
    """A lazy query. `item` is `models/ns/x`, `papers/2311.12983`, `collections/<slug>`. Raises BadRequest.

    Without `sort`, one owner's collections come in the owner's order, everybody's with the newest changes first.
    """
    if sort not in SORTS:
        raise BadRequest(f"sort={sort[:40]!r} is not known: use one of lastModified, trending, upvotes.")
    if "\0" in owner + item:
        raise BadRequest("A filter can not hold a NUL character.")
    rows = Collection.objects.filter(collections_readable_by(actor)).select_related("namespace")
    order: tuple[str, ...] = SORTS[sort]
    if owner:
        rows = rows.filter(namespace__name__lower=owner.lower())
        if not sort:
            order = ("position", "-pk")
    if item:
        what = _what(actor, item)
        if what is None:
            return rows.none()
        # The few which hold it are found first, by its index; EXISTS would walk all collections in their order.
        rows = rows.filter(pk__in=CollectionItem.objects.filter(**what.lookup()).values("collection"))
    return rows.order_by(*order)


def collections_to_edit(actor: Actor) -> QuerySet[Collection]:
    """Those which this person may change, newest changes first."""
    rows = Collection.objects.filter(collections_editable_by(actor)).select_related("namespace")
    return rows.order_by("-last_updated", "-pk")


def items_readable_by(actor: Actor) -> Q:
    """A filter on items: what stands for something private is not there for those who may not see it."""
    repository = Q(repository__isnull=True) | readable_by(actor, "repository__")
    return repository & (Q(target__isnull=True) | collections_readable_by(actor, "target__"))


def items_of(actor: Actor, collection: Collection) -> list[CollectionItem]:
    """All items which this actor may see, in order."""
    rows = CollectionItem.objects.filter(items_readable_by(actor), collection=collection)
    return list(
        rows.select_related("repository__namespace", "target__namespace").only(*_SHOWN).order_by("position", "pk")
    )


def first_items(actor: Actor, collections: Sequence[Collection]) -> dict[int, list[CollectionItem]]:
    """The first items of each of some collections, by one query."""
    rows = CollectionItem.objects.filter(items_readable_by(actor), collection__in=collections)
    numbered = rows.annotate(
        number=Window(RowNumber(), partition_by=[F("collection")], order_by=[F("position").asc(), F("pk").asc()])
    ).filter(number__lte=ITEMS_IN_LISTS)
    found: dict[int, list[CollectionItem]] = {collection.pk: [] for collection in collections}
    shown = numbered.select_related("repository__namespace", "target__namespace").only(*_SHOWN)
    for row in shown.order_by("position", "pk"):
        found[row.collection_id].append(row)
    return found


def resolve_item(actor: Actor, kind: str, ident: str) -> What:
    """What `{"type", "id"}` names. Raises BadRequest, NotFound, RepoNotFound."""
    if kind not in ItemType.values:
        raise BadRequest(f"An item's type is one of {', '.join(ItemType.values)}, not {kind[:40]!r}.")
    what = ItemType(kind)
    if what is ItemType.PAPER:
        if not PAPER.fullmatch(ident):
            raise NotFound(f"There is no paper {ident[:40]!r}: a paper's id is one of arXiv, such as 2311.12983.")
        return What(what, paper=ident)
    if what is ItemType.COLLECTION:
        return What(what, target=find_collection(actor, ident))
    return What(what, repository=find_repository(actor, RepoType(kind), ident, follow=True))


def _what(actor: Actor, text: str) -> What | None:
    """What `models/ns/x` names, None when there is no such thing for this actor."""
    group, _, ident = text.partition("/")
    kind = _REPOSITORY_TYPES[group].value if group in _REPOSITORY_TYPES else group.removesuffix("s")
    if kind not in ItemType.values or not ident:
        raise BadRequest(
            f"item={text[:80]!r} is not understood: write models/owner/name, datasets/owner/name, spaces/owner/name, "
            "papers/2311.12983 or collections/<slug>."
        )
    try:
        return resolve_item(actor, kind, ident)
    except (NotFound, RepoNotFound):
        return None
