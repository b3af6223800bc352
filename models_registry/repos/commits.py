"""The act of committing: operations in, one new commit out, in one transaction with everything else it changes."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.utils import timezone
from dulwich.objects import Blob, Commit, ObjectID, ShaFile

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_write
from models_registry.errors import BadRequest, EntryNotFound, Forbidden, HeadMoved, RevisionNotFound
from models_registry.repos import git_objects as git
from models_registry.repos.attributes import LfsRules, rule_for
from models_registry.repos.events import revision_published
from models_registry.repos.models import Ref, Repository, RepositoryBlob
from models_registry.repos.paths import check_path
from models_registry.repos.revisions import HEADS, find_entry, resolve_revision

logger = logging.getLogger(__name__)
ATTRIBUTES = ".gitattributes"
MOVED = "The branch was updated since you opened this page. Please refresh and try again."
MAX_INLINE_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True)
class AddFile:
    """A small file, kept in git itself."""

    path: str
    content: bytes


@dataclass(frozen=True)
class AddContent:
    """A file whose content is a stored blob. `size_bytes` may be None: the stored size is taken."""

    path: str
    sha256: str
    size_bytes: int | None = None


@dataclass(frozen=True)
class Copy:
    """A file of this repository at `source_revision` (default: the parent), named again."""

    path: str
    source_path: str
    source_revision: str | None = None


@dataclass(frozen=True)
class Delete:
    """A file or a folder with all it holds."""

    path: str
    is_folder: bool = False


Operation = AddFile | AddContent | Copy | Delete


@dataclass
class _Plan:
    """Nested changes: name -> item to set, None to remove, or a plan for the folder."""

    changes: dict[str, "git.TreeItem | None | _Plan"] = field(default_factory=dict)


def commit(
    actor: Actor,
    repository: Repository,
    branch: str,
    operations: Sequence[Operation],
    title: str,
    description: str = "",
    parent: str | None = None,
) -> str:
    """Commit to a branch as its actor. Returns the new commit's oid.

    Raises Forbidden, RevisionNotFound, HeadMoved (412), EntryNotFound, BadRequest, Unprocessable.
    """
    if not can_write(actor, repository):
        raise Forbidden(
            f"You may not write to {repository.full_name}: use a token with the role write of someone who may."
        )
    if branch.startswith("refs/") and not branch.startswith(HEADS):
        raise RevisionNotFound(f"Invalid rev id: {branch[:200]} is not a branch which takes commits.")
    ref = branch if branch.startswith(HEADS) else HEADS + branch
    return write_commit(repository, ref, operations, title, description, author=actor.name, parent=parent, actor=actor)


def write_commit(
    repository: Repository,
    ref: str,
    operations: Sequence[Operation],
    title: str,
    description: str = "",
    *,
    author: str,
    parent: str | None = None,
    actor: Actor | None = None,
    create: bool = False,
    from_nothing: bool = False,
) -> str:
    """The commit itself, for acts which asked the policy. `create` makes the ref; `from_nothing`: an empty tree."""
    title = title.strip() or "Update files"
    message = title if not description.strip() else f"{title}\n\n{description.strip()}"
    new: list[ShaFile] = []
    with transaction.atomic():
        # The repository's row is the lock of all its refs.
        Repository.objects.select_for_update().get(pk=repository.pk)
        row = Ref.objects.filter(repository=repository, name=ref).first()
        if row is None and not create:
            raise RevisionNotFound(f"Invalid rev id: {ref.removeprefix(HEADS)}")
        head = row.oid if row else None
        _check_parent(head, parent)
        base = head if not from_nothing else None
        base_tree = git.read_commit(repository, base).tree if base else None
        plan = _plan(actor, repository, base, base_tree, operations, new)
        tree = _build(repository, base_tree, plan, new)
        if tree is None:
            empty = git.make_tree([])
            new.append(empty)
            tree = empty.id.decode()
        made = make_commit(tree, [head] if head else [], author, message)
        oid = advance(repository, ref, row, made, new)
    logger.info("commit %s to %s of %s by %s", oid, ref, repository.path, author)
    return oid


def _check_parent(head: str | None, parent: str | None) -> None:
    if parent is None:
        return
    if not head or len(parent) < 5 or not head.startswith(parent.lower()):
        raise HeadMoved(MOVED)


def _plan(
    actor: Actor | None,
    repository: Repository,
    base: str | None,
    base_tree: str | None,
    operations: Iterable[Operation],
    new: list[ShaFile],
) -> _Plan:
    """Turn operations into nested changes; blobs which they bring are added to `new`."""
    root = _Plan()
    pointers: list[str] = []
    operations = [_as_content(op) for op in operations]
    wanted = {op.sha256 for op in operations if isinstance(op, AddContent)}
    known = dict(
        RepositoryBlob.objects.filter(repository=repository, blob_id__in=wanted).values_list(
            "blob_id", "blob__size_bytes"
        )
    )
    for op in operations:
        path = check_path(op.path.rstrip("/") if isinstance(op, Delete) else op.path)
        if isinstance(op, AddFile):
            if len(op.content) > MAX_INLINE_BYTES:
                raise BadRequest(
                    f"{path} has {len(op.content):,} bytes: a file of more than 10 MiB is pushed by Xet or LFS."
                )
            blob = Blob.from_string(op.content)
            new.append(blob)
            _set(root, path, git.TreeItem("", git.FILE_MODE, blob.id.decode()))
        elif isinstance(op, AddContent):
            size = known.get(op.sha256)
            if size is None:
                raise BadRequest(
                    f"The content of {path} (sha256 {op.sha256[:64]}) was never uploaded here: upload it first."
                )
            if op.size_bytes is not None and op.size_bytes != size:
                raise BadRequest(f"{path} is said to have {op.size_bytes:,} bytes, but its content has {size:,}.")
            blob = Blob.from_string(git.pointer_text(op.sha256, size))
            new.append(blob)
            pointers.append(path)
            _set(root, path, git.TreeItem("", git.FILE_MODE, blob.id.decode()))
        elif isinstance(op, Copy):
            commit_oid = op.source_revision or base
            if op.source_revision is not None and actor is not None:
                commit_oid = resolve_revision(actor, repository, op.source_revision)
            if commit_oid is None:
                raise EntryNotFound(f"{op.source_path} does not exist: the branch is empty.")
            item = find_entry(repository, commit_oid, check_path(op.source_path))
            _set(root, path, git.TreeItem("", item.mode, item.oid))
        else:
            if not _exists(repository, base_tree, path):
                raise EntryNotFound(f"A file with this name doesn't exist: {path}")
            _set(root, path, None)
    if pointers:
        _extend_attributes(repository, base_tree, root, pointers, new)
    return root


def _as_content(op: Operation) -> Operation:
    """A small file whose bytes are a pointer stands for what it names, so it is asked the same: was that sent here?

    Without this, knowing a hash would be enough to read a stranger's file.
    """
    pointed = git.parse_pointer(op.content) if isinstance(op, AddFile) else None
    return AddContent(op.path, *pointed) if pointed else op


def _set(plan: _Plan, path: str, item: git.TreeItem | None) -> None:
    *folders, leaf = path.split("/")
    for folder in folders:
        step = plan.changes.get(folder)
        if not isinstance(step, _Plan):
            step = plan.changes[folder] = _Plan()
        plan = step
    plan.changes[leaf] = item


def _exists(repository: Repository, tree: str | None, path: str) -> bool:
    item = git.TreeItem("", git.FOLDER_MODE, tree) if tree else None
    for part in path.split("/"):
        if item is None or not item.is_folder:
            return False
        item = git.read_tree(repository, item.oid).get(part)
    return item is not None


def _build(repository: Repository, tree: str | None, plan: _Plan, new: list[ShaFile]) -> str | None:
    """Write the trees which change, and only those. None when a folder is left empty."""
    items = dict(git.read_tree(repository, tree)) if tree else {}
    for name, change in plan.changes.items():
        if isinstance(change, _Plan):
            there = items.get(name)
            made = _build(repository, there.oid if there and there.is_folder else None, change, new)
            if made is None:
                items.pop(name, None)
            else:
                items[name] = git.TreeItem(name, git.FOLDER_MODE, made)
        elif change is None:
            items.pop(name, None)
        else:
            items[name] = git.TreeItem(name, change.mode, change.oid)
    if not items:
        return None
    made_tree = git.make_tree(items.values())
    new.append(made_tree)
    return made_tree.id.decode()


def _extend_attributes(
    repository: Repository, tree: str | None, root: _Plan, pointers: list[str], new: list[ShaFile]
) -> None:
    """A file which is a pointer must be one for git clients too: name it in `.gitattributes` if no rule does."""
    change = root.changes.get(ATTRIBUTES)
    if isinstance(change, git.TreeItem):
        text = next(item.as_raw_string() for item in new if item.id.decode() == change.oid)
    else:
        there = git.read_tree(repository, tree).get(ATTRIBUTES) if tree and ATTRIBUTES not in root.changes else None
        text = _small_file(repository, there.oid) if there else b""
    rules = LfsRules(text)
    lines = b"".join(rule_for(path) for path in pointers if not rules.takes(path))
    if lines:
        blob = Blob.from_string(text + (b"" if not text or text.endswith(b"\n") else b"\n") + lines)
        new.append(blob)
        root.changes[ATTRIBUTES] = git.TreeItem(ATTRIBUTES, git.FILE_MODE, blob.id.decode())


def _small_file(repository: Repository, oid: str) -> bytes:
    return bytes(git.GitObject.objects.values_list("data", flat=True).get(repository=repository, oid=oid))


def make_commit(tree: str, parents: list[str], author: str, message: str) -> Commit:
    """A commit object of now. `author` is a user's name."""
    made = Commit()
    made.tree = ObjectID(tree.encode())
    made.parents = [ObjectID(parent.encode()) for parent in parents]
    signature = f"{author} <{author}@users.noreply.fithub>".encode()
    made.author = made.committer = signature
    made.author_time = made.commit_time = int(timezone.now().timestamp())
    made.author_timezone = made.commit_timezone = 0
    made.encoding = b"UTF-8"
    made.message = message.encode("utf-8", "replace")
    return made


def advance(repository: Repository, ref: str, row: Ref | None, made: Commit, objects: list[ShaFile]) -> str:
    """Store a commit with the objects which it brings, move the ref to it and tell everybody; returns its oid.

    The caller holds the lock of the repository's row, and gives the ref's row as it saw it (None: the ref is made).
    """
    old_oid, oid = row.oid if row else None, made.id.decode()
    git.put(repository, [*objects, made])
    _move(repository, ref, row, oid)
    now = timezone.now()
    Repository.objects.filter(pk=repository.pk).update(last_modified=now)
    repository.last_modified = now
    revision_published.send(Repository, repository=repository, ref=ref, oid=oid, old_oid=old_oid)
    return oid


def _move(repository: Repository, ref: str, row: Ref | None, oid: str) -> None:
    """One conditional update: a ref moves only from where it was seen."""
    if row is None:
        try:
            with transaction.atomic():
                Ref.objects.create(repository=repository, name=ref, oid=oid)
        except IntegrityError as error:
            raise HeadMoved(MOVED) from error
    elif Ref.objects.filter(pk=row.pk, oid=row.oid).update(oid=oid, updated_at=timezone.now()) != 1:
        raise HeadMoved(MOVED)
