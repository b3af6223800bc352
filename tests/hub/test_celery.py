"""Celery as the carrier of job ids: a real broker, a real worker process."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings

from tests.conftest import skip_or_fail

BROKER = os.environ.get("FITHUB_TEST_BROKER_URL", "redis://127.0.0.1:6379/9")
SCRIPT = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from models_registry.accounts.actors import Actor
from models_registry.accounts.services import create_user
from models_registry.repos.commits import AddFile, commit
from models_registry.repos.models import RepoType
from models_registry.repos.services import create_repository
user = create_user("alice", "a long pass phrase")
repository = create_repository(Actor(user), RepoType.DATASET, "d")
commit(Actor(user), repository, "main", [AddFile("a.csv", b"x\\n1\\n")], "rows")
"""
STATE = """
import django; django.setup()
from compression_service.jobs.models import Job
print(Job.objects.get().state)
"""


@pytest.mark.enable_socket
def test_a_job_goes_by_celery(tmp_path: Path):
    if importlib.util.find_spec("celery") is None:
        skip_or_fail("celery is not installed: the extra `scale` has it")
    import redis

    try:
        redis.Redis.from_url(BROKER).flushdb()
    except redis.exceptions.ConnectionError:
        skip_or_fail(f"no broker answers at {BROKER}")
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "hub.settings", "FITHUB_DATA": str(tmp_path), "BROKER_URL": BROKER,
        "PYTHONPATH": str(settings.BASE_DIR),
    }  # fmt: skip
    env.pop("DATABASE_URL", None)

    def run(code: str) -> str:
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    run(SCRIPT)
    assert run(STATE) == "queued"
    worker = subprocess.Popen([sys.executable, "manage.py", "run_worker"], cwd=settings.BASE_DIR, env=env)
    try:
        deadline = time.monotonic() + 60
        while (state := run(STATE)) in ("queued", "running") and time.monotonic() < deadline:
            time.sleep(0.5)
        assert state == "done"
    finally:
        worker.terminate()
        assert worker.wait(timeout=30) == 0
