"""Writing a whole history anew without certain files. Used inside an act's transaction, under the repository's lock."""

import re

from django.utils import timezone
from dulwich.objects import ShaFile

from models_registry.accounts.actors import Actor
from models_registry.errors import HeadMoved
from models_registry.repos import git_objects as git
from models_registry.repos.events import revision_published
from models_registry.repos.history import graph_of
from models_registry.repos.models import GitObject, Ref, Repository

# A signature is over the bytes which change: it would be wrong, so it goes.
_SIGNATURE = re.compile(rb"\n(?:gpgsig|gpgsig-sha256|mergetag) [^\n]*(?:\n [^\n]*)*")
_SIGNED_TAG = re.compile(rb"-----BEGIN [A-Z ]*SIGNATURE-----.*", re.DOTALL)
_WRITTEN_AT_ONCE = 500


class Rewriting:
    """New trees, commits and tags for those which hold one of the `dropped` files; all others stay what they are."""

    def __init__(self, repository: Repository, dropped: set[str]) -> None:
        self.repository, self.dropped, self.graph = repository, dropped, graph_of(repository)
        self.trees: dict[str, str | None] = {}
        self.commits: dict[str, str] = {}
        self.new: list[ShaFile] = []

    def run(self, actor: Actor) -> None:
        """Move every ref to its new commit, and say so."""
        rows = list(Ref.objects.filter(repository=self.repository).order_by("name"))
        for row in rows:
            self._history(row.oid)
        moved = [row for row in rows if self.commits[row.oid] != row.oid]
        tags = {row.pk: self._tag(row) for row in moved if row.tag_oid}
        self._write()
        now = timezone.now()
        for row in moved:
            oid = self.commits[row.oid]
            same = Ref.objects.filter(pk=row.pk, oid=row.oid)
            if same.update(oid=oid, tag_oid=tags.get(row.pk, ""), updated_at=now) != 1:
                raise HeadMoved("A ref was moved meanwhile: nothing was deleted, try again.")
        if moved:
            Repository.objects.filter(pk=self.repository.pk).update(last_modified=now)
            self.repository.last_modified = now
        for row in moved:
            oid = self.commits[row.oid]
            revision_published.send(Repository, repository=self.repository, ref=row.name, oid=oid, old_oid=row.oid)

    def _history(self, head: str) -> None:
        """Parents first, without recursion: histories are long."""
        stack = [head]
        while stack:
            oid = stack[-1]
            if oid in self.commits:
                stack.pop()
                continue
            waiting = [parent for parent in self.graph[oid].parents if parent not in self.commits]
            if waiting:
                stack.extend(waiting)
            else:
                self.commits[oid] = self._commit(oid)
                stack.pop()

    def _commit(self, oid: str) -> str:
        node = self.graph[oid]
        tree = self._root(node.tree)
        parents = [self.commits[parent] for parent in node.parents]
        if tree == node.tree and tuple(parents) == node.parents:
            return oid
        data = self._data(oid)
        head, _, message = data.partition(b"\n\n")
        head = _SIGNATURE.sub(b"", head)
        lines = [line for line in head.split(b"\n") if not line.startswith((b"tree ", b"parent "))]
        first = [b"tree " + tree.encode(), *(b"parent " + parent.encode() for parent in parents)]
        return self._add(git.COMMIT, b"\n".join([*first, *lines]) + b"\n\n" + message)

    def _root(self, oid: str) -> str:
        made = self._tree(oid)
        return made if made is not None else self._add(git.TREE, b"")

    def _tree(self, oid: str) -> str | None:
        """The tree without what is dropped; None when nothing is left of it."""
        if oid not in self.trees:
            items = git.read_tree(self.repository, oid)
            kept = []
            for item in items.values():
                entry = self._tree(item.oid) if item.is_folder else None if item.oid in self.dropped else item.oid
                if entry is not None:
                    kept.append(git.TreeItem(item.name, item.mode, entry))
            if kept == list(items.values()):
                self.trees[oid] = oid
            elif not kept:
                self.trees[oid] = None
            else:
                self.trees[oid] = self._add(git.TREE, git.make_tree(kept).as_raw_string())
        return self.trees[oid]

    def _tag(self, row: Ref) -> str:
        """A tag for the new commit. Tags of tags become one."""
        head, _, message = self._data(row.tag_oid).partition(b"\n\n")
        lines = [line for line in head.split(b"\n") if not line.startswith((b"object ", b"type "))]
        first = [b"object " + self.commits[row.oid].encode(), b"type commit"]
        return self._add(git.TAG, b"\n".join([*first, *lines]) + b"\n\n" + _SIGNED_TAG.sub(b"", message))

    def _data(self, oid: str) -> bytes:
        rows = GitObject.objects.filter(repository=self.repository, oid=oid)
        return bytes(rows.values_list("data", flat=True).get())

    def _add(self, kind: int, data: bytes) -> str:
        made = ShaFile.from_raw_string(kind, data)
        self.new.append(made)
        if len(self.new) >= _WRITTEN_AT_ONCE:
            self._write()
        return made.id.decode()

    def _write(self) -> None:
        git.put(self.repository, self.new)
        self.new = []
