"""The index of trigrams: FTS5 on SQLite, kept by triggers; pg_trgm on PostgreSQL where it may be created."""

from collections import Counter

from django.db import DatabaseError, migrations, transaction

TABLE, COLUMNS = "search_searchtext", ("repository_id", "text")

SQLITE = [
    "CREATE VIRTUAL TABLE search_fts USING fts5("
    "text, content='search_searchtext', content_rowid='repository_id', tokenize='trigram', detail='full')",
    "CREATE TRIGGER search_fts_insert AFTER INSERT ON search_searchtext BEGIN "
    "INSERT INTO search_fts(rowid, text) VALUES (new.repository_id, new.text); END",
    "CREATE TRIGGER search_fts_delete AFTER DELETE ON search_searchtext BEGIN "
    "INSERT INTO search_fts(search_fts, rowid, text) VALUES ('delete', old.repository_id, old.text); END",
    "CREATE TRIGGER search_fts_update AFTER UPDATE OF text ON search_searchtext BEGIN "
    "INSERT INTO search_fts(search_fts, rowid, text) VALUES ('delete', old.repository_id, old.text); "
    "INSERT INTO search_fts(rowid, text) VALUES (new.repository_id, new.text); END",
]
SQLITE_BACK = [
    "DROP TRIGGER search_fts_insert",
    "DROP TRIGGER search_fts_delete",
    "DROP TRIGGER search_fts_update",
    "DROP TABLE search_fts",
]


def make_index(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for statement in SQLITE:
            schema_editor.execute(statement)
        return
    try:
        with transaction.atomic():
            schema_editor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            schema_editor.execute("CREATE INDEX search_text_trigrams ON search_searchtext USING gin (text gin_trgm_ops)")
    except DatabaseError:
        # A role which may create no extension: words are found by their beginnings instead (search/index.py).
        schema_editor.execute(
            "CREATE INDEX search_text_words ON search_searchtext USING gin (to_tsvector('simple', text))"
        )


def drop_index(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for statement in SQLITE_BACK:
            schema_editor.execute(statement)
        return
    schema_editor.execute("DROP INDEX IF EXISTS search_text_trigrams")
    schema_editor.execute("DROP INDEX IF EXISTS search_text_words")


def take_over(apps, schema_editor):
    """Repositories which are there already: their texts, their tags as shown, and how often each is used."""
    from models_registry.search.index import text_of
    from models_registry.search.tag_uses import group_of

    Repository, Tag = apps.get_model("repos", "Repository"), apps.get_model("repos", "RepositoryTag")
    SearchText, TagUse = apps.get_model("search", "SearchText"), apps.get_model("search", "TagUse")
    uses = Counter()
    for repository in Repository.objects.iterator(chunk_size=500):
        tags = list(Tag.objects.filter(repository=repository).order_by("pk").values_list("tag", flat=True))
        Repository.objects.filter(pk=repository.pk).update(tags=tags)
        hidden = {f"pipeline_tag:{repository.pipeline_tag}"} if repository.pipeline_tag else set()
        hidden |= {f"library:{repository.library_name}"} if repository.library_name else set()
        Tag.objects.bulk_create([Tag(repository=repository, tag=tag) for tag in hidden - set(tags)])
        text = text_of(repository.full_name, repository.summary, tags)
        SearchText.objects.create(repository=repository, text=text)
        if not repository.private:
            uses.update((repository.type, tag) for tag in tags)
    TagUse.objects.bulk_create(
        [TagUse(type=kind, tag=tag, group=group_of(tag), uses=count) for (kind, tag), count in uses.items()],
        batch_size=500,
    )


class Migration(migrations.Migration):

    dependencies = [("search", "0001_initial"), ("repos", "0004_search_columns")]

    operations = [
        migrations.RunPython(make_index, drop_index),
        migrations.RunPython(take_over, migrations.RunPython.noop),
    ]
