"""What other rooms may listen to. Signals are sent inside the act's transaction: a receiver's rows share its fate."""

from django.dispatch import Signal

# repository: Repository; ref: full ref name; oid: the new commit; old_oid: the commit before, or None.
# A receiver which asks what changed reads `changes_between`: a whole tree may hold 100,000 files.
revision_published = Signal()

# repository: Repository, with its first commit; actor: who made it.
repository_created = Signal()

# repository: the copy, whose objects, refs and contents are there; source: Repository; actor.
# repository_created and revision_published of each ref follow.
repository_duplicated = Signal()

# repository: Repository under its new name; old_full_name: the name before; old_namespace: Namespace; actor.
repository_moved = Signal()

# repository: Repository as it is now; changes: {field: value before} of what changed (private, gated, description,
# discussions_disabled); actor.
repository_settings_changed = Signal()

# repository: Repository, just before it is deleted; actor: who deletes it.
repository_deleted = Signal()

# repository: Repository; commit: its full id; path: of the file which is being sent. Outside of any transaction: what a
# receiver fails to write down stops no download when it is an OperationalError (repos/downloads.py).
file_downloaded = Signal()

# repository: Repository whose refs left commits behind (squashed, rewritten): copies of the past may be thrown away.
history_rewritten = Signal()
