"""Acts on likes. A row and the repository's count change together, each by one statement, so that none is lost."""

import logging

from django.db import transaction
from django.db.models import F, QuerySet

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import User
from models_registry.accounts.policies import can_discuss, readable_by
from models_registry.community.likes.models import Like
from models_registry.errors import Forbidden, Unauthorized
from models_registry.repos.models import Repository
from models_registry.search import trending

logger = logging.getLogger(__name__)


def like(actor: Actor, repository: Repository) -> bool:
    """Like a repository once. Returns whether it is new. Raises Unauthorized, Forbidden."""
    user = _require(actor, repository)
    with transaction.atomic():
        _, created = Like.objects.get_or_create(repository=repository, user=user)
        if created:
            trending.note(repository.pk, trending.LIKE, likes=F("likes") + 1)
    if created:
        repository.likes += 1
        logger.info("%s likes %s", actor.name, repository.path)
    return created


def unlike(actor: Actor, repository: Repository) -> bool:
    """Take a like back. Returns whether there was one. Raises Unauthorized, Forbidden."""
    user = _require(actor, repository)
    with transaction.atomic():
        deleted, _ = Like.objects.filter(repository=repository, user=user).delete()
        if deleted:
            Repository.objects.filter(pk=repository.pk, likes__gt=0).update(likes=F("likes") - 1)
    if deleted:
        repository.likes = max(0, repository.likes - 1)
        logger.info("%s does not like %s any more", actor.name, repository.path)
    return bool(deleted)


def likes(actor: Actor, repository: Repository) -> bool:
    """Whether this actor likes it."""
    return actor.user is not None and Like.objects.filter(repository=repository, user=actor.user).exists()


def likers_of(repository: Repository) -> QuerySet[Like]:
    """Who likes a repository, newest first."""
    return Like.objects.filter(repository=repository).select_related("user__namespace").order_by("-pk")


def likes_of(actor: Actor, user: User) -> QuerySet[Like]:
    """What a user likes, newest first; only what the actor may see."""
    rows = Like.objects.filter(readable_by(actor, "repository__"), user=user)
    return rows.select_related("repository__namespace").order_by("-pk")


def forget_likes_of(user: User) -> None:
    """Before a user is deleted: their likes leave the counts."""
    with transaction.atomic():
        liked = Like.objects.filter(user=user).values("repository")
        Repository.objects.filter(pk__in=liked, likes__gt=0).update(likes=F("likes") - 1)
        Like.objects.filter(user=user).delete()


def _require(actor: Actor, repository: Repository) -> User:
    if actor.user is None:
        raise Unauthorized("Sign in or send a token with the role write to like a repository.")
    if not can_discuss(actor, repository):
        raise Forbidden(f"These credentials may not like {repository.full_name}: use a token with the role write.")
    return actor.user
