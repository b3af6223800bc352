"""Which repositories a caller sees in a listing, in which order.

No listing sorts a table. A filter which few repositories meet is answered by its own index: those few are fetched and
sorted. Otherwise the index of the order is walked from where the page begins, and each row is asked; filters which many
meet fill a page soon. Other people's private rows are never walked over: the public ones and the caller's private ones
are two walks, merged. A page costs the same at 1,000 and at 100,000 repositories, and on its first page and its last.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import BooleanField, Exists, Func, OuterRef, Q, QuerySet, Value

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Namespace
from models_registry.accounts.policies import private_namespaces, readable_by
from models_registry.errors import BadRequest
from models_registry.repos.models import Gate, Repository, RepositoryTag, RepoType
from models_registry.search import index
from models_registry.search.cursors import Cursor, read_cursor
from models_registry.search.extensions import extensions_of

SORTS = {
    "": "last_modified",
    "lastModified": "last_modified",
    "last_modified": "last_modified",
    "createdAt": "created_at",
    "created_at": "created_at",
    "downloads": "downloads",
    "likes": "likes",
    "trendingScore": "trending",
    "trending_score": "trending",
}
FEW = 2000  # so many rows are fetched and sorted sooner than the order's index would be walked to find them
MAX_COUNTED = 1000
_MAX_TAGS = 20
_AMOUNT = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMBT]?)", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Filters:
    """What a listing keeps. Every word of `search` and every tag must match."""

    search: tuple[str, ...] = ()
    author: str = ""
    tags: tuple[str, ...] = ()
    pipeline_tag: str = ""
    gated: bool | None = None
    parameters: tuple[int | None, int | None] = (None, None)
    linked: bool = False
    extended: tuple[tuple[str, str], ...] = ()  # (key, text) of filters which other rooms added
    nothing: bool = False  # a filter which no repository of this hub can meet
    sort: str = ""

    @property
    def are_set(self) -> bool:
        return self != Filters(sort=self.sort)


@dataclass(frozen=True)
class Page:
    """`rows` in order; `next` is the cursor of the page after, None on the last. `few`: ids which hold all that match,
    where they are few."""

    rows: list[Repository]
    next: str | None
    few: list[int] | None = None


@dataclass(frozen=True)
class _Narrow:
    """One filter: as a condition on a row, and as the ids which meet it, read from an index (at most `most`)."""

    condition: Q
    ids: Any


class Plain(Func):
    """A column which SQLite may not look up by an index: the planner has no figures and would take a worse one."""

    template = "%(expressions)s"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)


class _Among(Func):
    """An id is one of these, written into the statement: thousands of parameters cost more than the search itself."""

    output_field = BooleanField()
    conditional = True

    def __init__(self, column: str, ids: Iterable[int]) -> None:
        super().__init__(column)
        self.ids = [int(pk) for pk in ids]

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> Any:  # type: ignore[override]
        sql, params = compiler.compile(self.source_expressions[0])
        return f"{sql} IN ({', '.join(map(str, self.ids))})", params


class _Before(Func):
    """(order, id) < (value, pk), as one comparison which an index on both can begin at."""

    template = "(%(expressions)s)"
    output_field = BooleanField()
    conditional = True

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> Any:  # type: ignore[override]
        parts, params = [], []
        for expression in self.source_expressions:
            sql, found = compiler.compile(expression)
            parts.append(sql)
            params.extend(found)
        return f"({parts[0]}, {parts[1]}) < ({parts[2]}, {parts[3]})", params


def find_repositories(
    actor: Actor, kind: RepoType, filters: Filters, limit: int, cursor: str = "", defer: Iterable[str] = ()
) -> Page:
    """One page of a listing. Raises BadRequest for an unknown sort, a cursor of another listing, NUL characters.

    `defer` names columns which the caller will not show.
    """
    order = _order(filters)
    scope = f"{kind.value} {order}"
    after = read_cursor(cursor, scope) if cursor else None
    few, conditions = narrow(actor, kind, filters)
    if few == []:
        return Page([], None, [])
    rows = Repository.objects.select_related("namespace").defer(*defer)
    if few is not None:
        found = list(_sorted(_of_few(rows, actor, kind, few, conditions), order, after, plain=True)[: limit + 1])
    else:
        found = []
        for part in _parts(rows, actor, kind):
            found += _sorted(part.filter(*conditions), order, after)[: limit + 1]
        found.sort(key=lambda row: (getattr(row, order), row.pk), reverse=True)
    page, more = found[:limit], len(found) > limit
    last = page[-1] if page else None
    following = Cursor(getattr(last, order), last.pk).text(scope) if more and last is not None else None
    return Page(page, following, few)


def count_repositories(actor: Actor, kind: RepoType, filters: Filters, most: int = MAX_COUNTED) -> int:
    """How many match, counted up to `most + 1`."""
    few, conditions = narrow(actor, kind, filters)
    rows = Repository.objects.all()
    if few is not None:
        return min(_of_few(rows, actor, kind, few, conditions).count() if few else 0, most + 1)
    total = 0
    for part in _parts(rows, actor, kind):
        total += part.filter(*conditions).order_by()[: most + 1].values("pk").count()
    return min(total, most + 1)


def narrow(actor: Actor, kind: RepoType, filters: Filters) -> tuple[list[int] | None, list[Q]]:
    """(ids which hold all that match, when a filter leaves few; else None), and the conditions to ask of each row."""
    narrows = _narrows(kind, filters)
    few: list[int] | None = [] if filters.nothing else None
    for one in narrows:
        if few == []:
            break
        found = one.ids(FEW + 1)
        if len(found) <= FEW and (few is None or len(found) < len(few)):
            few = found
    return few, [one.condition for one in narrows]


def _narrows(kind: RepoType, filters: Filters) -> list[_Narrow]:
    if any("\0" in text for text in (*filters.search, filters.author, *filters.tags, filters.pipeline_tag)):
        raise BadRequest("A filter can not hold a NUL character.")
    narrows = []
    if filters.author:
        owner = Namespace.objects.filter(name__lower=filters.author.lower()).values_list("pk", flat=True).first()
        condition = Q(namespace=owner if owner is not None else -1)
        narrows.append(_Narrow(condition, lambda most, c=condition: _ids(c & Q(type=kind), most)))
    tags = [*filters.tags[:_MAX_TAGS]]
    if filters.pipeline_tag:
        tags.append(f"pipeline_tag:{filters.pipeline_tag}")
    for tag in tags:
        narrows.append(_tagged(tag))
    for word in index.words_of(filters.search):
        narrows.append(_Narrow(index.holds(word), lambda most, w=word: index.first_ids(w, most)))
    if filters.gated is not None:
        condition = Q(gated__in=Gate.values) if filters.gated else Q(gated="")
        narrows.append(_Narrow(condition, lambda most, c=condition: _ids(c, most) if filters.gated else [0] * most))
    low, high = filters.parameters
    if low is not None or high is not None:
        condition = Q(num_parameters__gte=low or 0)
        if high is not None:
            condition &= Q(num_parameters__lte=high)
        narrows.append(_Narrow(condition, lambda most, c=condition: _ids(c, most)))
    if filters.linked:
        uses = RepositoryTag.objects.filter(repository=OuterRef("pk"))
        condition = Q(Exists(uses.filter(Q(tag__startswith="model:") | Q(tag__startswith="dataset:"))))
        narrows.append(_Narrow(condition, lambda most: [0] * most))
    known = {extension.key: extension for extension in extensions_of(kind)}
    for key, text in filters.extended:
        narrowing = known[key].narrow(text)
        narrows.append(_Narrow(narrowing.condition, narrowing.ids))
    return narrows


def _tagged(tag: str) -> _Narrow:
    rows = RepositoryTag.objects.filter(tag=tag)
    condition = Q(Exists(rows.filter(repository=OuterRef("pk"))))
    return _Narrow(condition, lambda most: list(rows.values_list("repository_id", flat=True)[:most]))


def _ids(condition: Q, most: int) -> list[int]:
    return list(Repository.objects.filter(condition).order_by().values_list("pk", flat=True)[:most])


def _of_few(
    rows: QuerySet[Repository], actor: Actor, kind: RepoType, few: list[int], conditions: list[Q]
) -> QuerySet[Repository]:
    own_type = rows.alias(_type=Plain("type")).filter(_Among("pk", few), _type=kind.value)
    return own_type.filter(*conditions).filter(readable_by(actor))


def _parts(rows: QuerySet[Repository], actor: Actor, kind: RepoType) -> list[QuerySet[Repository]]:
    """The public ones, and the private ones which this actor may see: each is one stretch of an index.

    `private__in`, because Django writes `private=False` as `NOT private`, which no index of SQLite answers.
    """
    parts = [rows.filter(type=kind, private__in=[False])]
    namespaces = private_namespaces(actor)
    if namespaces is None or namespaces:
        private = rows.filter(readable_by(actor), type=kind, private__in=[True])
        parts.append(private if namespaces is None else private.filter(namespace__in=namespaces))
    return parts


def _sorted(
    rows: QuerySet[Repository], order: str, after: Cursor | None, *, plain: bool = False
) -> QuerySet[Repository]:
    if after is not None:
        rows = rows.filter(_Before(order, "pk", Value(after.value, Repository._meta.get_field(order)), Value(after.pk)))  # type: ignore[arg-type]
    if plain:
        return rows.order_by(Plain(order).desc(), "-pk")
    return rows.order_by(f"-{order}", "-pk")


def _order(filters: Filters) -> str:
    if filters.sort not in SORTS:
        known = ", ".join(key for key in SORTS if key)
        raise BadRequest(f"sort={filters.sort[:40]!r} is not known: use one of {known}.")
    return SORTS[filters.sort]


def read_amounts(text: str) -> tuple[int | None, int | None]:
    """`min:6B,max:128B` as numbers of parameters. Raises BadRequest."""
    bounds: dict[str, int] = {}
    for part in text.split(","):
        key, _, amount = part.strip().partition(":")
        match = _AMOUNT.fullmatch(amount.strip())
        if key not in ("min", "max") or match is None or key in bounds:
            raise BadRequest(f"num_parameters={text[:60]!r} is not understood: write it as min:6B,max:128B.")
        bounds[key] = min(int(float(match[1]) * _UNITS[match[2].upper()]), 2**62)
    return bounds.get("min"), bounds.get("max")
