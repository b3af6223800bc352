"""What other rooms may listen to. Signals are sent inside the act's transaction: a receiver's rows share its fate.

All carry `discussion` (its `repository` is read), `actor` (accounts.actors.Actor) and `event` (the row).
"""

from django.dispatch import Signal

# event: its first comment.
discussion_opened = Signal()

# event: the new comment.
discussion_commented = Signal()

# event: the comment as it is now; edited, or hidden.
comment_changed = Signal()

# old_title: str.
discussion_renamed = Signal()

# old_status: str; the new one is in `discussion.status` (`merged` when a pull request was merged).
discussion_status_changed = Signal()
