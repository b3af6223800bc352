"""Configuration from the environment: safe defaults, and a bad value which stops the start with a sentence."""

import os
import subprocess
import sys

import pytest
from django.conf import settings


def start(tmp_path, **environment):
    code = "import django; django.setup(); from django.conf import settings; print(settings.SECRET_KEY)"
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env = keep | {"DJANGO_SETTINGS_MODULE": "hub.settings", "FITHUB_DATA": str(tmp_path / "data")} | environment
    return subprocess.run(
        [sys.executable, "-c", code], cwd=settings.BASE_DIR, env=env, capture_output=True, text=True, check=False
    )


def test_the_secret_key_is_made_once_and_kept_for_its_owner_only(tmp_path):
    first, second = start(tmp_path), start(tmp_path)
    assert first.returncode == 0, first.stderr
    assert len(first.stdout.strip()) > 40 and first.stdout == second.stdout
    assert (tmp_path / "data" / "secret_key").stat().st_mode & 0o077 == 0


def test_a_secret_can_come_from_a_file(tmp_path):
    (tmp_path / "key").write_text("from a file")
    assert start(tmp_path, SECRET_KEY_FILE=str(tmp_path / "key")).stdout.strip() == "from a file"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("FITHUB_PORT", "http", "FITHUB_PORT='http' is not a number"),
        ("FITHUB_PORT", "70000", "FITHUB_PORT='70000' is not a number from 1 to 65535"),
        ("FITHUB_ALLOWANCE_SECONDS", "0", "FITHUB_ALLOWANCE_SECONDS='0' is not a number from 10 to 86400"),
        ("FITHUB_PROXIES", "-1", "FITHUB_PROXIES='-1' is not a number from 0 to 10"),
        ("FITHUB_PUBLIC_URL", "example", "must start with http"),
        ("FITHUB_CORS_ORIGINS", "app.example", "'app.example' is no origin such as https://app.example"),
        ("FITHUB_CORS_ORIGINS", "https://a.example/page", "is no origin"),
        ("FITHUB_CORS_ORIGINS", "https://a.example,*", "'*' is no origin"),
        ("FITHUB_CORS_ORIGINS", "https://user@a.example", "is no origin"),
        ("FILE_DELIVERY", "carrier pigeon", "FILE_DELIVERY='carrier pigeon' must be one of"),
        ("FILE_DELIVERY", "presigned", "needs S3_BUCKET"),
        ("S3_BUCKET", "b", "S3_BUCKET needs S3_ACCESS_KEY"),
        ("DATABASE_URL", "mysql://x/y", "SQLite and PostgreSQL"),
        ("FITHUB_SANDBOX", "none", "must be one of auto"),
        ("FITHUB_CORE_WATTS", "-1", "FITHUB_CORE_WATTS='-1' is not a number from 0 to 1000"),
        ("FITHUB_DEVICE_WATTS", "a=1,b", "'b' is not name=number"),
        ("FITHUB_DEVICE_WATTS", "a=nan", "'a=nan' is not name=number"),
        ("FITHUB_POWER_EFFICIENCY", "0", "FITHUB_POWER_EFFICIENCY='0' is not a number from 0.05 to 1"),
        ("FITHUB_GRID_GRAMS_A_KWH", "many", "FITHUB_GRID_GRAMS_A_KWH='many' is not a number"),
        ("FITHUB_CURRENCY", "€ 5", "FITHUB_CURRENCY='€ 5' must be a word"),
        ("FITHUB_WEBHOOK_ALLOW_PRIVATE", "perhaps", "must be true or false"),
        ("FITHUB_LEASE_SECONDS", "nan", "is not a number"),
        ("FITHUB_DATA", "/proc/nope", "can not be made or used"),
    ],
)
def test_a_bad_value_stops_the_start(tmp_path, name, value, sentence):
    result = start(tmp_path, **{name: value})
    assert result.returncode != 0 and sentence in result.stderr


@pytest.mark.django_db
def test_healthz_says_what_is_missing(client):
    answer = client.get("/healthz")
    assert answer.status_code == 503 and "worker" in answer.json()["missing"]
    from django.utils import timezone

    from compression_service.jobs.models import Worker

    Worker.objects.create(name="w", seen_at=timezone.now())
    assert client.get("/healthz").json() == {"ready": True, "missing": {}}
