"""The act of taking a git push: objects and moves of refs, by the same policy as a commit over the API.

What is wrong is found before anything is written. Then one transaction, under the lock of the repository's row, stores
the objects and moves the refs: a process which dies leaves the repository as it was.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from django.db import transaction
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.cards.services import CARD, refuse_bad_card
from models_registry.errors import BadRequest, Forbidden, HubError, TooLarge, Unprocessable
from models_registry.repos import git_objects as git
from models_registry.repos.closure import kinds_of
from models_registry.repos.commits import MAX_INLINE_BYTES
from models_registry.repos.events import revision_published
from models_registry.repos.models import GitObject, Ref, Repository, RepositoryBlob
from models_registry.repos.paths import check_path, check_ref_part
from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS, TAGS
from models_registry.repos.services import require_free_ref, require_write
from models_registry.repos.wellformed import check_commit, check_tag, check_tree

logger = logging.getLogger(__name__)
_NAMES = {git.COMMIT: "commit", git.TREE: "folder", git.BLOB: "file", git.TAG: "tag"}
_BATCH_BYTES = 16 * 1024 * 1024
_TAG_DEPTH = 8
_ATOMIC = "Nothing was changed, because another ref of this atomic push was refused."


@dataclass(frozen=True)
class Update:
    """A ref's move from `old` to `new`: oids, or None for a ref which is made or deleted."""

    ref: str
    old: str | None
    new: str | None


class Incoming(Protocol):
    """The objects which came with the push. `oversized` are files over the limit: size by oid."""

    @property
    def oversized(self) -> dict[str, int]: ...
    def kind(self, oid: str) -> int | None: ...
    def size(self, oid: str) -> int: ...
    def read(self, oid: str) -> bytes: ...


class RefKeeper(Protocol):
    """Lets people push to refs of one kind by a policy of its own, e.g. to their pull requests."""

    def opens_the_door(self, actor: Actor, repository: Repository) -> bool:
        """Whether there is any ref of this kind to which this actor may push."""

    def check(self, actor: Actor, repository: Repository, update: "Update") -> None:
        """Raises HubError. Asked before anything is written, and once more under the lock."""

    def contents(self, actor: Actor, repository: Repository, names: Iterable[str]) -> dict[str, int]:
        """Bytes by SHA-256 of what this actor has sent for such a ref and the repository does not hold yet."""

    def take_up(self, actor: Actor, repository: Repository, names: Iterable[str]) -> None:
        """Let the repository hold these contents: a commit which was pushed names them."""


# By the refs' prefix; filled by other rooms at start-up. Branches and tags ask for the right to write.
keepers: dict[str, RefKeeper] = {}


@dataclass
class _Checked:
    """What one update brings: new objects, objects here on which they lean, and the commit which the ref will name."""

    commit: str
    tag: str = ""
    new: dict[str, int] = field(default_factory=dict)
    leans_on: dict[str, int] = field(default_factory=dict)
    pointers: dict[str, tuple[int, str]] = field(default_factory=dict)


def push(
    actor: Actor, repository: Repository, updates: Sequence[Update], incoming: Incoming, *, atomic: bool = False
) -> dict[str, str]:
    """Store objects and move refs. Returns for each ref "" or the sentence which refuses it; the others are moved.

    Raises Unauthorized, Forbidden: the actor may not push here at all.
    """
    require_push(actor, repository)
    refusals: dict[str, str] = {}
    checked: dict[str, _Checked] = {}
    passed: dict[str, int] = {}
    for update in updates:
        try:
            if update.ref in refusals or update.ref in checked:
                raise BadRequest(f"{update.ref} is named twice in one push.")
            _check_ref(actor, repository, update)
            if update.new is not None:
                check = _Check(actor, repository, incoming, passed)
                checked[update.ref] = found = check.run(update.ref, update.new)
                passed |= found.new
        except HubError as error:
            refusals[update.ref] = error.message
            checked.pop(update.ref, None)
    accepted = [update for update in updates if update.ref not in refusals]
    if atomic and refusals:
        return refusals | {update.ref: _ATOMIC for update in accepted}
    with transaction.atomic():
        Repository.objects.select_for_update().get(pk=repository.pk)
        _require_here(repository, checked)
        _store(repository, incoming, {oid: kind for one in checked.values() for oid, kind in one.new.items()})
        moved = []
        for update in accepted:
            try:
                keeper = _keeper(update.ref)
                if keeper is not None:
                    keeper.check(actor, repository, update)
                old = _move(repository, update, checked.get(update.ref))
                if keeper is not None:
                    keeper.take_up(actor, repository, checked[update.ref].pointers)
                moved.append((update, old))
            except HubError as error:
                refusals[update.ref] = error.message
        if atomic and refusals:
            transaction.set_rollback(True)
            return {update.ref: refusals.get(update.ref, _ATOMIC) for update in updates}
        if moved:
            now = timezone.now()
            Repository.objects.filter(pk=repository.pk).update(last_modified=now)
            repository.last_modified = now
        for update, old in moved:
            _announce(repository, update, checked.get(update.ref), old)
    for update, old in moved:
        logger.info("push moved %s of %s from %s to %s by %s", update.ref, repository.path, old, update.new, actor.name)
    return {update.ref: refusals.get(update.ref, "") for update in updates}


# --- refs --------------------------------------------------------------------------------------------------------
def require_push(actor: Actor, repository: Repository) -> None:
    """Raises Unauthorized, Forbidden unless there is something here to which this actor may push."""
    if not any(keeper.opens_the_door(actor, repository) for keeper in keepers.values()):
        require_write(actor, repository)


def _keeper(ref: str) -> RefKeeper | None:
    return next((keeper for prefix, keeper in keepers.items() if ref.startswith(prefix)), None)


def _check_ref(actor: Actor, repository: Repository, update: Update) -> None:
    if (keeper := _keeper(update.ref)) is not None:
        keeper.check(actor, repository, update)
        return
    require_write(actor, repository)
    for prefix, what in ((HEADS, "branch"), (TAGS, "tag")):
        if update.ref.startswith(prefix):
            if update.new is not None:
                check_ref_part(update.ref.removeprefix(prefix), what)
            if update.ref == HEADS + DEFAULT_BRANCH and update.new is None:
                raise Forbidden(f"Cannot delete {HEADS}{DEFAULT_BRANCH}: it is the default branch.")
            return
    raise Forbidden(f"{update.ref[:100]} is written by the hub itself: push branches and tags.")


def _move(repository: Repository, update: Update, checked: _Checked | None) -> str | None:
    """Returns the commit which the ref named before. Raises HubError when the ref is not where the client saw it."""
    row = Ref.objects.filter(repository=repository, name=update.ref).first()
    here = (row.tag_oid or row.oid) if row else None
    if here != update.old:
        raise BadRequest("The ref was moved by someone else since you fetched: fetch first, then push again.")
    if checked is None:
        Ref.objects.filter(repository=repository, name=update.ref, oid=row.oid if row else "").delete()
    elif row is None:
        require_free_ref(repository, update.ref)
        Ref.objects.create(repository=repository, name=update.ref, oid=checked.commit, tag_oid=checked.tag)
    else:
        rows = Ref.objects.filter(pk=row.pk, oid=row.oid, tag_oid=row.tag_oid)
        if rows.update(oid=checked.commit, tag_oid=checked.tag, updated_at=timezone.now()) != 1:
            raise BadRequest("The ref was moved by someone else since you fetched: fetch first, then push again.")
    return row.oid if row else None


def _announce(repository: Repository, update: Update, checked: _Checked | None, old: str | None) -> None:
    if checked is None:
        return
    revision_published.send(Repository, repository=repository, ref=update.ref, oid=checked.commit, old_oid=old)


# --- objects -----------------------------------------------------------------------------------------------------
class _Check:
    """Walks from a ref's new tip over what came with the push, down to what is here already."""

    def __init__(self, actor: Actor, repository: Repository, incoming: Incoming, passed: dict[str, int]) -> None:
        self.actor, self.repository, self.incoming, self.passed = actor, repository, incoming, passed

    def run(self, ref: str, tip: str) -> _Checked:
        """Raises HubError with the first thing that is wrong."""
        self.found = found = _Checked(tip)
        if ref.startswith(TAGS):
            found.commit = self._peel(tip)
            found.tag = tip if found.commit != tip else ""
        self._commits(found.commit)
        missing = next(self._not_here(found.leans_on), None)
        if missing:
            raise self._missing(missing, f"a {_NAMES[found.leans_on[missing]]} of the push")
        self._check_pointers(_keeper(ref))
        if ref.startswith(HEADS):
            self._check_card(found.commit)
        return found

    def _peel(self, oid: str) -> str:
        """Follow annotated tags to the commit."""
        kinds = kinds_of(self.repository, [oid])
        for _ in range(_TAG_DEPTH):
            kind = self.incoming.kind(oid)
            if kind is None:
                kind = kinds_of(self.repository, [oid]).get(oid, (None, 0))[0]
            if kind == git.COMMIT:
                return oid
            if kind != git.TAG:
                break
            if self.incoming.kind(oid) is not None:
                data = self.incoming.read(oid)
                self.found.new[oid] = git.TAG
            else:
                data = bytes(GitObject.objects.get(repository=self.repository, oid=oid).data)
            oid, _ = check_tag(oid, data)
        if oid not in kinds and self.incoming.kind(oid) is None:
            raise self._missing(oid, "what the tag names")
        raise Unprocessable("A tag of this hub names a commit, by no more than 8 tags in between.")

    def _commits(self, tip: str) -> None:
        stack = [tip]
        trees: list[tuple[str, str]] = []
        while stack:
            oid = stack.pop()
            if not self._is_new(oid, git.COMMIT):
                continue
            tree, parents = check_commit(oid, self.incoming.read(oid))
            trees.append((tree, ""))
            stack.extend(parents)
            while trees:
                self._tree(*trees.pop(), trees)

    def _tree(self, oid: str, path: str, trees: list[tuple[str, str]]) -> None:
        if not self._is_new(oid, git.TREE):
            return
        for raw_name, mode, entry in check_tree(oid, self.incoming.read(oid)):
            name = raw_name.decode("utf-8", "surrogateescape")
            if "/" in name:
                raise Unprocessable(f"The folder {oid} has an entry with '/' in its name: check it with `git fsck`.")
            full = check_path(f"{path}/{name}" if path else name)
            if mode == git.FOLDER_MODE:
                trees.append((entry, full))
            elif mode != git.SUBMODULE_MODE:
                self._file(entry, full)

    def _file(self, oid: str, path: str) -> None:
        if size := self.incoming.oversized.get(oid):
            raise TooLarge(
                f"{path} has {size:,} bytes: a file of more than 10 MiB is pushed with git-lfs. Run "
                f"`git lfs migrate import --include='{path}' --everything` and push again."
            )
        if self._is_new(oid, git.BLOB) and self.incoming.size(oid) < 200:
            pointed = git.parse_pointer(self.incoming.read(oid))
            if pointed:
                self.found.pointers.setdefault(pointed[0], (pointed[1], path))

    def _is_new(self, oid: str, kind: int) -> bool:
        """Whether this object came with the push and was not looked at yet. Notes it, or what it must lean on."""
        if oid in self.found.new or oid in self.passed or oid in self.found.leans_on:
            known = self.found.new.get(oid) or self.passed.get(oid) or self.found.leans_on.get(oid)
            if known != kind:
                raise Unprocessable(f"{oid} is used as a {_NAMES[kind]}, which it is not: check it with `git fsck`.")
            return False
        came = self.incoming.kind(oid)
        if came is None:
            self.found.leans_on[oid] = kind
            return False
        if came != kind:
            raise Unprocessable(f"{oid} is used as a {_NAMES[kind]}, but is a {_NAMES[came]}: check with `git fsck`.")
        self.found.new[oid] = kind
        return True

    def _not_here(self, wanted: dict[str, int]) -> Iterator[str]:
        kinds = kinds_of(self.repository, wanted)
        return (oid for oid, kind in wanted.items() if kinds.get(oid, (0, 0))[0] != kind)

    def _missing(self, oid: str, what: str) -> HubError:
        if self.incoming.oversized:
            size = max(self.incoming.oversized.values())
            return TooLarge(
                f"The push holds a file of {size:,} bytes: more than {MAX_INLINE_BYTES:,} are pushed with git-lfs."
            )
        return Unprocessable(
            f"The object {oid} ({what}) is neither in the push nor here: fetch first, then push again."
        )

    def _check_pointers(self, keeper: RefKeeper | None) -> None:
        """Whoever pushes a pointer must have shown its content here: else a hash were enough to read a stranger's."""
        wanted = list(self.found.pointers)
        sizes: dict[str, int] = {}
        for start in range(0, len(wanted), git.BATCH):
            rows = RepositoryBlob.objects.filter(
                repository=self.repository, blob_id__in=wanted[start : start + git.BATCH]
            )
            sizes |= dict(rows.values_list("blob_id", "blob__size_bytes"))
        if keeper is not None and wanted:
            sizes |= keeper.contents(self.actor, self.repository, wanted)
        for sha256, (size, path) in self.found.pointers.items():
            if sha256 not in sizes:
                raise Unprocessable(
                    f"{path} is a git-lfs pointer, but its content (sha256 {sha256}) was never uploaded here: "
                    "install git-lfs, or run `git lfs push --all` with this remote, and push again."
                )
            if sizes[sha256] != size:
                raise Unprocessable(f"{path} points to {size:,} bytes, but its content has {sizes[sha256]:,}.")

    def _check_card(self, commit: str) -> None:
        if commit not in self.found.new:
            return
        tree, _ = check_commit(commit, self.incoming.read(commit))
        if self.incoming.kind(tree) is None:
            return
        entries = {name: entry for name, _, entry in check_tree(tree, self.incoming.read(tree))}
        card = entries.get(CARD.encode())
        if card is None or self.incoming.kind(card) != git.BLOB:
            return
        refuse_bad_card(CARD, self.incoming.read(card), self.repository.kind)


def _require_here(repository: Repository, checked: dict[str, _Checked]) -> None:
    """Under the lock, once more: garbage may have been collected since the check."""
    wanted = {oid for one in checked.values() for oid in one.leans_on}
    if len(kinds_of(repository, wanted)) != len(wanted):
        raise Unprocessable("Objects on which this push leans were cleared away meanwhile: push again.")


def _store(repository: Repository, incoming: Incoming, objects: dict[str, int]) -> None:
    for part in _batches(incoming, objects):
        rows = [git.raw_row(repository, oid, objects[oid], incoming.read(oid)) for oid in part]
        GitObject.objects.bulk_create(rows, ignore_conflicts=True, batch_size=git.BATCH)


def _batches(incoming: Incoming, oids: Iterable[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for oid in oids:
        if part and (len(part) >= git.BATCH or size + incoming.size(oid) > _BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(oid)
        size += incoming.size(oid)
    if part:
        yield part
