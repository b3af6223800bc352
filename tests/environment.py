"""Loaded by pytest before Django (see addopts): a run has its own data folder and no outer configuration."""

import os
import tempfile

for name in [
    name for name in os.environ if name.startswith(("FITHUB_", "S3_")) or name in ("SECRET_KEY", "BROKER_URL")
]:
    if name not in ("FITHUB_TEST_KEEP",):
        del os.environ[name]
os.environ["FITHUB_DATA"] = tempfile.mkdtemp(prefix="fithub-test-")
os.environ["SECRET_KEY"] = "only for tests"
os.environ["FITHUB_ALLOWANCE_SECONDS"] = "25"  # small families: each recipe has tests of its own
