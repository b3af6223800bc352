"""How often something may be tried. Counted in the database, so that all web processes count together."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest
from django.utils import timezone

from models_registry.accounts.models import Throttle
from models_registry.errors import TooManyRequests

_KEPT = timedelta(hours=1)


@dataclass(frozen=True)
class Limit:
    """At most `tries` in `seconds`, for each thing that is counted by itself."""

    name: str
    tries: int
    seconds: int


def count_try(limit: Limit, what: str) -> None:
    """Count one more try of `what`; raises TooManyRequests, with the seconds to wait, when there were too many.

    A try is counted before it is made: many at once can not slip through together.
    """
    key, now = _key(limit, what), timezone.now()
    end = now + timedelta(seconds=limit.seconds)
    with transaction.atomic():
        _, is_new = Throttle.objects.get_or_create(key=key, defaults={"ends_at": end})
        if is_new:
            Throttle.objects.filter(ends_at__lt=now - _KEPT).delete()
        Throttle.objects.filter(key=key, ends_at__lte=now).update(count=0, ends_at=end)
        Throttle.objects.filter(key=key).update(count=F("count") + 1)
        row = Throttle.objects.get(key=key)
    if row.count > limit.tries:
        wait_s = max(1, ceil((row.ends_at - now).total_seconds()))
        raise TooManyRequests(
            f"Too many tries: wait {wait_s} seconds, then try again.",
            {
                "Retry-After": str(wait_s),
                "RateLimit": f'"{limit.name}";r=0;t={wait_s}',
                "RateLimit-Policy": f'"fixed window";"{limit.name}";q={limit.tries};w={limit.seconds}',
            },
        )


def forget_tries(limit: Limit, what: str) -> None:
    """After a success: what went before does not count any more."""
    Throttle.objects.filter(key=_key(limit, what)).delete()


def address_of(request: HttpRequest) -> str:
    """Where a request comes from: behind FITHUB_PROXIES proxies, what the outermost of them saw."""
    proxies = int(settings.FITHUB_PROXIES)
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    if proxies and len(hops) >= proxies:
        return hops[-proxies][:64]
    return str(request.META.get("REMOTE_ADDR", ""))[:64]


def _key(limit: Limit, what: str) -> str:
    return f"{limit.name}:{hashlib.sha256(what.encode('utf-8', 'replace')).hexdigest()}"
