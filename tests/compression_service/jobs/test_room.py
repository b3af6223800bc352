"""What is too large for the worker is refused with the figures before anything is fetched; fetching says its bytes."""

import threading

import pytest

from compression_service.jobs import execution, room
from compression_service.jobs.files import FETCHING, checkout
from compression_service.jobs.models import Job
from compression_service.jobs.sandbox import SandboxFailed, SandboxStopped
from compression_service.variants.models import Variant
from models_registry.repos.entries import Entry
from tests.compression_service.jobs.test_family import network, quick, run_all  # noqa: F401
from tests.factories import card_for_recipes, make_repository, push

GB = 10**9


def entries(**sizes):
    return [Entry(path, "0" * 40, path.endswith("/"), size) for path, size in sizes.items()]


@pytest.mark.parametrize(
    ("files", "size"),
    [
        ({"model.onnx": 1, "model.onnx_data": 2 * GB, "README.md": 0}, 2 * GB + 1),
        ({"onnx/model.onnx": 5, "onnx/model_int8.onnx": 2, "onnx/model_int8.onnx_data": 9}, 5),
        ({"onnx/decoder.onnx": 5, "onnx/encoder.onnx": 2, "weights.bin": 4}, 11),
        ({"model.onnx": 5, "pytorch_model.bin": 50, "model.safetensors": 50, "tf_model.h5": 50, "a.pt": 50}, 5),
        ({"model-1.safetensors": 5, "model-2.safetensors": 6, "pytorch_model.bin": 50}, 11),
        ({"saved_model.pb": 1, "variables/variables.data-00000-of-00001": 9, "a.tflite": 3}, 10),
        ({"a.tflite": 3, "notes.txt": 9}, 3),
        ({"notes.txt": 9}, 0),
    ],
)
def test_the_bytes_which_the_engine_will_open(files, size):
    assert room.source_bytes(entries(**files)) == size


def test_a_model_of_40_gb_is_refused_with_the_figures(settings, monkeypatch):
    settings.JOB_MEMORY_GB = 16
    monkeypatch.setattr(room, "memory_bytes", lambda: 64 * GB)
    monkeypatch.setattr(room, "container_limits", lambda: {"memory.max": "max"})
    words = (
        r"It needs about 100 GB of memory to convert \(2\.5 × its 40\.0 GB\); this worker has 16 GB\. Push a smaller"
    )
    with pytest.raises(SandboxFailed, match=words) as refusal:
        room.check_room(40 * GB, "convert")
    assert refusal.value.kind == "refused"
    with pytest.raises(SandboxFailed, match=r"about 160 GB .*\(4 × its"):
        room.check_room(40 * GB, "convert", is_onnx=False)
    settings.JOB_MEMORY_GB = 6
    room.check_room(2 * GB, "convert")
    with pytest.raises(SandboxFailed, match=r"about 8\.00 GB"):
        room.check_room(2 * GB, "convert", is_onnx=False)
    monkeypatch.setattr(room, "memory_bytes", lambda: 4 * GB)
    with pytest.raises(SandboxFailed, match=r"about 5\.00 GB .* this worker has 4\.00 GB"):
        room.check_room(2 * GB, "make")
    monkeypatch.setattr(room, "container_limits", lambda: {"memory.max": str(2 * GB)})
    assert room.worker_memory() == (2 * GB, "2.00 GB")


@pytest.mark.django_db(transaction=True)
def test_nothing_is_fetched_or_run_for_one_which_is_too_large(quick, alice, visitor, settings, monkeypatch):  # noqa: F811
    settings.JOB_MEMORY_GB = 1e-6

    def never(*_, **__):
        raise AssertionError("it was to be refused before")

    with monkeypatch.context() as patched:
        patched.setattr(execution.Context, "run_engine", never)
        patched.setattr("compression_service.jobs.runners.convert.checkout", never)
        model = make_repository(alice, "m")
        push(model, alice, {"model.onnx": network()})
        run_all()
    page = visitor.get("/alice/m").content.decode()
    assert "No variants were made." in page and "of memory to convert" in page and "this worker has 1e-06 GB" in page

    # The worker is healthy; a variant which finds too little room says so, the others and the measuring go on.
    settings.JOB_MEMORY_GB = 16
    push(model, alice, {"model.onnx": network(1), "README.md": card_for_recipes("fp16", "prune-50")})
    execution.execute(Job.objects.get(kind="convert", state="queued").pk)
    first = Job.objects.filter(kind="make_variant", state="queued").order_by("pk").first()
    settings.JOB_MEMORY_GB = 1e-6
    execution.execute(first.pk)
    settings.JOB_MEMORY_GB = 16
    variant = Variant.objects.get(pk=first.payload["variant"])
    assert variant.status == "failed" and "of memory to make" in variant.reason
    run_all()
    assert not Job.objects.exclude(state="done").exclude(kind="convert").exists()


@pytest.mark.django_db
def test_fetching_says_its_bytes_and_stops(model, alice, tmp_path):
    commit = push(model, alice, {"w.bin": b"x" * 3_000_000, "a.txt": b"y" * 1000})
    said = []
    written = checkout(model, commit, tmp_path, keep=["w.bin", "a.txt"], say=lambda *words: said.append(words))
    assert sorted(written) == ["a.txt", "w.bin"] and (tmp_path / "w.bin").stat().st_size == 3_000_000
    assert said[0] == (0.0, "fetching the files: 0 B of 3.00 MB")
    assert said[-1] == (FETCHING, "fetching the files: 3.00 MB of 3.00 MB") and len(said) > 3
    stop = threading.Event()
    with pytest.raises(SandboxStopped):
        checkout(model, commit, tmp_path / "b", stop=stop, say=lambda *_: stop.set())
    assert checkout(model, commit, tmp_path / "c", keep=[], say=lambda *_: None) == []
