"""From the text of a revision to a commit: branches, tags, shas, full refs, and what other rooms register (`fit@…`)."""

import re
from collections.abc import Callable

from models_registry.accounts.actors import Actor
from models_registry.errors import EntryNotFound, RevisionNotFound
from models_registry.repos.git_objects import COMMIT, CommitInfo, TreeItem, read_commit, read_tree
from models_registry.repos.models import GitObject, Ref, Repository

HEADS, TAGS = "refs/heads/", "refs/tags/"
DEFAULT_BRANCH = "main"
_MAX_SEGMENTS = 8
_HEX = re.compile(r"[0-9a-f]{5,40}")

# Others fill this at start-up: a resolver gives the commit's oid, or None when the text is not its to answer.
Resolver = Callable[[Actor, Repository, str], str | None]
_resolvers: list[Resolver] = []


def register_resolver(resolver: Resolver) -> None:
    _resolvers.append(resolver)


def resolve_revision(actor: Actor, repository: Repository, text: str) -> str:
    """The oid of the commit which a revision names. Raises RevisionNotFound."""
    if "\0" in text:
        raise RevisionNotFound("Invalid rev id: a revision holds no NUL character.")
    oid = _ref_oid(repository, text)
    oid = oid or resolve_registered(actor, repository, text) or _sha_oid(repository, text)
    if oid is None:
        raise RevisionNotFound(f"Invalid rev id: {text[:200]}")
    return oid


def resolve_registered(actor: Actor, repository: Repository, text: str) -> str | None:
    """What other rooms make of a text (`fit@…`); None when it is none of theirs. Raises as they do."""
    found = (resolver(actor, repository, text) for resolver in _resolvers)
    return next((oid for oid in found if oid is not None), None)


def split_revision(actor: Actor, repository: Repository, rest: str) -> tuple[str, str]:
    """Split `<revision>/<path>` into (commit oid, path).

    Servers decode `%2F` before a WSGI application sees the path, so `feature/x/a.txt` is split by the refs there are:
    the longest one wins.
    """
    parts = rest.split("/")
    if len(parts) > 1 and "\0" not in rest and not _HEX.fullmatch(parts[0]):
        texts = ["/".join(parts[:n]) for n in range(1, min(len(parts), _MAX_SEGMENTS) + 1)]
        names = {name: text for text in texts for name in _ref_names(text)}
        rows = dict(Ref.objects.filter(repository=repository, name__in=names).values_list("name", "oid"))
        for text in reversed(texts):
            for name in _ref_names(text):
                if name in rows:
                    return rows[name], rest[len(text) + 1 :]
    return resolve_revision(actor, repository, parts[0]), "/".join(parts[1:])


def find_entry(repository: Repository, commit_oid: str, path: str) -> TreeItem:
    """The file or folder at a path of a commit. Raises EntryNotFound, with the commit in its headers."""
    commit = commit_at(repository, commit_oid)
    item = TreeItem("", 0o040000, commit.tree)
    for part in path.split("/") if path else []:
        found = read_tree(repository, item.oid).get(part) if item.is_folder else None
        if found is None or found.is_submodule:
            raise EntryNotFound(f"{path[:300]} does not exist on this revision.", {"X-Repo-Commit": commit_oid})
        item = found
    return item


def commit_at(repository: Repository, oid: str) -> CommitInfo:
    try:
        return read_commit(repository, oid)
    except KeyError as error:
        raise RevisionNotFound(f"Invalid rev id: {oid}") from error


def items_at(repository: Repository, commit_oid: str, folder: str = "") -> dict[str, TreeItem]:
    """The files and folders in a folder (or the root) of a commit, by name. Raises EntryNotFound."""
    return read_tree(repository, find_entry(repository, commit_oid, folder).oid)


def branch_head(repository: Repository, name: str = DEFAULT_BRANCH) -> str | None:
    return Ref.objects.filter(repository=repository, name=HEADS + name).values_list("oid", flat=True).first()


def heads_of(repository_pks: list[int], name: str = DEFAULT_BRANCH) -> dict[int, str]:
    """The head of a branch of several repositories, by their ids; by one query."""
    rows = Ref.objects.filter(repository__in=repository_pks, name=HEADS + name)
    return dict(rows.values_list("repository_id", "oid"))


def _ref_names(text: str) -> tuple[str, ...]:
    if text.startswith("refs/"):
        return (text,)
    if text == "HEAD":  # what git and huggingface.js call the default branch
        return (HEADS + DEFAULT_BRANCH,)
    return (HEADS + text, TAGS + text)


def _ref_oid(repository: Repository, text: str) -> str | None:
    names = _ref_names(text)
    rows = dict(Ref.objects.filter(repository=repository, name__in=names).values_list("name", "oid"))
    return next((rows[name] for name in names if name in rows), None)


def _sha_oid(repository: Repository, text: str) -> str | None:
    """A full sha, or a beginning of at least 7 which only one commit has."""
    text = text.lower()
    if not _HEX.fullmatch(text) or len(text) < 7:
        return None
    rows = GitObject.objects.filter(repository=repository, kind=COMMIT)
    rows = rows.filter(oid=text) if len(text) == 40 else rows.filter(oid__startswith=text)
    found = list(rows.values_list("oid", flat=True)[:2])
    return found[0] if len(found) == 1 else None
