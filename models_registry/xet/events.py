"""What other rooms may listen to. Sent inside the act's transaction: a receiver's rows share its fate."""

from django.dispatch import Signal

# repository; size_bytes: of a xorb which a client sent for it, as it travelled.
xorb_received = Signal()

# repository; size_bytes: of the files together which a client registered there, and which it did not hold before.
files_registered = Signal()
