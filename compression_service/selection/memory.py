"""What a process remembers of catalogues: the same catalogue version always gives the same answer.

Keys carry the version, so nothing here is ever out of date; the oldest make room.
"""

import threading
from typing import Any, Generic, TypeVar

from django.db import connection

from models_registry.repos.models import Repository

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The values which were used last, at most `most` of them. For any number of threads."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._values: dict[Any, Value] = {}
        self._lock = threading.Lock()

    def get(self, key: Any) -> Value | None:
        with self._lock:
            value = self._values.pop(key, None)
            if value is not None:
                self._values[key] = value
            return value

    def put(self, key: Any, value: Value) -> None:
        with self._lock:
            self._values[key] = value
            while len(self._values) > self.most:
                del self._values[next(iter(self._values))]

    def clear(self) -> None:
        with self._lock:
            self._values.clear()


# One statement for three small facts: through the ORM they cost twice as much as the whole choice.
_STANDING = """
SELECT (SELECT version FROM variants_catalogue WHERE repository_id = %s),
       (SELECT name FROM devices_device WHERE origin = 'worker' ORDER BY seen_at DESC LIMIT 1),
       (SELECT id FROM selection_fitanswer WHERE repository_id = %s AND budget = %s)
"""


def standing(repository: Repository, budget: str) -> tuple[int, str, int | None]:
    """(catalogue version, default device, id of the answer which was given to this budget)."""
    with connection.cursor() as cursor:
        cursor.execute(_STANDING, [repository.pk, repository.pk, budget])
        version, device, held = cursor.fetchone()
    return version or 0, device or "", held
