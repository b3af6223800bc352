"""A choice of data tried by the real engine in the sandbox and saved: the family is made with it."""

import threading

import numpy as np
import pytest
from test_family import network

from compression_service.jobs import execution
from compression_service.jobs.models import Job
from compression_service.jobs.runners.common import bring_inputs
from compression_service.linking.models import Preview
from compression_service.variants.models import SourceModel
from models_registry.repos.models import RepoType
from models_registry.repos.revisions import branch_head
from tests.factories import make_repository, push

COLUMNS = "[" + ", ".join(f"c{i}" for i in range(16)) + "]"


@pytest.fixture
def quick(settings, monkeypatch):
    settings.MEASURE_SECONDS = 0.05
    monkeypatch.setattr("compression_service.jobs.services.announce", lambda job_id: None)


def run(kinds):
    """What the workers do with jobs of these kinds; no others, which would wait for the machine's slot."""
    for pk in list(Job.objects.filter(state=Job.State.QUEUED, kind__in=kinds).values_list("pk", flat=True)):
        execution.execute(pk)


def table(count=60, columns=16):
    rng = np.random.default_rng(3)
    lines = [",".join([f"c{i}" for i in range(columns)] + ["kind", "words"])]
    for row in range(count):
        lines.append(",".join([f"{value:.4f}" for value in rng.normal(size=columns)] + [str(row % 4), f"text {row}"]))
    return "\n".join(lines).encode()


def look(browser, model, **fields):
    form = {"act": "look", "parent": branch_head(model), "dataset": "alice/rows", "dataset_revision": "main", **fields}
    where = browser.post("/alice/m/data", form).headers["Location"]
    run(("preview_data",))
    return where, browser.get(where).content.decode()


@pytest.mark.django_db(transaction=True)
def test_rows_are_looked_at_and_the_family_is_made_with_them(quick, alice, alice_browser, tmp_path):
    model = make_repository(alice, "m")
    rows = make_repository(alice, "rows", RepoType.DATASET, files={"train.csv": table(), "notes.md": b"x"})
    push(model, alice, {"model.onnx": network()})
    run(("convert", "read_rows"))
    form = alice_browser.get("/alice/m/data", {"dataset": "alice/rows"}).content.decode()
    assert 'name="input:x"' in form and "<code>c15</code>" in form and "<code>kind</code>" in form

    for fields, words in (
        ({"input:x": "nowhere"}, "This data does not fit the model: the card names nowhere, which is not there."),
        ({"input:x": "words"}, "column words holds values that are not numbers"),
        ({"input:x": "[c0, c1]"}, "2 numbers of a row do not fill the input x"),
        ({"evaluation.split": "test"}, "the card names its split test and it has train"),
        ({"input:x": COLUMNS, "label": "sort"}, "it has no column 'sort' for the label"),
        ({"input:x": COLUMNS, "label": "words", "metric": "accuracy"}, "accuracy was not measured: no number is known"),
    ):
        _, page = look(alice_browser, model, **fields)
        assert words in page.replace("&#x27;", "'"), page[page.index('id="rows"') :]
    assert set(Job.objects.filter(kind="preview_data").values_list("state", flat=True)) == {"done"}

    _, page = look(alice_browser, model, **{"input:x": COLUMNS, "label": "kind", "evaluation.rows": "30"})
    shown = page[page.index('id="rows"') :]
    assert (
        "30 inputs" in shown
        and "12 inputs" not in shown
        and "accuracy" in shown
        and "the source's own on 30" in shown.replace("&#x27;", "'")
    )
    assert "float32 1 × 16" in shown and "Right is <strong>" in shown and "Only 30 inputs were there" in shown
    saved = alice_browser.post("/alice/m/data", {"act": "save", "preview": Preview.objects.latest("pk").pk})
    assert saved.status_code == 302 and saved.headers["Location"] == "/alice/m"
    newest, job = SourceModel.objects.latest("pk"), Job.objects.latest("pk")
    assert (newest.dataset, newest.dataset_commit) == ("alice/rows", branch_head(rows)) and job.kind == "convert"
    task = bring_inputs(newest, tmp_path, threading.Event())
    assert (tmp_path / "dataset" / "train.csv").read_bytes() == table()
    assert task["dataset_info"]["config"]["inputs"] == {"x": [f"c{i}" for i in range(16)]}


@pytest.mark.django_db(transaction=True)
def test_a_dataset_which_went_meanwhile_and_a_cancelled_look_say_so(quick, alice, alice_browser):
    model = make_repository(alice, "m")
    rows = make_repository(alice, "rows", RepoType.DATASET, files={"train.csv": b"a\n1\n"})
    push(model, alice, {"model.onnx": network()})
    run(("convert", "read_rows"))
    _, page = look(alice_browser, model)
    assert "it has only 1 rows" in page
    form = {"act": "look", "parent": branch_head(model), "dataset": "alice/rows", "label": "x"}
    where = alice_browser.post("/alice/m/data", form).headers["Location"]
    job = Job.objects.get(kind="preview_data", state="queued")
    assert alice_browser.post(f"/alice/m/jobs/{job.pk}/cancel").status_code == 302
    assert "was cancelled" in alice_browser.get(where).content.decode()
    alice_browser.post("/alice/m/data", form | {"label": "y"})
    rows.delete()
    run(("preview_data",))
    assert Preview.objects.latest("pk").result == {
        "reason": "alice/rows is not here any more, or was hidden meanwhile."
    }
