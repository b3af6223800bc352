"""What is wanted now: downloads and likes, each worth half as much after a week.

`trendingScore` is exactly that sum at this moment, rounded. The row keeps a number which needs no ageing: the logarithm
(base 2) of the sum of `weight * 2^(time / half-life)`. All repositories age alike, so the order by this number is the
order by score at any moment, one index serves it, and no sweeper ever touches 100,000 rows.
"""

import math
import time
from typing import Any

from django.db.models import F, FloatField, Func, Value
from django.db.models.functions import Abs, Greatest, Least, Ln, Power

from models_registry.repos.models import Repository

HALF_LIFE_S = 7 * 24 * 3600
DOWNLOAD, LIKE = 1.0, 10.0
_NOTHING = 0.0  # a repository which nobody asked for; 1970 plus some weeks is as far away


def add(weight: float) -> Func:
    """The expression for `trending` after one more event of this weight, now; for `update(trending=add(LIKE))`."""
    event = Value(_mark(weight), output_field=FloatField())
    apart = Least(Abs(F("trending") - event), Value(60.0))  # beyond, the lesser one is lost in the greater's rounding
    # log2(2^a + 2^b) = max(a, b) + log2(1 + 2^-|a - b|), which never overflows
    more = Ln(Value(1.0) + Power(Value(2.0), Value(0.0) - apart)) / Value(math.log(2))
    return Greatest(F("trending"), event) + more  # type: ignore[return-value]


def note(repository_pk: int, weight: float, **also: Any) -> None:
    """Record one event in one update; `also` are further columns which change with it."""
    Repository.objects.filter(pk=repository_pk).update(trending=add(weight), **also)


def score(trending: float, now_s: float | None = None) -> int:
    """What is shown: the sum of weights of all events, halved for every week since."""
    if trending <= _NOTHING:
        return 0
    power = trending - (time.time() if now_s is None else now_s) / HALF_LIFE_S
    return round(2.0 ** min(power, 60.0)) if power > -10 else 0


def _mark(weight: float) -> float:
    return time.time() / HALF_LIFE_S + math.log2(weight)
