"""What other rooms may listen to. Sent inside the act's transaction: a receiver's rows share its fate."""

from django.dispatch import Signal

# repository; size_bytes: of a xorb which a client sent for it, as it travelled.
xorb_received = Signal()

# repository; size_bytes: of a file which a client registered there, and which the repository did not hold before.
file_registered = Signal()
