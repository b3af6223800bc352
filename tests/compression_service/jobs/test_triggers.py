"""What begins with a commit, and what that costs."""

import subprocess
import sys

from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from compression_service.jobs.models import Job
from compression_service.variants.models import SourceModel
from tests.factories import make_repository, push


def kinds(repository):
    return sorted(Job.objects.filter(repository=repository).values_list("kind", flat=True))


def test_a_new_repository_begins_nothing(model):
    assert kinds(model) == []


def test_a_model_is_converted_and_only_new_pickles_are_looked_at(model, alice):
    push(model, alice, {"weights.bin": b"\x80\x04."})
    assert kinds(model) == ["convert", "scan_files"]
    push(model, alice, {"a.txt": b"a"})
    assert kinds(model) == ["convert", "convert", "scan_files"]


def test_another_card_or_licence_makes_no_new_source(model, alice):
    push(model, alice, {"d/a.txt": b"a"})
    push(model, alice, {"README.md": b"# New words\n", "LICENSE": b"mine"})
    assert SourceModel.objects.filter(repository=model).count() == 1
    push(model, alice, {"d/README.md": b"a file of the model like any other"})
    assert SourceModel.objects.filter(repository=model).count() == 2


def test_a_commit_costs_what_it_changes_and_not_what_the_tree_holds(alice):
    counts, lengths = [], []
    for folders in (10, 90):  # as long in digits
        files = {f"d{number}/e/a.txt": b"%d" % number for number in range(folders)}
        model = make_repository(alice, f"m{folders}", files=files)
        with CaptureQueriesContext(connection) as asked:
            push(model, alice, {"d1/e/b.txt": b"b"})
        statements = [query["sql"] for query in asked if not query["sql"].startswith("INSERT")]
        counts.append(len(asked))
        lengths.append(sum(map(len, statements)))
    assert counts[0] == counts[1]
    assert lengths[1] < 1.1 * lengths[0], lengths  # no query names every folder


def test_telling_workers_of_a_job_loads_no_runtime():
    """Web processes import the runners when they announce a job: onnxruntime would cost each of them 50 MB."""
    code = (
        "import django, sys; django.setup(); import compression_service.jobs.runners, compression_service.recipes.services;"
        " print([name for name in ('onnx', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=settings.BASE_DIR
    )
    assert done.stdout.strip() == "[]", done.stderr
