"""Live progress, the list of jobs, cancel."""

import pytest

from compression_service.jobs.models import Job
from compression_service.variants.models import Catalogue, SourceModel, Variant
from models_registry.repos.models import RepoType
from tests import factories


@pytest.fixture
def job(model) -> Job:
    return Job.objects.create(
        kind="convert", key="k", repository=model, state="running", progress=0.37, message="reading <b>"
    )


def test_open_jobs_are_shown_and_asked_for_again(visitor, job):
    for url in ("/alice/m", "/alice/m/progress"):
        page = visitor.get(url).content.decode()
        assert "Convert to ONNX" in page and 'value="37"' in page and "reading &lt;b&gt;" in page
        assert 'hx-get="/alice/m/progress?v=0"' in page and 'hx-trigger="every 2s"' in page
        assert "Cancel" not in page
    assert visitor.get("/alice/m/progress")["Cache-Control"].startswith("max-age=0")


def test_polling_ends_with_the_jobs_and_brings_what_changed(visitor, job, model):
    Job.objects.update(state="done")
    source = SourceModel.objects.create(
        repository=model, commit="0" * 40, digest="d", status="refused", reason="No graph."
    )
    Catalogue.objects.create(repository=model, version=3)
    page = visitor.get("/alice/m/progress?v=2").content.decode()
    assert "hx-get" not in page and 'id="variants-body" hx-swap-oob="innerHTML"' in page and "No graph." in page
    assert "hx-swap-oob" not in visitor.get("/alice/m/progress?v=3").content.decode()
    assert source.pk and 'id="progress"' not in visitor.get("/alice/m").content.decode()


def test_a_datasets_page_is_loaded_again_when_its_rows_are_read(visitor, alice):
    dataset = factories.make_repository(alice, "d", RepoType.DATASET)
    job = Job.objects.create(kind="read_rows", key="r", repository=dataset)
    assert "HX-Refresh" not in visitor.get("/datasets/alice/d/progress")
    Job.objects.filter(pk=job.pk).update(state="done")
    assert visitor.get("/datasets/alice/d/progress")["HX-Refresh"] == "true"


def test_a_failed_job_says_why_until_the_next_push(visitor, job, model):
    Job.objects.update(state="failed", kind="scan_files", error="The graph <i>has</i> no input.")
    page = visitor.get("/alice/m").content.decode()
    assert "Scan files for pickles failed." in page and "The graph &lt;i&gt;has&lt;/i&gt; no input." in page
    Job.objects.create(kind="convert", key="k2", repository=model, state="done")
    assert "has&lt;/i&gt; no input" not in visitor.get("/alice/m").content.decode()
    assert "has&lt;/i&gt; no input" in visitor.get("/alice/m/jobs").content.decode()


def test_only_those_who_may_write_can_cancel(visitor, bob_browser, alice_browser, job):
    url = f"/alice/m/jobs/{job.pk}/cancel"
    assert visitor.post(url).status_code == 401
    assert bob_browser.post(url).status_code == 403
    assert alice_browser.get(url).status_code == 405
    job.refresh_from_db()
    assert not job.cancel_requested
    assert "Cancel: Convert to ONNX" in alice_browser.get("/alice/m").content.decode()
    answer = alice_browser.post(url, follow=True)
    assert answer.redirect_chain == [("/alice/m", 302)] and "told to stop" in answer.content.decode()
    job.refresh_from_db()
    assert job.cancel_requested and job.cancelled_by.username == "alice"
    assert "stopping" in alice_browser.get("/alice/m").content.decode()


def test_cancel_needs_its_csrf_token(alice, job, browser_of):
    assert browser_of(alice, enforce_csrf_checks=True).post(f"/alice/m/jobs/{job.pk}/cancel").status_code == 403
    job.refresh_from_db()
    assert not job.cancel_requested


def test_a_job_which_has_ended_can_not_be_cancelled(alice_browser, job):
    Job.objects.update(state="done")
    answer = alice_browser.post(f"/alice/m/jobs/{job.pk}/cancel", follow=True)
    assert "has ended already" in answer.content.decode()


def test_a_job_of_another_repository_is_not_reached(alice_browser, alice, job):
    factories.make_repository(alice, "other")
    assert alice_browser.post(f"/alice/other/jobs/{job.pk}/cancel").status_code == 404


def test_private_jobs_are_hidden(bob_browser, alice):
    repository = factories.make_repository(alice, "p", private=True)
    job = Job.objects.create(kind="convert", key="p", repository=repository, state="running")
    assert bob_browser.get("/alice/p/jobs").status_code == 404
    assert bob_browser.get("/alice/p/progress").status_code == 404
    assert bob_browser.post(f"/alice/p/jobs/{job.pk}/cancel").status_code == 404


def test_jobs_name_their_variants_with_no_query_each(visitor, model, django_assert_max_num_queries):
    source = SourceModel.objects.create(repository=model, commit="0" * 40, digest="d")
    for number in range(20):
        variant = Variant.objects.create(source=source, name=f"v{number}", recipe="x")
        Job.objects.create(kind="make_variant", key=f"j{number}", repository=model, payload={"variant": variant.pk})
    with django_assert_max_num_queries(8):
        page = visitor.get("/alice/m/jobs").content.decode()
    assert "Make v0" in page and "Make v19" in page
    with django_assert_max_num_queries(24):
        visitor.get("/alice/m/progress")
