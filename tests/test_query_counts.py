"""How many queries the main pages and calls cost, held to a baseline: more is a failure, fewer asks for a new baseline.

WRITE_QUERY_BASELINE=1 pytest tests/test_query_counts.py writes it anew.
"""

import json
import os
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_registry.repos.models import RepoType
from tests.factories import make_family, make_repository, push

BASELINE = Path(__file__).with_name("query_counts.json")
MB = 1_000_000
CALLS = {
    "page: home": "/",
    "page: models": "/models",
    "page: model": "/alice/m",
    "page: variant": "/alice/m/variants/int8",
    "page: model tree": "/alice/m/tree/main",
    "page: model file": "/alice/m/blob/main/a.txt",
    "page: model history": "/alice/m/commits/main",
    "page: dataset": "/datasets/alice/d",
    "page: namespace": "/alice",
    "api: model info": "/api/models/alice/m",
    "api: listing": "/api/models?limit=50",
    "api: tree, recursive": "/api/models/alice/m/tree/main?recursive=true",
    "api: refs": "/api/models/alice/m/refs",
    "api: commits": "/api/models/alice/m/commits/main",
    "api: resolve": "/alice/m/resolve/main/a.txt",
    "api: resolve a content": "/alice/m/resolve/main/w.bin",
    "api: variants": "/api/models/alice/m/variants",
    "api: fit, asked again": "/api/models/alice/m/fit?memory=200MB",
    "api: resolve by fit": "/alice/m/resolve/fit%40memory=200MB/onnx.txt",
}


def _whole(answer):
    """Read to its end, so that no file is left open."""
    if answer.streaming:
        b"".join(answer.streaming_content)


@pytest.mark.django_db
def test_query_counts_keep_to_the_baseline(alice, client):
    model = make_repository(alice, "m", files={"a.txt": b"1", "d/b.txt": b"2", "w.bin": b"3", "README.md": b"# M"})
    data = make_repository(alice, "d", RepoType.DATASET, files={"a.csv": b"x\n1\n"})
    for number in range(12):
        make_repository(alice, f"more-{number}")
    push(data, alice, {"b.csv": b"y\n1\n"})
    make_family(model, {"onnx": (400_000, 4.0, 100 * MB, 1.0), "int8": (100_000, 1.0, 80 * MB, 0.995)})
    found = {}
    for name, url in CALLS.items():
        _whole(client.get(url))  # warm caches: processes live long
        with CaptureQueriesContext(
            connection,
        ) as captured:
            answer = client.get(url)
        assert answer.status_code == 200, (name, answer.status_code)
        _whole(answer)
        found[name] = len(captured)
    if os.environ.get("WRITE_QUERY_BASELINE"):
        BASELINE.write_text(json.dumps(found, indent=1) + "\n")
    baseline = json.loads(BASELINE.read_text())
    assert found == baseline, "write the baseline anew if fewer queries are the reason"
