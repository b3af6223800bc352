"""Real kills at a chosen moment: an act runs in a fork which ends itself with SIGKILL, as kill -9 or a lost machine does."""

import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

from django.db import connections


def killed_at(act: Callable[[], Any], owner: Any, name: str, call: int = 1, *, after: bool = False) -> bool:
    """Run `act` in a process which is killed at the `call`-th call of `owner.name`, before it or (`after`) behind it.

    Returns whether that moment came; False when the act ended first. Raises AssertionError when it failed otherwise.
    The caller's test needs `django_db(transaction=True)`: the fork has a connection of its own.
    """
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            _die_at(owner, name, call, after=after)
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(3)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the act failed by itself: exit code {code}"
    return code == -signal.SIGKILL


def _die_at(owner: Any, name: str, call: int, *, after: bool) -> None:
    original, calls = getattr(owner, name), 0

    def wrapped(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = original(*args, **options)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, wrapped)
