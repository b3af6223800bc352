"""What other rooms may listen to. Signals are sent inside the act's transaction: a receiver's rows share its fate."""

from django.dispatch import Signal

# repository: Repository; ref: full ref name; oid: the new commit; old_oid: the commit before, or None;
# entries: a function which gives all entries of the new commit, read once for all receivers.
revision_published = Signal()

# repository: Repository, just before it is deleted.
repository_deleted = Signal()
