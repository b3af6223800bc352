"""One heavy job at a time on a machine: figures taken beside another job's noise are worth nothing.

The kernel lets go of the lock when its holder dies, however it dies.
"""

import fcntl
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compression_service.jobs.sandbox import SandboxStopped


@contextmanager
def machine_slot(stop: threading.Event, pause_s: float = 0.2) -> Iterator[None]:
    """Waits for this machine's slot (shared by all hubs of this user). Raises SandboxStopped when told to stop."""
    path = Path(tempfile.gettempdir()) / f"fithub-{os.getuid()}.slot"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stop.wait(pause_s):
                    raise SandboxStopped from None
        yield
    finally:
        os.close(descriptor)
