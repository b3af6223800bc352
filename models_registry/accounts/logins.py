"""The acts of signing in: by password, and by a device which its person approves in a browser (RFC 8628)."""

import logging
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth import authenticate
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import AccessToken, DeviceGrant, RefreshToken, TokenRole, User
from models_registry.accounts.throttles import Limit, address_of, count_try, forget_tries
from models_registry.accounts.tokens import digest_of, new_value
from models_registry.errors import Forbidden, NotFound, OAuthError

logger = logging.getLogger(__name__)

# The id which the stock client sends when nobody set another (hub-protocol §3).
CLIENTS = {"26be6b09-91c5-47da-9861-d2d2bb7a7e36": "hf, the command line of huggingface_hub"}
DEVICE_SECONDS = 900
INTERVAL_S, MAX_INTERVAL_S = 5, 60
# The stock client renews a token whose last day has begun: it must live for more than a day.
ACCESS_TIME, REFRESH_TIME = timedelta(days=30), timedelta(days=90)
# Programs which run on with the value before: a renewed token's old value holds for so long.
OLD_VALUE_TIME = timedelta(hours=1)
# A client whose answer was lost may send the same refresh token again so soon; later it is taken for stolen.
REUSE_TIME = timedelta(seconds=60)

_BY_NAME_AND_ADDRESS = Limit("sign-in", 10, 300)
_BY_ADDRESS = Limit("sign-in-address", 100, 300)
_BY_NAME = Limit("sign-in-name", 50, 300)
_CODES_ASKED = Limit("device-codes", 60, 600)
_CODES_TYPED = Limit("user-codes", 10, 600)
_TOKENS_ASKED = Limit("oauth-tokens", 600, 300)
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, no words; nothing that is read as something else
_CODE = re.compile(f"[{_LETTERS}]{{8}}")


@dataclass(frozen=True)
class Issued:
    """What a client gets: values which are never shown again."""

    access_token: str
    refresh_token: str
    expires_in_s: int


def check_password(request: HttpRequest, name: str, password: str) -> User | None:
    """The user whose name and password these are, or None. Raises TooManyRequests for one who guesses."""
    address = address_of(request)
    pair = f"{name.lower()}\n{address}"
    count_try(_BY_ADDRESS, address)
    count_try(_BY_NAME_AND_ADDRESS, pair)
    count_try(_BY_NAME, name.lower())
    # A NUL would be a database error on PostgreSQL.
    user = None if "\0" in name else authenticate(request, username=name, password=password)
    if user is None:
        logger.warning("a sign-in as %.60r from %s was refused", name, address)
        return None
    forget_tries(_BY_NAME_AND_ADDRESS, pair)
    forget_tries(_BY_NAME, name.lower())
    return user  # type: ignore[return-value]


# --- the device's side ----------------------------------------------------------------------------------------------
def begin_device_login(client_id: str, address: str) -> tuple[DeviceGrant, str]:
    """(grant, device code): the device shows the grant's user code. Raises OAuthError, TooManyRequests."""
    if client_id not in CLIENTS:
        raise OAuthError("invalid_client", "This hub knows no OAuth client of this id.", status=401)
    count_try(_CODES_ASKED, address)
    now = timezone.now()
    DeviceGrant.objects.filter(expires_at__lt=now - timedelta(days=1)).delete()
    device_code = new_value("hf_device_")
    for _ in range(5):
        code = "".join(secrets.choice(_LETTERS) for _ in range(8))
        try:
            with transaction.atomic():
                grant = DeviceGrant.objects.create(
                    client_id=client_id,
                    device_digest=digest_of(device_code),
                    user_code=code,
                    address=address,
                    interval_s=INTERVAL_S,
                    expires_at=now + timedelta(seconds=DEVICE_SECONDS),
                )
            return grant, device_code
        except IntegrityError:
            continue  # the user code is in use: 1 in 25 billion
    raise OAuthError("temporarily_unavailable", "No free user code was found: try again.", status=503)


def exchange_device_code(client_id: str, device_code: str, address: str) -> Issued:
    """Tokens, once the person has approved. Raises OAuthError with what the client waits for, TooManyRequests."""
    count_try(_TOKENS_ASKED, address)
    with transaction.atomic():
        rows = DeviceGrant.objects.select_for_update().filter(device_digest=digest_of(device_code))
        grant = rows.filter(client_id=client_id).first()
        issued = _issue_for(grant) if grant is not None and _is_ready(grant) else None
    if grant is None or (grant.status == DeviceGrant.Status.USED and issued is None):
        raise OAuthError("invalid_grant", "This device code is not known, or was used: begin again.")
    if issued is None:
        raise _not_yet(grant)
    return issued


def refresh(client_id: str, value: str, address: str) -> Issued:
    """New tokens for a refresh token, which is used up by this. Raises OAuthError, TooManyRequests."""
    count_try(_TOKENS_ASKED, address)
    now, stolen = timezone.now(), False
    with transaction.atomic():
        rows = RefreshToken.objects.select_for_update(of=("self",)).select_related("token__user")
        row = rows.filter(digest=digest_of(value), token__client_id=client_id).first()
        if row is None or row.expires_at <= now or not row.token.user.is_active:
            raise OAuthError("invalid_grant", "This refresh token has ended: sign in again with `hf auth login`.")
        if row.used_at is not None and now - row.used_at > REUSE_TIME:
            AccessToken.objects.filter(family=row.token.family).delete()
            stolen = True
        else:
            issued = _issue(row.token.user, client_id, row.token.role, row.token.family)
            RefreshToken.objects.filter(pk=row.pk, used_at=None).update(used_at=now)
            old = AccessToken.objects.filter(pk=row.token_id, expires_at__gt=now + OLD_VALUE_TIME)
            old.update(expires_at=now + OLD_VALUE_TIME)
    if stolen:
        logger.warning("a refresh token of %s was used again: its login is ended", row.token.user.username)
        raise OAuthError("invalid_grant", "This refresh token was used before, so its login is ended: sign in again.")
    return issued


# --- the person's side ----------------------------------------------------------------------------------------------
def find_grant(actor: Actor, typed: str, address: str) -> DeviceGrant:
    """The device which shows this user code. Raises NotFound, TooManyRequests for one who guesses codes."""
    user = _person(actor)
    code = re.sub(r"[\s-]", "", typed).upper()
    grant = None
    if _CODE.fullmatch(code):
        rows = DeviceGrant.objects.filter(user_code=code, expires_at__gt=timezone.now())
        grant = rows.filter(status=DeviceGrant.Status.PENDING).first()
    if grant is None:
        count_try(_CODES_TYPED, f"{user.pk}")
        count_try(_CODES_TYPED, address)
        raise NotFound("No device waits with this code: compare it with your device, or begin again there.")
    return grant


def answer_grant(actor: Actor, typed: str, address: str, *, approve: bool, role: str = "write") -> DeviceGrant:
    """Approve or deny a device, which then gets a token with `role`, or is told. Raises NotFound, Forbidden."""
    user = _person(actor)
    if role not in (TokenRole.READ, TokenRole.WRITE):
        raise Forbidden("A device gets a token with the role read or write.")
    grant = find_grant(actor, typed, address)
    status = DeviceGrant.Status.APPROVED if approve else DeviceGrant.Status.DENIED
    waiting = DeviceGrant.objects.filter(pk=grant.pk, status=DeviceGrant.Status.PENDING)
    if not waiting.update(status=status, user=user, role=role):
        raise NotFound("This code was answered already.")
    logger.info("device login %s of %s is %s", grant.pk, user.username, status.value)
    return grant


def shown(user_code: str) -> str:
    return f"{user_code[:4]}-{user_code[4:]}"


def _person(actor: Actor) -> User:
    """Only somebody in front of a browser approves a device: a token must not make itself another."""
    if actor.user is None or actor.token is not None:
        raise Forbidden("Sign in with your password in a browser to answer a device.")
    return actor.user


def _is_ready(grant: DeviceGrant) -> bool:
    active = grant.user is not None and grant.user.is_active
    return grant.status == DeviceGrant.Status.APPROVED and active and grant.expires_at > timezone.now()


def _issue_for(grant: DeviceGrant) -> Issued:
    assert grant.user is not None, "an approved grant has its user"
    DeviceGrant.objects.filter(pk=grant.pk).update(status=DeviceGrant.Status.USED)
    return _issue(grant.user, grant.client_id, grant.role, secrets.token_hex(16))


def _not_yet(grant: DeviceGrant) -> OAuthError:
    now = timezone.now()
    if grant.expires_at <= now:
        return OAuthError("expired_token", "The code has expired: begin again.")
    if grant.status != DeviceGrant.Status.PENDING:
        return OAuthError("access_denied", "The login was denied in the browser.")
    # One second of grace: answers travel.
    hasty = grant.polled_at is not None and (now - grant.polled_at).total_seconds() < grant.interval_s - 1
    interval_s = min(MAX_INTERVAL_S, grant.interval_s + 5) if hasty else grant.interval_s
    DeviceGrant.objects.filter(pk=grant.pk).update(polled_at=now, interval_s=interval_s)
    if hasty:
        return OAuthError("slow_down", f"Ask at most every {interval_s} seconds.")
    return OAuthError("authorization_pending", "The login waits for an answer in the browser.")


def _issue(user: User, client_id: str, role: str, family: str) -> Issued:
    now = timezone.now()
    alive = RefreshToken.objects.filter(used_at=None, expires_at__gt=now).values("token")
    AccessToken.objects.filter(user=user, expires_at__lt=now).exclude(family="").exclude(pk__in=alive).delete()
    value, renewal = new_value("hf_oauth_"), new_value("hf_refresh_")
    token = AccessToken.objects.create(
        user=user,
        name=f"{CLIENTS.get(client_id, 'device')}, {now:%Y-%m-%d}"[:100],
        role=role,
        digest=digest_of(value),
        hint=value[:12],
        client_id=client_id,
        family=family,
        expires_at=now + ACCESS_TIME,
    )
    RefreshToken.objects.create(token=token, digest=digest_of(renewal), expires_at=now + REFRESH_TIME)
    return Issued(value, renewal, int(ACCESS_TIME.total_seconds()))
