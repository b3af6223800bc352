"""What must hold after any collection: whatever a root leads to is there, and reads back byte for byte."""

import hashlib

from models_registry.repos.closure import reachable
from models_registry.repos.models import GitObject, Repository, RepositoryBlob
from models_registry.repos.roots import roots_of
from models_registry.storage.models import Blob
from models_registry.storage.services import read_range


def expect_whole(repository: Repository, heads: set[str] | None = None) -> None:
    """Every object, right and byte which these commits (default: all roots) lead to."""
    wanted = reachable(repository, roots_of(repository) if heads is None else heads)
    rows = {row.oid: row for row in GitObject.objects.filter(repository=repository, oid__in=wanted)}
    assert set(rows) == wanted, f"objects are gone: {sorted(wanted - set(rows))}"
    for sha256 in {row.sha256 for row in rows.values() if row.sha256}:
        assert RepositoryBlob.objects.filter(repository=repository, blob=sha256).exists(), f"the right to {sha256}"
        data = b"".join(read_range(Blob.objects.get(pk=sha256)))
        assert hashlib.sha256(data).hexdigest() == sha256
