"""Global deduplication: whether a chunk lies here already, asked from a machine which never pushed before."""

import time
from datetime import timedelta

from django.utils import timezone
from django.utils.crypto import salted_hmac

from models_registry.errors import NotFound
from models_registry.storage.models import Damage
from models_registry.xet.formats.answers import dedupe_shard
from models_registry.xet.formats.xorb import XorbIndex
from models_registry.xet.models import ChunkPlace, XetFile, Xorb
from models_registry.xet.registering import use_xorbs
from models_registry.xet.services import Grant, buildable, indexes_of, xorb_key

# Longer than any push, and short enough: who loses the right to read is soon told of nothing which they may not name.
ANSWER_SECONDS = 24 * 3600
MOST_CHUNKS = 65_536  # of one answer: 3 MiB, about 4 GiB of files
_PLACES, _FILES = 32, 8


def known_chunks(grant: Grant, chunk_hash: str) -> bytes:
    """A shard of the xorb which holds this chunk and of those around it in the same file.

    Only xorbs are told on which the caller may build: what lies in repositories which they may not read is as unknown
    as what was never sent. Raises NotFound.
    """
    places = ChunkPlace.objects.filter(chunk=chunk_hash).order_by("-pk").values_list("xorb_id", flat=True)
    found = list(places[:_PLACES])
    allowed = buildable(grant.actor, found) - _damaged(found)
    chosen = next((name for name in found if name in allowed), None)
    if chosen is None:
        raise NotFound("No chunk of this hash is known here.")
    names = _around(chosen)
    allowed = buildable(grant.actor, names) - _damaged(names)
    indexes = indexes_of(name for name in names if name in allowed)
    offered: list[XorbIndex] = []
    chunks = 0
    for name in names:
        index = indexes.get(name)
        if index is not None and (not offered or chunks + len(index) <= MOST_CHUNKS):
            offered.append(index)
            chunks += len(index)
    an_hour_ago = timezone.now() - timedelta(hours=1)
    stale = Xorb.objects.filter(hash__in=[index.hash_hex for index in offered], used_at__lt=an_hour_ago)
    if names := list(stale.values_list("hash", flat=True)):
        use_xorbs(names)
    created = int(time.time())
    return dedupe_shard(offered, _key(grant), created, created + ANSWER_SECONDS)


def _damaged(names: list[str]) -> set[str]:
    keys = Damage.objects.filter(key__in=[xorb_key(name) for name in names]).values_list("key", flat=True)
    return {key.partition("/")[2] for key in keys}


def _around(xorb: str) -> list[str]:
    """This xorb, then those which follow it in files made of it, then those before."""
    names = [xorb]
    files = XetFile.objects.filter(uses__xorb=xorb).order_by("-created_at").values_list("terms", flat=True)[:_FILES]
    for terms in files:
        order = list(dict.fromkeys(term[0] for term in terms))
        at = order.index(xorb)
        names += order[at:] + order[:at]
    return list(dict.fromkeys(names))


def _key(grant: Grant) -> bytes:
    """Hashes are keyed anew for every user, so that answers can not be compared."""
    user = grant.actor.user.pk if grant.actor.user else 0
    return salted_hmac("xet-chunks", str(user), algorithm="sha256").digest()
