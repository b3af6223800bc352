"""Which files Xet clients are told to fetch in chunks."""

from collections.abc import Iterable

from models_registry.repos.entries import Entry
from models_registry.repos.models import Repository
from models_registry.repos.revisions import items_at
from models_registry.storage.services import xet_hashes_of

GRAPH = ".onnx"


def offered_hashes(repository: Repository, commit_oid: str, entries: Iterable[Entry]) -> dict[str, str]:
    """path → Xet's name of the file, for those entries of a commit which are offered by Xet."""
    contents = [entry for entry in entries if entry.sha256]
    hashes = xet_hashes_of(entry.sha256 for entry in contents)
    contents = [entry for entry in contents if entry.sha256 in hashes]
    plain = {
        folder for folder in {_folder(entry.path) for entry in contents} if _has_graph(repository, commit_oid, folder)
    }
    return {entry.path: hashes[entry.sha256] for entry in contents if _folder(entry.path) not in plain}


def is_offered(repository: Repository, commit_oid: str, path: str) -> bool:
    """Whether a file which came by Xet is offered by Xet: not what lies beside an ONNX graph.

    The newest client keeps what came by Xet in a folder of its own for each file, and onnxruntime opens no external
    data outside the graph's folder. Plain downloads stay side by side.
    """
    return not _has_graph(repository, commit_oid, _folder(path))


def _has_graph(repository: Repository, commit_oid: str, folder: str) -> bool:
    return any(name.endswith(GRAPH) for name in items_at(repository, commit_oid, folder))


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
