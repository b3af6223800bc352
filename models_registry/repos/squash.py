"""The act of squashing: a ref's whole history becomes one commit with the same files. What it leaves is garbage."""

import logging

from django.db import transaction

from models_registry.accounts.actors import Actor
from models_registry.community.discussions import pulls
from models_registry.errors import BadRequest, RevisionNotFound
from models_registry.repos import git_objects as git
from models_registry.repos.commits import advance, make_commit
from models_registry.repos.events import history_rewritten
from models_registry.repos.models import Ref, Repository
from models_registry.repos.revisions import HEADS, TAGS
from models_registry.repos.services import require_write

logger = logging.getLogger(__name__)
MAX_MESSAGE_BYTES = 1024 * 1024


def squash(actor: Actor, repository: Repository, revision: str, message: str = "") -> str:
    """Replace the history of a branch or of `refs/pr/N` by one commit. Returns its oid.

    Raises Unauthorized, Forbidden, RevisionNotFound, BadRequest (a tag, a message which is too long).
    """
    number = pulls.number_of(revision)
    if number is None:
        require_write(actor, repository)
    else:
        pulls.require_push(actor, pulls.find_pull_request(repository, number))
    if len(message.encode("utf-8", "replace")) > MAX_MESSAGE_BYTES:
        raise BadRequest(f"A commit's message has at most {MAX_MESSAGE_BYTES:,} bytes.")
    ref = revision if revision.startswith((HEADS, pulls.PULL_REFS)) else HEADS + revision
    with transaction.atomic():
        Repository.objects.select_for_update().get(pk=repository.pk)
        rows = {row.name: row for row in Ref.objects.filter(repository=repository, name__in=(ref, TAGS + revision))}
        row = rows.get(ref)
        if row is None:
            if rows or revision.startswith("refs/"):
                raise BadRequest(f"Invalid reference for a branch: {revision[:200]!r}; only a branch can be squashed.")
            raise RevisionNotFound(f"Invalid rev id: {revision[:200]}")
        tree = git.read_commit(repository, row.oid).tree
        words = message.strip() or f"Super-squash branch '{revision}'"
        history_rewritten.send(Repository, repository=repository)
        oid = advance(repository, ref, row, make_commit(tree, [], actor.name, words), [])
    logger.info("squashed %s of %s from %s to %s by %s", ref, repository.path, row.oid, oid, actor.name)
    return oid
