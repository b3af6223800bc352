"""All settings, read from the environment in this one file. A bad value stops the start with a sentence."""

import os
import secrets
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.FileAwareEnv()  # any variable can come from a file: SECRET_KEY_FILE=…


def _fail(sentence: str) -> None:
    raise ImproperlyConfigured(sentence)


def _number(name: str, default: float, low: float, high: float) -> float:
    raw = os.environ.get(name, "")
    try:
        value = float(raw) if raw else default
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        _fail(f"{name}={raw!r} is not a number from {low:g} to {high:g}.")
    return value


def _amounts(name: str, low: float, high: float) -> dict[str, float]:
    """`a=1.5,b=2` as numbers by name."""
    raw, found = os.environ.get(name, ""), {}
    for part in filter(None, (part.strip() for part in raw.split(","))):
        key, _, text = (piece.strip() for piece in part.partition("="))
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not key or not low <= value <= high:
            _fail(f"{name}={raw!r}: {part!r} is not name=number with a number from {low:g} to {high:g}.")
        found[key] = value
    return found


def _switch(name: str, *, default: bool) -> bool:
    raw = os.environ.get(name, "").lower()
    if raw not in ("", "true", "false", "1", "0"):
        _fail(f"{name}={raw!r} must be true or false.")
    return raw in ("true", "1") if raw else default


# --- where things are -------------------------------------------------------------------------------------------
FITHUB_DATA = Path(env.str("FITHUB_DATA", default=str(BASE_DIR / "data"))).expanduser().resolve()
FITHUB_HOST = env.str("FITHUB_HOST", default="127.0.0.1")
FITHUB_PORT = int(_number("FITHUB_PORT", 8000, 1, 65535))
FITHUB_PUBLIC_URL = env.str("FITHUB_PUBLIC_URL", default="").rstrip("/")
if FITHUB_PUBLIC_URL and urlsplit(FITHUB_PUBLIC_URL).scheme not in ("http", "https"):
    _fail(f"FITHUB_PUBLIC_URL={FITHUB_PUBLIC_URL!r} must start with http:// or https://.")
# How many proxies stand in front and add to X-Forwarded-For: without one, the header is anybody's word.
FITHUB_PROXIES = int(_number("FITHUB_PROXIES", 0, 0, 10))
try:
    FITHUB_DATA.mkdir(parents=True, exist_ok=True)
except OSError as error:
    _fail(f"FITHUB_DATA={str(FITHUB_DATA)!r} can not be made or used: {error.strerror}.")


def _secret_key() -> str:
    """The key given, else the one kept in the data folder, made at the first start."""
    if given := env.str("SECRET_KEY", default=""):
        return given
    kept = FITHUB_DATA / "secret_key"
    if not kept.exists():
        fresh = FITHUB_DATA / f".secret_key.{os.getpid()}.{secrets.token_hex(4)}"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(fresh, kept)  # the first of several starting processes wins
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return kept.read_text().strip()


SECRET_KEY = _secret_key()
DEBUG = env.bool("FITHUB_DEBUG", default=False)
ALLOWED_HOSTS = ["*"] if not FITHUB_PUBLIC_URL else [urlsplit(FITHUB_PUBLIC_URL).hostname, "127.0.0.1", "localhost"]
CSRF_TRUSTED_ORIGINS = [FITHUB_PUBLIC_URL] if FITHUB_PUBLIC_URL else []
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if FITHUB_PUBLIC_URL.startswith("https") else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = FITHUB_PUBLIC_URL.startswith("https")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- pages of other origins ---------------------------------------------------------------------------------------
# They may read what the caller's own token opens, or nobody's: never with the visitor's cookies (THREAT_MODEL.md).
CORS_URLS_REGEX = r"^/(?:api|cas)/|^/(?:(?:datasets|spaces|kernels|buckets)/)?[^/]+/[^/]+/(?:resolve|raw)/"
CORS_ALLOW_METHODS = ("GET", "HEAD", "OPTIONS")
CORS_ALLOW_HEADERS = ("accept", "authorization", "content-type", "if-none-match", "if-range", "range", "x-request-id")
CORS_EXPOSE_HEADERS = (
    "Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range", "ETag", "Link", "Retry-After",
    "X-Error-Code", "X-Error-Message", "X-Linked-Etag", "X-Linked-Size", "X-Repo-Commit", "X-Request-Id", "X-Xet-Hash",
)  # fmt: skip
CORS_ORIGINS = [one.strip() for one in env.str("FITHUB_CORS_ORIGINS", default="*").split(",") if one.strip()]
CORS_ALLOW_ALL_ORIGINS = CORS_ORIGINS in (["*"], [])
CORS_ALLOWED_ORIGINS = [] if CORS_ALLOW_ALL_ORIGINS or CORS_ORIGINS == ["none"] else CORS_ORIGINS
for _origin in CORS_ALLOWED_ORIGINS:
    _parts = urlsplit(_origin)
    _plain = f"{_parts.scheme}://{_parts.netloc}"
    if _parts.scheme not in ("http", "https") or not _parts.hostname or "@" in _origin or _origin != _plain:
        _fail(f"FITHUB_CORS_ORIGINS: {_origin!r} is no origin such as https://app.example; or say * or none.")

# --- the rooms --------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "corsheaders",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "django_htmx",
    "django_tasks",
    "django_tasks_db",
    "models_registry.accounts",
    "models_registry.storage",
    "models_registry.repos",
    "models_registry.xet",
    "models_registry.buckets",
    "models_registry.cards",
    "models_registry.datasets",
    "models_registry.scanning",
    "models_registry.search",
    "models_registry.community.discussions",
    "models_registry.community.likes",
    "models_registry.community.collections",
    "models_registry.community.webhooks",
    "models_registry.upkeep",
    "models_registry.hfapi",
    "models_registry.gitapi",
    "models_registry.pages",
    "compression_service.jobs",
    "compression_service.devices",
    "compression_service.recipes",
    "compression_service.variants",
    "compression_service.linking",
    "compression_service.selection",
    "compression_service.ledger",
    "compression_service.pages",
    "hub",
]
MIDDLEWARE = [
    "hub.middleware.RequestIdMiddleware",
    "hub.middleware.OtherOriginsMiddleware",
    "hub.middleware.WholeBodyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "hub.middleware.ContentSecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "models_registry.hfapi.errors.HubErrorMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "models_registry.accounts.middleware.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "hub.urls"
WSGI_APPLICATION = "hub.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["models_registry.pages.templatetags.figures"],
        },
    }
]
APPEND_SLASH = False
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL, LOGIN_REDIRECT_URL, LOGOUT_REDIRECT_URL = "/login", "/", "/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE, TIME_ZONE, USE_I18N, USE_TZ = "en", "UTC", False, True

# --- database ---------------------------------------------------------------------------------------------------
DATABASE_URL = env.str("DATABASE_URL", default=f"sqlite:///{FITHUB_DATA / 'fithub.sqlite3'}")
try:
    DATABASES: dict[str, dict[str, Any]] = {"default": env.db_url_config(DATABASE_URL)}
except Exception as error:
    raise ImproperlyConfigured(
        "DATABASE_URL is not a database URL such as postgres://user:password@host/name."
    ) from error
_database = DATABASES["default"]
if _database.get("ENGINE") == "django.db.backends.sqlite3":
    # IMMEDIATE: a transaction which will write takes the lock at its start and waits, instead of failing in the middle.
    _database["OPTIONS"] = {
        "timeout": 60,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-4000;",
    }
    # Opening the file anew for each request costs as much as two queries (docs/decisions, "What a call costs").
    _database["CONN_MAX_AGE"] = 60
    # A file, as in production: SQLite's shared in-memory databases lock whole tables.
    _database["TEST"] = {"NAME": str(FITHUB_DATA / "test.sqlite3")}
elif _database.get("ENGINE") == "django.db.backends.postgresql":
    _database["CONN_MAX_AGE"] = 60
    _database["CONN_HEALTH_CHECKS"] = True
else:
    _fail(f"DATABASE_URL names {_database.get('ENGINE') or 'no engine'}: FitHub runs on SQLite and PostgreSQL.")

# --- files ------------------------------------------------------------------------------------------------------
S3_ENDPOINT_URL = env.str("S3_ENDPOINT_URL", default="") or None
S3_BUCKET = env.str("S3_BUCKET", default="")
S3_ACCESS_KEY = env.str("S3_ACCESS_KEY", default="")
S3_SECRET_KEY = env.str("S3_SECRET_KEY", default="")
FILE_DELIVERY = env.str("FILE_DELIVERY", default="stream")
if FILE_DELIVERY not in ("stream", "accel", "presigned"):
    _fail(f"FILE_DELIVERY={FILE_DELIVERY!r} must be one of stream, accel, presigned.")
if FILE_DELIVERY == "presigned" and not S3_BUCKET:
    _fail("FILE_DELIVERY=presigned needs S3_BUCKET.")
if S3_BUCKET and not (S3_ACCESS_KEY and S3_SECRET_KEY):
    _fail("S3_BUCKET needs S3_ACCESS_KEY and S3_SECRET_KEY.")

QUOTA_PUBLIC_GB = _number("FITHUB_QUOTA_PUBLIC_GB", 0, 0, 1e9)  # 0: no limit
QUOTA_PRIVATE_GB = _number("FITHUB_QUOTA_PRIVATE_GB", 0, 0, 1e9)
CHUNK_FROM_MB = _number("FITHUB_CHUNK_FROM_MB", 1, 0, 1e9)  # 0: contents which came whole stay whole
GARBAGE_DAYS = _number("FITHUB_GARBAGE_DAYS", 28, 0, 3650)

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "hub" / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = None  # commits stream their lines; every other body is bounded where it is read
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000

# --- background work --------------------------------------------------------------------------------------------
BROKER_URL = env.str("BROKER_URL", default="")
TASKS = {
    "default": {
        "BACKEND": "hub.celery_backend.CeleryBackend" if BROKER_URL else "django_tasks_db.DatabaseBackend",
        "QUEUES": ["heavy", "light"],
    }
}
JOB_LEASE_SECONDS = _number("FITHUB_LEASE_SECONDS", 30, 1, 3600)
MEASURE_SECONDS = _number("FITHUB_MEASURE_SECONDS", 10, 0.05, 600)
ALLOWANCE_SECONDS = _number("FITHUB_ALLOWANCE_SECONDS", 600, 10, 86400)
JOB_MEMORY_GB = _number("FITHUB_JOB_MEMORY_GB", 16, 0.5, 4096)
JOB_SECONDS = _number("FITHUB_JOB_SECONDS", 3600, 10, 86400)
SANDBOX = env.str("FITHUB_SANDBOX", default="auto")
if SANDBOX not in ("auto", "bubblewrap", "rlimits"):
    _fail(f"FITHUB_SANDBOX={SANDBOX!r} must be one of auto, bubblewrap, rlimits.")

# --- what work costs: an administrator's figures. 0 or empty: not stated, so nothing is derived from it ------------
CORE_WATTS = _number("FITHUB_CORE_WATTS", 0, 0, 1000)
DEVICE_WATTS = _amounts("FITHUB_DEVICE_WATTS", 0.001, 1000)
POWER_EFFICIENCY = _number("FITHUB_POWER_EFFICIENCY", 1, 0.05, 1)
GRID_GRAMS_A_KWH = _number("FITHUB_GRID_GRAMS_A_KWH", 0, 0, 5000)
GRID_LOCATION = env.str("FITHUB_GRID_LOCATION", default="")
CORE_HOUR_PRICE = _number("FITHUB_CORE_HOUR_PRICE", 0, 0, 1e6)
CURRENCY = env.str("FITHUB_CURRENCY", default="EUR")
if not CURRENCY.isalpha() or not 1 <= len(CURRENCY) <= 8:
    _fail(f"FITHUB_CURRENCY={CURRENCY!r} must be a word of at most 8 letters, e.g. EUR.")

WEBHOOK_ALLOW_PRIVATE = _switch("FITHUB_WEBHOOK_ALLOW_PRIVATE", default=False)

# --- API --------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["models_registry.hfapi.authentication.ActorAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "rest_framework.parsers.JSONParser",
        "rest_framework.parsers.FormParser",
    ],
    "DEFAULT_SCHEMA_CLASS": "models_registry.hfapi.schema.HubSchema",
    "EXCEPTION_HANDLER": "models_registry.hfapi.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "FitHub",
    "DESCRIPTION": "The Hugging Face Hub's API, and `fit`: the best variant of a model for a budget.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/",
    "SERVERS": [],
    "PREPROCESSING_HOOKS": ["models_registry.hfapi.schema.only_the_api"],
    "ENUM_NAME_OVERRIDES": {
        "TrustMark": ["verified", "confirmed", "reported", "estimated"],
        "FitAnswer": ["proven", "likely", "unknown", "none"],
    },
}

# --- logging ----------------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "hub.logging.RequestIdFilter"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "stream": sys.stderr,
            "formatter": "line",
            "filters": ["request_id"],
        }
    },
    "root": {"handlers": ["console"], "level": env.str("FITHUB_LOG_LEVEL", default="INFO").upper()},
    "loggers": {
        "django_tasks": {"level": "WARNING"},
        "django_tasks_db": {"level": "ERROR"},
        "django.request": {"level": "ERROR"},
        "botocore": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
    },
}
