"""Search for words: one small interface over SQLite's FTS5 and PostgreSQL's pg_trgm (docs/decisions/).

A word matches anywhere in a repository's name, its summary or its tags, as the Hub's search does (`bert` finds
`distilbert`). Words of one or two letters have no trigram: they match where a word of the name begins so (two letters),
or is exactly that (one letter), by the marks at the text's end.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache

from django.db import connection
from django.db.models import BooleanField, Exists, Func, OuterRef, Q, Value

from models_registry.repos.models import Repository
from models_registry.search.models import SearchText

MAX_WORDS = 12
MAX_WORD_CHARACTERS = 100
_MAX_TEXT = 4000
_WORD = re.compile(r"[^\W_]+")
FTS = "search_fts"


def put(repository: Repository) -> None:
    """Take over a repository's name, summary and tags, if they changed."""
    text = text_of(repository.full_name, repository.summary, repository.tags)
    changed = SearchText.objects.filter(pk=repository.pk).exclude(text=text).update(text=text)
    if not changed and not SearchText.objects.filter(pk=repository.pk).exists():
        SearchText.objects.create(repository=repository, text=text)


def text_of(full_name: str, summary: str, tags: Iterable[str]) -> str:
    """The text which is searched: name, summary, tags, and the marks for short words of the name."""
    text = " ".join([full_name, summary, *tags])[:_MAX_TEXT].lower()
    return f"{text} {' '.join(dict.fromkeys(_marks(full_name.lower())))}".replace("\0", " ")


def words_of(texts: Iterable[str]) -> list[str]:
    """The words of one or several searches, without doubles; at most twelve."""
    words = (word[:MAX_WORD_CHARACTERS].lower() for text in texts for word in text.split())
    return list(dict.fromkeys(words))[:MAX_WORDS]


def first_ids(word: str, most: int) -> list[int]:
    """Up to `most` ids of repositories whose text holds a word."""
    needle = _needle(word)
    if connection.vendor == "sqlite":
        quoted = '"{}"'.format(needle.replace('"', '""'))
        sql = f"SELECT rowid FROM {FTS} WHERE {FTS} MATCH %s LIMIT %s"  # noqa: S608  the table's name is ours
        with connection.cursor() as cursor:
            cursor.execute(sql, [quoted, most])
            return [row[0] for row in cursor.fetchall()]
    return list(SearchText.objects.filter(_condition(word)).values_list("pk", flat=True)[:most])


def holds(word: str) -> Q:
    """The same as a condition on repositories, for a frequent word: asked row by row, of that row's text alone."""
    return Q(Exists(SearchText.objects.filter(_condition(word), repository=OuterRef("pk"))))


def _condition(word: str) -> Q:
    if connection.vendor == "postgresql" and not _has_trigrams():
        # Words by their beginnings, where this role may not create pg_trgm.
        words = " & ".join(f"{part}:*" for part in _WORD.findall(word)) or "''"
        return Q(_Words(Value(words)))
    return Q(text__contains=_needle(word))


class _Words(Func):
    """The text's words match a query of to_tsquery; written as the index on the same expression is."""

    template = "to_tsvector('simple', text) @@ to_tsquery('simple', %(expressions)s)"
    output_field = BooleanField()
    conditional = True


@cache
def _has_trigrams() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_indexes WHERE indexname = 'search_text_trigrams'")
        return cursor.fetchone() is not None


def _needle(word: str) -> str:
    if len(word) > 2:
        return word
    return f"^{word}" if len(word) == 2 else f"^{word}$"


def _marks(name: str) -> Iterator[str]:
    for word in _WORD.findall(name):
        yield f"^{word[:2]}" if len(word) > 1 else f"^{word}$"
