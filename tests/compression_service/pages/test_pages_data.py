"""The page on which data is chosen: what it shows, what it refuses, and what it writes into the card."""

from threading import Event

import pytest

from compression_service.jobs.models import Job
from compression_service.jobs.runners.common import bring_inputs, bring_rows
from compression_service.linking.models import Preview
from compression_service.variants.datasets import data_files, dataset_of
from compression_service.variants.models import SourceModel, Variant
from models_registry.accounts.actors import Actor
from models_registry.cards.services import card_at
from models_registry.repos.models import RepoType
from models_registry.repos.revisions import branch_head
from models_registry.repos.services import update_settings
from tests.factories import make_family, make_repository, push

ROWS = b"x,label\n1,0\n2,1\n3,0\n4,1\n5,0\n"
FIGURES = {"onnx": (4_000_000, 10.0, 80_000_000, 1.0), "int8": (1_000_000, 4.0, 60_000_000, 0.99)}
INPUTS = {"components": [{"name": "model", "inputs": [{"name": "pixels", "dtype": "float32", "shape": ["n", 1]}]}]}


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch):
    monkeypatch.setattr("compression_service.jobs.services.announce", lambda job_id: None)


@pytest.fixture
def family(model) -> SourceModel:
    source = make_family(model, FIGURES)
    generated = {"kind": "generated", "count": 256, "source": "generated: pixels in 0…1"}
    Variant.objects.filter(name="int8").update(fidelity_inputs=generated)
    SourceModel.objects.filter(pk=source.pk).update(detail=INPUTS)
    return source


@pytest.fixture
def rows(alice):
    return make_repository(alice, "rows", RepoType.DATASET, files={"train.csv": ROWS})


def look(browser, model, dataset="alice/rows", **fields):
    form = {"act": "look", "parent": branch_head(model), "dataset": dataset, "dataset_revision": "", **fields}
    return browser.post(f"/{model.full_name}/data", form)


def fitting(preview=None):
    result = {"source": "alice/rows@c, split train", "notes": [], "evaluation": 4, "calibration": 1, "steps": 1, "metric": None,
              "truth": "classes", "wanted_metric": "accuracy", "rows": [{"truth": "1", "inputs": [
                  {"name": "pixels", "dtype": "float32", "shape": [1, 1], "words": "0.5", "picture": "\"><script>"}]}]}  # fmt: skip
    Preview.objects.filter(result__isnull=True).update(result=result)


def test_only_who_may_write_sees_it(visitor, alice_browser, bob_browser, model, family):
    assert visitor.get("/alice/m/data").headers["Location"].startswith("/login")
    assert bob_browser.get("/alice/m/data").status_code == 403
    assert "/alice/m/data" not in bob_browser.get("/alice/m").content.decode()
    assert (
        'href="/alice/m/data">Choose a dataset instead of generated inputs'
        in alice_browser.get("/alice/m").content.decode()
    )
    assert (
        'href="/alice/m/data">Choose a dataset instead' in alice_browser.get("/alice/m/variants/int8").content.decode()
    )


def test_it_says_what_judged_and_suggests_what_fits(alice, bob, alice_browser, model, family, rows):
    push(model, alice, {"README.md": b"---\npipeline_tag: image-classification\n---\n"})
    make_repository(
        bob, "fits", RepoType.DATASET, files={"README.md": b"---\ntask_categories: [image-classification]\n---\n"}
    )
    make_repository(
        bob,
        "hidden",
        RepoType.DATASET,
        private=True,
        files={"README.md": b"---\ntask_categories: [image-classification]\n---\n"},
    )
    page = alice_browser.get("/alice/m/data").content.decode()
    assert "none: generated inputs" in page and "generated: pixels in 0…1" in page and "256" in page
    assert "made for image-classification" in page and "of the same owner" in page and "bob/hidden" not in page
    found = alice_browser.get("/alice/m/data", {"q": "fits"}).content.decode()
    assert "bob/fits" in found and "of the same owner" not in found
    assert "holds these words" in alice_browser.get("/alice/m/data", {"q": "zzz"}).content.decode()


def test_the_form_names_inputs_columns_and_the_commit(alice_browser, model, family, rows):
    page = alice_browser.get("/alice/m/data", {"dataset": "Alice/Rows"}).content.decode()
    assert 'name="input:pixels"' in page and "float32 n×1" in page and "split train" in page
    assert f'name="dataset_revision" value="{branch_head(rows)}"' in page and "before its rows were read" in page
    assert 'type="checkbox" name="told"' not in page


@pytest.mark.parametrize(
    ("dataset", "status", "words"),
    [
        ("nobody/nothing", 404, "no dataset &#x27;nobody/nothing&#x27;"), ("", 404, "whole name"), ("bob/hidden", 404, "no dataset"),
        ("a\0b/c", 404, "no dataset"), ("bob/gated", 403, "ask for access"), ("alice/empty", 400, "has no rows"),
    ],
)  # fmt: skip
def test_a_dataset_which_can_not_be_taken_says_why(alice, bob, alice_browser, model, family, dataset, status, words):
    make_repository(bob, "hidden", RepoType.DATASET, private=True, files={"train.csv": ROWS})
    gated = make_repository(bob, "gated", RepoType.DATASET, files={"train.csv": ROWS})
    update_settings(Actor(bob), gated, gated="manual")
    make_repository(alice, "empty", RepoType.DATASET, files={"notes.pdf": b"x"})
    answer = look(alice_browser, model, dataset)
    page = answer.content.decode()
    assert answer.status_code == status and 'role="alert"' in page and words in page
    assert not Preview.objects.exists() and not Job.objects.filter(kind="preview_data").exists()
    if dataset:
        assert words in alice_browser.get("/alice/m/data", {"dataset": dataset}).content.decode()


def test_bad_fields_keep_what_was_written(alice_browser, model, family, rows):
    answer = look(alice_browser, model, metric="accuracy", scale="much", label="kind")
    page = answer.content.decode()
    assert answer.status_code == 400 and "scale must be a number" in page
    assert 'value="much"' in page and 'value="kind"' in page and "<option selected>accuracy" in page
    assert "no revision" in look(alice_browser, model, dataset_revision="v9").content.decode()
    assert look(alice_browser, model, act="dance").status_code == 400


def test_a_private_dataset_of_a_public_model_is_told_only_on_purpose(alice, alice_browser, model, family, rows):
    update_settings(Actor(alice), rows, private=True)
    assert (
        'type="checkbox" name="told"' in alice_browser.get("/alice/m/data", {"dataset": "alice/rows"}).content.decode()
    )
    refused = look(alice_browser, model)
    assert refused.status_code == 400 and "would be read by everybody" in refused.content.decode()
    assert look(alice_browser, model, told="on").status_code == 302
    fitting()
    update_settings(Actor(alice), model, private=True)
    assert look(alice_browser, model).status_code == 302  # a private model tells nobody more


def test_others_data_of_an_owner_who_may_not_read_it_is_refused(alice, bob, bob_browser, family, model, rows):
    update_settings(Actor(alice), rows, private=True)
    own = make_repository(bob, "own", files={"a.txt": b"x"})
    make_family(own, FIGURES)
    assert look(bob_browser, own).status_code == 404
    assert look(bob_browser, model).status_code == 403


def test_without_an_onnx_there_is_nothing_to_try_on(alice_browser, model, rows):
    page = alice_browser.get("/alice/m/data").content.decode()
    assert "no ONNX of this model yet" in page and 'name="dataset"' not in page
    assert look(alice_browser, model).status_code == 409


def test_looking_then_saving_is_one_commit_to_the_card(alice, alice_browser, model, family, rows):
    push(model, alice, {"README.md": b"---\nlicense: mit # ours\nfithub:\n  goal: size\n---\n# M\n"})
    first = look(alice_browser, model, label="label", **{"input:pixels": "x"})
    again = look(alice_browser, model, label="label", **{"input:pixels": "x"})
    assert first.status_code == again.status_code == 302 and first.headers["Location"] == again.headers["Location"]
    preview = Preview.objects.get()
    assert Job.objects.filter(kind="preview_data", key=f"preview_data:{preview.pk}").count() == 1
    waiting = alice_browser.get(first.headers["Location"])
    assert waiting.headers["Refresh"] == "2" and "Waits for a worker" in waiting.content.decode()
    save = {"act": "save", "preview": preview.pk}
    early = alice_browser.post("/alice/m/data", save)
    assert early.status_code == 409 and "still being looked at" in early.content.decode()
    fitting()
    shown = alice_browser.get(first.headers["Location"])
    page = shown.content.decode()
    assert (
        "Refresh" not in shown.headers
        and "Right is <strong>1</strong>" in page
        and "<script>" not in page.split("<main")[1]
    )
    assert "Accuracy can not be computed" in page and 'value="x"' in page
    queued = set(Job.objects.values_list("pk", flat=True))
    assert alice_browser.post("/alice/m/data", save).headers["Location"] == "/alice/m"
    card = card_at(model, branch_head(model))
    assert card.fithub == {"dataset": "alice/rows", "dataset_revision": branch_head(rows), "inputs": {"pixels": "x"}, "label": "label", "goal": "size"}  # fmt: skip
    newest = SourceModel.objects.latest("pk")
    assert (newest.dataset, newest.dataset_commit) == ("alice/rows", branch_head(rows)) and newest.pk != family.pk
    assert [job.kind for job in Job.objects.exclude(pk__in=queued)] == ["convert"]
    again = alice_browser.post("/alice/m/data", save)
    assert again.status_code == 412 and "was updated since" in again.content.decode()
    page = alice_browser.get("/alice/m/data").content.decode()
    assert "A newer family is being made with alice/rows" in page and "Take the choice out" in page
    # A later push to the dataset changes nothing: the card names a commit.
    push(rows, alice, {"train.csv": ROWS + b"6,1\n"})
    push(model, alice, {"README.md": (b"---\nlicense: mit\n---\n# M\n")})
    assert SourceModel.objects.latest("pk").dataset == ""


def test_the_commit_stays_pinned_and_the_choice_can_be_taken_away(alice, alice_browser, model, family, rows):
    old = branch_head(rows)
    push(rows, alice, {"train.csv": ROWS + b"6,1\n"})
    look(alice_browser, model, dataset_revision=old[:10])
    fitting()
    alice_browser.post("/alice/m/data", {"act": "save", "preview": Preview.objects.get().pk})
    assert SourceModel.objects.latest("pk").dataset_commit == old
    push(model, alice, {"weights.txt": b"new"})
    assert SourceModel.objects.latest("pk").dataset_commit == old
    stale = alice_browser.post("/alice/m/data", {"act": "drop", "parent": old})
    assert stale.status_code == 412
    gone = alice_browser.post("/alice/m/data", {"act": "drop", "parent": branch_head(model)})
    assert gone.status_code == 302 and card_at(model, branch_head(model)).fithub == {}
    assert SourceModel.objects.latest("pk").dataset == ""
    assert alice_browser.post("/alice/m/data", {"act": "drop", "parent": branch_head(model)}).status_code == 409


def test_what_does_not_fit_is_not_saved(alice_browser, model, family, rows):
    look(alice_browser, model, **{"input:pixels": "nowhere"})
    Preview.objects.update(
        result={"reason": "This data does not fit the model: the card names nowhere, which is not there."}
    )
    preview, head = Preview.objects.get(), branch_head(model)
    page = alice_browser.get(f"/alice/m/data?preview={preview.pk}").content.decode()
    assert "nowhere, which is not there" in page and "Save it" not in page
    refused = alice_browser.post("/alice/m/data", {"act": "save", "preview": preview.pk})
    assert refused.status_code == 409 and branch_head(model) == head
    assert look(alice_browser, model, **{"input:pixels": "nowhere"}).status_code == 302  # what failed is tried again
    assert Preview.objects.get().pk != preview.pk


@pytest.mark.parametrize("number", ["", "0", "abc", "9" * 30, "²"])
def test_a_look_which_is_not_kept_is_a_sentence(alice_browser, model, family, rows, number):
    answer = alice_browser.post("/alice/m/data", {"act": "save", "preview": number})
    assert answer.status_code == 404 and "look at it again" in answer.content.decode()
    assert alice_browser.get("/alice/m/data", {"preview": number}).status_code == 200


def test_a_look_is_not_shown_to_who_may_no_longer_read_the_data(alice, bob, alice_browser, model, family):
    rows = make_repository(bob, "rows", RepoType.DATASET, files={"train.csv": ROWS})
    look(alice_browser, model, "bob/rows")
    fitting()
    update_settings(Actor(bob), rows, private=True)
    preview = Preview.objects.get()
    page = alice_browser.get("/alice/m/data", {"preview": preview.pk}).content.decode()
    assert "you may not read it" in page and "Right is" not in page
    assert alice_browser.post("/alice/m/data", {"act": "save", "preview": preview.pk}).status_code == 404


def test_a_changed_main_is_told_before_looking_and_few_are_tried_at_once(alice, alice_browser, model, family, rows):
    assert look(alice_browser, model, parent="0" * 40).status_code == 412
    for number in range(3):
        assert look(alice_browser, model, label=f"l{number}").status_code == 302
    full = look(alice_browser, model, label="l9")
    assert full.status_code == 429 and "wait until one of them ended" in full.content.decode()


CONFIGURED = b"""---
configs:
- config_name: en
  data_files: [{split: train, path: en/part-1.csv}, {split: test, path: en/part-2.csv}]
- config_name: de
  data_files: de/*.csv
---
"""


@pytest.fixture
def configured(alice):
    files = {
        "README.md": CONFIGURED, "en/part-1.csv": ROWS, "en/part-2.csv": ROWS, "de/rows.csv": b"wort,label\n1,0\n", "odd.csv": ROWS,
    }  # fmt: skip
    return make_repository(alice, "configured", RepoType.DATASET, files=files)


def test_a_configuration_of_the_dataset_is_chosen_and_kept(alice_browser, model, family, configured):
    page = alice_browser.get("/alice/m/data", {"dataset": "alice/configured"}).content.decode()
    assert '<strong aria-current="true">en</strong>' in page and "2 files, splits test, train" in page
    assert f"&amp;revision={branch_head(configured)}&amp;config=de#columns" in page
    other = alice_browser.get("/alice/m/data", {"dataset": "alice/configured", "config": "de"}).content.decode()
    assert "1 file, split all" in other and 'name="dataset_config" value="de"' in other
    wrong = alice_browser.get("/alice/m/data", {"dataset": "alice/configured", "config": "fr"}).content.decode()
    assert "has no configuration &#x27;fr&#x27;" in wrong and "it has en, de" in wrong
    assert look(alice_browser, model, "alice/configured", dataset_config="fr").status_code == 400
    look(alice_browser, model, "alice/configured", dataset_config="de")
    assert Preview.objects.get().block["dataset_config"] == "de"
    fitting()
    alice_browser.post("/alice/m/data", {"act": "save", "preview": Preview.objects.get().pk})
    assert card_at(model, branch_head(model)).fithub["dataset_config"] == "de"
    assert 'name="dataset_config" value="de"' in alice_browser.get("/alice/m/data").content.decode()


def test_the_files_of_a_configuration_are_brought_with_their_splits(tmp_path, alice, model, configured):
    commit = branch_head(configured)
    for named, paths, stated in (
        ("", ["en/part-1.csv", "en/part-2.csv"], {"en/part-1.csv": "train", "en/part-2.csv": "test"}),
        ("de", ["de/rows.csv"], None),
    ):
        block = {"dataset": "alice/configured", **({"dataset_config": named} if named else {})}
        task = bring_rows(configured, commit, block, tmp_path / (named or "default"), Event())
        assert (task["dataset_info"]["files"], task["dataset_info"].get("splits")) == (paths, stated)
    assert data_files(configured, commit, "fr").files == {}
    push(configured, alice, {"README.md": b"---\nconfigs: [{config_name: x, data_files: nowhere/*}]\n---\n"})
    assert len(data_files(configured, branch_head(configured)).files) == 4, (
        "no file is of the default one: all are taken"
    )


def test_a_card_which_names_no_configuration_of_its_dataset_says_so(tmp_path, alice, model, configured):
    push(model, alice, {"README.md": b"---\nfithub: {dataset: alice/configured, dataset_config: fr}\n---\n"})
    head = branch_head(model)
    assert dataset_of(model, head) is None
    source = make_family(model, FIGURES)
    SourceModel.objects.filter(pk=source.pk).update(commit=head)
    task = bring_inputs(SourceModel.objects.get(pk=source.pk), tmp_path / "job", Event())
    assert "alice/configured has no rows in a configuration fr" in task["notes"][0]
