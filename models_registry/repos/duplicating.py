"""The act of duplicating: a new repository with another one's branches and tags, and nothing else of it.

Left behind: pull requests, conversions and variants (this hub makes them anew for the copy), and objects to which no
branch or tag leads any more, so that what was squashed away in the source does not come back in a copy.
"""

import logging
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet, Sum, Value

from models_registry.accounts.actors import Actor
from models_registry.accounts.services import check_name
from models_registry.errors import Conflict
from models_registry.repos.closure import reachable
from models_registry.repos.events import repository_created, repository_duplicated, revision_published
from models_registry.repos.gating import require_files
from models_registry.repos.models import GitObject, Ref, Repository, RepositoryBlob
from models_registry.repos.quotas import hold_to_limit, require_room_in
from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS, TAGS
from models_registry.repos.services import insert_repository, namespace_to_create_in

logger = logging.getLogger(__name__)
_BATCH = 5000  # object ids of one INSERT … SELECT


def duplicate_repository(
    actor: Actor, source: Repository, name: str, owner: str | None = None, *, hub: str, private: bool | None = None
) -> Repository:
    """Copy `source` as `owner/name`. Without `private` the copy is as private as its source, and a gate stays.

    Raises:
        GatedRepo: the actor may not read the source's files. Unauthorized, Forbidden: nor create there.
        BadRequest: bad name. Conflict: it is there already, or the source was rewritten meanwhile.
    """
    require_files(actor, source, hub)
    namespace = namespace_to_create_in(actor, source.kind, owner)
    check_name(name, "repository")
    refs = Ref.objects.filter(Q(name__startswith=HEADS) | Q(name__startswith=TAGS), repository=source)
    rows = list(refs.values_list("name", "oid", "tag_oid"))
    heads = {ref: oid for ref, oid, _ in rows}
    # All that the source holds: its branches and tags may name less, and never more.
    as_private = source.private or namespace.private_by_default if private is None else private
    require_room_in(namespace, source.used_storage_bytes, private=as_private)
    # Objects never change, so they are found before the transaction, which then holds no lock for long.
    oids = reachable(source, [tag_oid or oid for _, oid, tag_oid in rows])
    with transaction.atomic():
        made = insert_repository(
            actor,
            namespace,
            Repository(
                type=source.type,
                name=name,
                private=as_private,
                gated=source.gated,
                sdk=source.sdk,
                description=source.description,
            ),
        )
        _copy(source, made, oids)
        hold_to_limit(made, made.used_storage_bytes)
        Ref.objects.bulk_create(
            [Ref(repository=made, name=ref, oid=oid, tag_oid=tag_oid) for ref, oid, tag_oid in rows]
        )
        repository_duplicated.send(Repository, repository=made, source=source, actor=actor)
        repository_created.send(Repository, repository=made, actor=actor)
        for ref in sorted(heads, key=lambda ref: ref != HEADS + DEFAULT_BRANCH):
            _publish(made, ref, heads[ref])
    logger.info("duplicated %s as %s by %s", source.path, made.path, actor.name)
    return made


def _copy(source: Repository, made: Repository, oids: set[str]) -> None:
    """Objects, and the right to name the contents which they point to, copied inside the database."""
    wanted = sorted(oids)
    copied = sum(
        insert_select(
            GitObject.objects.filter(repository=source, oid__in=wanted[start : start + _BATCH]), repository_id=made.pk
        )
        for start in range(0, len(wanted), _BATCH)
    )
    if copied != len(wanted):
        raise Conflict(f"{source.full_name} was rewritten while it was copied: try again.")
    pointed = GitObject.objects.filter(repository=made).exclude(sha256="").values("sha256")
    insert_select(RepositoryBlob.objects.filter(repository=source, blob__in=pointed), repository_id=made.pk)
    total = RepositoryBlob.objects.filter(repository=made).aggregate(total=Sum("blob__size_bytes"))["total"] or 0
    Repository.objects.filter(pk=made.pk).update(used_storage_bytes=total)
    made.used_storage_bytes = total


def insert_select(rows: QuerySet[Any], **replaced: Any) -> int:
    """Copy rows within their table by one INSERT … SELECT, with some columns replaced. Returns how many."""
    model = rows.model
    columns = [field.attname for field in model._meta.concrete_fields if not field.primary_key]
    names = [field.column for field in model._meta.concrete_fields if not field.primary_key]
    chosen = [Value(replaced[name]) if name in replaced else F(name) for name in columns]
    numbered = {f"copied_{number}": expression for number, expression in enumerate(chosen)}
    query, parameters = rows.order_by().annotate(**numbered).values_list(*numbered).query.sql_with_params()
    quoted = ", ".join(map(connection.ops.quote_name, names))
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({quoted}) {query}", parameters)
        return cursor.rowcount


def _publish(repository: Repository, ref: str, oid: str) -> None:
    revision_published.send(Repository, repository=repository, ref=ref, oid=oid, old_oid=None)
