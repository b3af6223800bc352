"""From a push to a measured family, with the real engine in the sandbox: the whole way in one process."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression_service.devices.models import Device
from compression_service.devices.services import has_measured_speeds
from compression_service.jobs import execution, leases, memos
from compression_service.jobs.models import Job
from compression_service.jobs.runners import measure
from compression_service.variants.models import SourceModel, Variant
from models_registry.repos.models import Ref, RepoType
from tests.factories import make_repository, push


def network(seed=0, width=64) -> bytes:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in ((16, width), (width, 4))]
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(weights[0], "w1"), numpy_helper.from_array(weights[1], "w2")],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.django_db
def test_what_recipes_shared_is_kept_while_something_is_made_only(settings, tmp_path, model):
    settings.FITHUB_DATA = tmp_path
    making, made = (SourceModel.objects.create(repository=model, digest=str(n)) for n in (1, 2))
    Variant.objects.create(source=making, name="a", recipe="a", status="making", position=1)
    Variant.objects.create(source=made, name="b", recipe="b", status="ready", position=1)
    kept, left, gone = (memos.folder_for(source) for source in (making, made, SourceModel(pk=10**9)))
    (tmp_path / "memos" / "odd").mkdir()
    memos.drop_left_over()
    assert list((tmp_path / "memos").iterdir()) == [kept] and not left.exists() and not gone.exists()


def run_all(rounds=40):
    """What the workers do, in this process."""
    for _ in range(rounds):
        job = Job.objects.filter(state=Job.State.QUEUED).order_by("pk").first()
        if job is None:
            return
        execution.execute(job.pk)
    raise AssertionError("the jobs do not end")


@pytest.fixture
def quick(settings, monkeypatch):
    settings.MEASURE_SECONDS = 0.05
    monkeypatch.setattr("compression_service.jobs.services.announce", lambda job_id: None)
    monkeypatch.setattr(measure, "has_measured_speeds", lambda name: True)  # which takes 17 s


@pytest.mark.django_db(transaction=True)
def test_a_pushed_model_becomes_a_measured_family(quick, settings, alice, as_alice, anonymous, monkeypatch):
    monkeypatch.setattr(measure, "has_measured_speeds", has_measured_speeds)
    model = make_repository(alice, "m")
    commit = push(model, alice, {"model.onnx": network(), "config.json": b'{"a": 1}', "README.md": b"# M"})
    run_all()
    assert list((settings.FITHUB_DATA / "memos").iterdir()) == []  # used, and gone with the family's making
    assert set(Job.objects.values_list("state", flat=True)) == {"done"}
    assert all(job.processor_seconds > 0 for job in Job.objects.filter(kind__in=("convert", "measure")))
    assert has_measured_speeds(Device.objects.get().name)
    source = SourceModel.objects.get()
    assert source.status == "ready" and source.commit == commit
    body = anonymous.get("/api/models/alice/m/variants").json()
    ready = {row["name"]: row for row in body["variants"] if row["status"] == "ready"}
    assert {"onnx", "fp16"} <= set(ready) and all(row["reason"] for row in body["variants"] if row["status"] != "ready")
    for name, row in ready.items():
        assert row["revision"] == f"refs/variants/{name}" and row["footprints"], name
        record = row["footprints"][0]
        assert record["size_bytes"] == sum(file["size_bytes"] for file in row["files"])
        assert record["peak_memory_bytes"] > 10_000_000 and record["latency_ms"]["p50"] > 0 and record["identity"]
        tree = [
            item["path"]
            for item in anonymous.get(f"/api/models/alice/m/tree/refs%2Fvariants%2F{name}?recursive=true").json()
        ]
        assert "config.json" in tree and "fithub.json" in tree
        assert len([path for path in tree if path.endswith(".onnx")]) == 1
    together = anonymous.get("/api/models/alice/m/tree/refs%2Fconvert%2Fonnx/onnx").json()
    assert {item["path"] for item in together} >= {"onnx/model.onnx", "onnx/model_fp16.onnx"}
    statement = anonymous.get("/alice/m/resolve/refs%2Fvariants%2Ffp16/fithub.json")
    provenance = json.loads(b"".join(statement.streaming_content))
    assert provenance["source"]["commit"] == commit and provenance["recipe"]["name"] == "fp16" and provenance["files"]
    fit = anonymous.get("/api/models/alice/m/fit?memory=4GB").json()
    assert fit["answer"] in ("proven", "likely") and fit["commit"] == ready[fit["variant"]]["commit"]
    pulled = anonymous.get("/api/models/alice/m/revision/fit%40memory%3D4GB").json()
    assert pulled["sha"] == fit["commit"]

    # Publishing again changes nothing: a second worker which comes late finds it done.
    refs = dict(Ref.objects.values_list("name", "oid"))
    Job.objects.filter(kind__in=("make_variant", "convert")).update(state="queued", attempts=0)
    run_all()
    assert dict(Ref.objects.values_list("name", "oid")) == refs

    # A new README makes no new variants; a new model does.
    push(model, alice, {"README.md": b"# M, better said"})
    assert not Job.objects.filter(state="queued").exists()
    push(model, alice, {"model.onnx": network(1)})
    assert Job.objects.filter(state="queued", kind="convert").count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"weights.pkl": b"\x80\x04N."}, "never loaded"),
        ({"model.onnx": b"not a model"}, "model.onnx"),
        ({"notes.txt": b"x"}, "ONNX"),
        ({"config.json": b'{"model_type": "bert"}', "model.safetensors": b"\xff" * 20}, "safetensors"),
    ],
)
def test_what_can_not_be_converted_says_what_to_do(quick, alice, anonymous, files, words):
    model = make_repository(alice, "m")
    push(model, alice, files)
    run_all()
    body = anonymous.get("/api/models/alice/m/variants").json()
    assert body["source"]["status"] == "refused" and words in body["source"]["reason"]
    job = Job.objects.get(kind="convert")
    assert job.state == "failed" and job.error == body["source"]["reason"] and job.sandbox
    missing = anonymous.get("/api/models/alice/m/revision/fit%40memory%3D4GB")
    assert missing.status_code == 404 and missing["X-Error-Code"] == "RevisionNotFound"


@pytest.mark.django_db(transaction=True)
def test_a_lost_lease_publishes_nothing(quick, alice, monkeypatch):
    model = make_repository(alice, "m")
    push(model, alice, {"model.onnx": network()})
    job = Job.objects.get(kind="convert")
    real = execution.Context.run_engine

    def slow_worker(self, task, module="compression_service.engine"):
        result = real(self, task, module)
        Job.objects.filter(pk=job.pk).update(lease_token=None, state="queued", attempts=0)  # the sweeper gave it away
        return result

    monkeypatch.setattr(execution.Context, "run_engine", slow_worker)
    execution.execute(job.pk)
    assert not Variant.objects.exists() and not Ref.objects.filter(name__startswith="refs/variants").exists()
    job.refresh_from_db()
    assert job.state == "queued"
    monkeypatch.undo()
    assert leases.claim(job.pk, "another")


@pytest.mark.django_db(transaction=True)
def test_a_newer_push_takes_the_place_of_the_older(quick, alice):
    model = make_repository(alice, "m")
    push(model, alice, {"model.onnx": network()})
    push(model, alice, {"model.onnx": network(2)})
    states = list(Job.objects.filter(kind="convert").order_by("pk").values_list("state", flat=True))
    assert states == ["cancelled", "queued"]
    assert SourceModel.objects.order_by("pk").first().reason == "A newer push took its place."


@pytest.mark.django_db(transaction=True)
def test_a_datasets_first_rows_are_read(quick, alice):
    from models_registry.datasets.models import FileRows

    data = make_repository(alice, "d", RepoType.DATASET)
    push(data, alice, {"a.csv": b"x,y\n1,2\n3,4\n", "bad.parquet": b"PAR1 broken", "b.jsonl": b'{"t": "hi"}\n'})
    run_all()
    rows = {row.format or "error": row for row in FileRows.objects.all()}
    assert rows["csv"].rows == [[1, 2], [3, 4]] and rows["jsonl"].num_rows == 1
    assert any(row.error for row in rows.values())


@pytest.mark.django_db(transaction=True)
def test_pickles_are_scanned(quick, alice, as_alice):
    import pickle

    model = make_repository(alice, "m")
    push(model, alice, {"w.pkl": pickle.dumps(print)})
    run_all()
    row = next(r for r in as_alice.get("/api/models/alice/m/tree/main?expand=true").json() if r["path"] == "w.pkl")
    assert row["securityFileStatus"]["status"] in ("unsafe", "suspicious", "safe")
    assert row["securityFileStatus"]["pickleImportScan"]["pickleImports"] == ["builtins.print"]


@pytest.mark.django_db(transaction=True)
def test_a_dataset_which_is_not_there_is_said(quick, alice):
    model = make_repository(alice, "m")
    card = b"---\ndatasets: [alice/later]\n---\n# M"
    push(model, alice, {"model.onnx": network(), "README.md": card})
    run_all()
    notes = Variant.objects.get(name="fp16").fidelity_inputs["notes"]
    assert notes[0].startswith("The card names alice/later, which this hub does not hold")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("named", [b"datasets: [alice/rows]", b"fithub: {dataset: Alice/rows}"])
def test_a_dataset_which_comes_after_the_model_makes_the_variants_anew(quick, alice, named):
    card = b"---\n" + named + b"\n---\n# M"
    model = make_repository(alice, "m")
    push(model, alice, {"model.onnx": network(), "README.md": card})
    assert SourceModel.objects.get().dataset == ""
    data = make_repository(alice, "rows", RepoType.DATASET)
    push(data, alice, {"README.md": b"# rows to come"})
    assert SourceModel.objects.count() == 1
    head = push(data, alice, {"train.csv": b"a,b\n1,2\n"})
    newest = SourceModel.objects.latest("pk")
    assert (newest.dataset, newest.dataset_commit) == ("alice/rows", head)
    states = list(Job.objects.filter(kind="convert").order_by("pk").values_list("state", flat=True))
    assert states == ["cancelled", "queued"]
    push(data, alice, {"test.csv": b"a,b\n1,2\n"})
    push(model, alice, {"README.md": card + b", said better"})
    assert SourceModel.objects.count() == 2
