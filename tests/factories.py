"""Making users, repositories, contents and variants for tests, by the same acts which the site calls."""

import hashlib
import io
import json
from typing import Any

from django.test import Client
from django.utils import timezone

from compression_service.devices.services import record_device
from compression_service.engine.definitions import BASELINE
from compression_service.engine.recipes import RECIPES
from compression_service.selection.offers import refresh_offers
from compression_service.variants.models import Catalogue, Footprint, SourceModel, Variant
from models_registry.accounts.actors import Actor
from models_registry.accounts.models import User
from models_registry.accounts.services import create_user
from models_registry.accounts.tokens import create_token
from models_registry.repos.commits import AddContent, AddFile, Operation, commit
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.revisions import branch_head
from models_registry.repos.services import create_repository, grant_blob
from models_registry.storage.services import take_in

PASSWORD = "a long pass phrase"


def make_user(name: str, **options: Any) -> User:
    return create_user(name, PASSWORD, **options)


def make_repository(
    owner: User,
    name: str,
    kind: RepoType = RepoType.MODEL,
    *,
    private: bool = False,
    files: dict[str, bytes] | None = None,
) -> Repository:
    repository = create_repository(
        Actor(owner), kind, name, private=private, sdk="static" if kind is RepoType.SPACE else ""
    )
    if files:
        push(repository, owner, files)
    return repository


def push(
    repository: Repository, user: User, files: dict[str, bytes], title: str = "Add files", branch: str = "main"
) -> str:
    """Commit small files; names which end in .bin or .onnx become stored contents."""
    operations: list[Operation] = []
    for path, data in files.items():
        if path.endswith((".bin", ".onnx", ".safetensors", ".parquet", ".pkl")):
            sha256 = store(repository, data)
            operations.append(AddContent(path, sha256, len(data)))
        else:
            operations.append(AddFile(path, data))
    return commit(Actor(user), repository, branch, operations, title)


def card_for_recipes(*names: str, head: str = "") -> bytes:
    """A card which excludes all recipes but these, so that a test waits for no others. `head`: more lines of metadata."""
    others = [recipe.name for recipe in RECIPES if recipe.name not in (BASELINE, *names)]
    return f"---\n{head}fithub:\n  recipes:\n    exclude: {json.dumps(others)}\n---\n# M\n".encode()


def store(repository: Repository, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    grant_blob(repository, take_in(io.BytesIO(data), sha256, len(data)))
    return sha256


def client_of(user: User, role: str = "write") -> Client:
    token = create_token(user, f"test {role}", role)
    return Client(headers={"Authorization": f"Bearer {token}"})


def api_commit(
    client: Client, repository: Repository, *operations: dict[str, Any], branch: str = "main", **header: Any
) -> Any:
    """POST a commit as clients do."""
    lines = [{"key": "header", "value": {"summary": "a commit", **header}}, *operations]
    body = "\n".join(json.dumps(line) for line in lines)
    url = f"/api/{repository.kind.plural}/{repository.full_name}/commit/{branch}"
    return client.post(url, body, content_type="application/x-ndjson")


def make_family(
    repository: Repository, figures: dict[str, tuple[int, float, int, float]], device: str = "test-2c"
) -> SourceModel:
    """A measured family: name -> (size in bytes, p90 in ms, peak memory in bytes, fidelity). Commits are main's head."""
    head = branch_head(repository) or ""
    SourceModel.objects.filter(repository=repository).delete()
    source = SourceModel.objects.create(
        repository=repository,
        commit=head,
        digest=hashlib.sha256(head.encode()).hexdigest(),
        status="ready",
        format="onnx",
    )
    place = record_device(device, {"name": device, "cores": 2})
    for position, (name, (size, p90, memory, fidelity)) in enumerate(figures.items()):
        oid = push(repository, repository.creator, {f"{name}.txt": name.encode()}, branch="main")
        variant = Variant.objects.create(
            source=source, name=name, recipe=name, recipe_version="1", position=position, status="ready", commit=oid,
            size_bytes=size, fidelity=fidelity, fidelity_metric="cosine", components=[{"name": "model", "path": "x"}],
            files=[{"path": f"{name}.txt", "size_bytes": size, "sha256": "0" * 64}],
        )  # fmt: skip
        Footprint.objects.create(
            variant=variant, device=place, threads=1, runtime="onnxruntime 1.31.1", size_bytes=size, wire_bytes=size,
            peak_memory_bytes=memory, p50_ms=p90 * 0.9, p90_ms=p90, throughput_per_s=1000 / p90,
            measured_at=timezone.now(), record={"latency_ms": {"p50": p90 * 0.9, "p90": p90, "count": 1000}, "seconds": 10},
        )  # fmt: skip
    Catalogue.objects.update_or_create(repository=repository, defaults={"version": len(figures) + source.pk})
    refresh_offers(repository)
    return source
