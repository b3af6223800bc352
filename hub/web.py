"""`python -m hub.web`: granian with the site loaded before it forks. `manage.py run` starts it.

By granian's own command line each of its processes loads the site by itself: a second of processor time each, in which
a killed one is missing, and memory of its own for the same code.
"""

import gc

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from hub.wsgi import application

WORKERS, THREADS = 2, 64


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    gc.freeze()  # else each process's first collection of garbage would copy what it shares
    Granian(
        "hub.wsgi:application", settings.FITHUB_HOST, settings.FITHUB_PORT, interface=Interfaces.WSGI,
        workers=WORKERS, blocking_threads=THREADS, backpressure=2 * THREADS, websockets=False,
        log_level=LogLevels.error, respawn_failed_workers=True, workers_kill_timeout=3,
    ).serve(target_loader=_loaded, wrap_loader=False)  # fmt: skip


def _loaded() -> WSGIHandler:
    return application


if __name__ == "__main__":
    main()
