"""What recipes of one source share: the same bytes with it and without it, and less work."""

from __future__ import annotations

import engine_models as models
import numpy as np
import pytest

from compression_service.engine import make, memo, runner, steps
from compression_service.engine.calibration import activations
from compression_service.engine.inputs import Request
from compression_service.engine.memo import Memo


@pytest.fixture
def baseline(tmp_path):
    models.saved(models.mlp(hidden=1024), tmp_path / "baseline" / "onnx" / "model.onnx")
    return tmp_path / "baseline"


@pytest.fixture
def everything_kept(monkeypatch):
    monkeypatch.setattr(steps, "WORTH_KEEPING_S", 0.0)
    monkeypatch.setattr(memo, "LEAST_FREE_BYTES", 0)


def made(recipe, baseline, folder, kept=None):
    request = Request(memo=Memo(kept))
    result = make.make(recipe, baseline, folder / "out", request, folder / "work")
    return result, {name: (folder / "out" / name).read_bytes() for name in result["files"]}


@pytest.mark.parametrize(
    ("recipe", "other"), [("int8-dynamic-mapped", "int8-dynamic"), ("prune-neurons-50+int8", "prune-neurons-25")]
)
def test_a_variant_has_the_same_bytes_with_what_others_kept(baseline, tmp_path, everything_kept, recipe, other):
    alone, files = made(recipe, baseline, tmp_path / "alone")
    kept = tmp_path / "memo"
    made(other, baseline, tmp_path / "first", kept)
    assert not list(kept.glob("part-*")) and len(list(kept.iterdir())) >= 2
    shared, again = made(recipe, baseline, tmp_path / "shared", kept)
    assert again == files and shared["fidelity"] == alone["fidelity"]
    told = [[entry[key] for key in ("pass", "params", "changed", "layers")] for entry in alone["passes"]]
    assert [[entry[key] for key in ("pass", "params", "changed", "layers")] for entry in shared["passes"]] == told


def test_the_source_is_run_once_and_shared_steps_are_done_once(baseline, tmp_path, everything_kept, monkeypatch):
    runs, applied = [], []
    fresh, step = runner.in_fresh_process, steps._step

    def watched(task, work, name):
        runs.append(name if task["act"] == "run" and work.name == "source" else "")
        return fresh(task, work, name)

    monkeypatch.setattr(runner, "in_fresh_process", watched)
    monkeypatch.setattr(steps, "_step", lambda one, *rest: applied.append(one) or step(one, *rest))
    made("int8-dynamic", baseline, tmp_path / "first", tmp_path / "memo")
    assert runs.count("run") == 1
    done, runs[:], applied[:] = len(applied), [], []
    made("int8-dynamic-mapped", baseline, tmp_path / "second", tmp_path / "memo")
    assert runs.count("run") == 0
    assert done >= 5 and len(applied) == 1  # only the mapping of the weights was left to do


def test_nothing_is_shared_between_sources_inputs_or_seeds(baseline, tmp_path, everything_kept):
    kept = tmp_path / "memo"
    made("prune-50", baseline, tmp_path / "first", kept)
    before = len(list(kept.iterdir()))
    other = tmp_path / "other"
    models.saved(models.mlp(hidden=40), other / "onnx" / "model.onnx")
    _, files = made("prune-50", other, tmp_path / "second", kept)
    assert files == made("prune-50", other, tmp_path / "third")[1]
    assert len(list(kept.iterdir())) == 2 * before


def test_what_a_tool_failed_on_is_tried_again_by_the_next_recipe(tmp_path, everything_kept):
    kept, failed = Memo(tmp_path), steps.Done(models.mlp(), failure="The pass fuse failed on model: no memory")
    steps._keep("a", failed, kept)
    assert kept.find("a") is None
    steps._keep("a", steps.Done(models.mlp()), kept)
    assert steps._resumed(["a"], kept).model == models.mlp()


def test_a_full_disk_costs_the_entry_and_not_the_variant(baseline, tmp_path, everything_kept, monkeypatch, capfd):
    monkeypatch.setattr(memo.tempfile, "TemporaryDirectory", lambda **_: (_ for _ in ()).throw(OSError(28, "No space")))
    result, files = made("prune-50", baseline, tmp_path / "first", tmp_path / "memo")
    assert files and result["fidelity"] > 0.5
    assert list((tmp_path / "memo").iterdir()) == [] and "No space" in capfd.readouterr().err


def test_little_room_on_the_disk_is_left_to_others(tmp_path, monkeypatch):
    monkeypatch.setattr(memo, "LEAST_FREE_BYTES", 2**62)
    Memo(tmp_path / "memo").keep("a", lambda folder: (folder / "x").write_text("y"))
    assert Memo(tmp_path / "memo").find("a") is None


def test_an_entry_stands_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(memo, "LEAST_FREE_BYTES", 0)
    kept = Memo(tmp_path)

    def breaks(folder):
        (folder / "half").write_text("x")
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        kept.keep("a", breaks)
    assert kept.find("a") is None and list(tmp_path.iterdir()) == []
    kept.keep("a", lambda folder: (folder / "x").write_text("first"))
    kept.keep("a", lambda folder: (folder / "x").write_text("second"))
    assert (kept.find("a") / "x").read_text() == "first"
    assert Memo().find("a") is None


def test_digests_tell_names_types_shapes_and_strings_apart():
    feeds = [
        {"x": np.zeros((2, 3), np.float32)}, {"x": np.zeros((3, 2), np.float32)}, {"x": np.zeros((2, 3), np.int32)},
        {"y": np.zeros((2, 3), np.float32)}, {"x": np.array(["a"], object)}, {"x": np.array(["b"], object)},
    ]  # fmt: skip
    assert len({memo.of_feeds([feed]) for feed in feeds}) == len(feeds)
    assert memo.of_feeds([feeds[0]]) == memo.of_feeds([{"x": np.zeros((2, 3), np.float32, order="F")}])


def test_what_layers_see_is_looked_for_once(tmp_path, monkeypatch):
    monkeypatch.setattr(memo, "LEAST_FREE_BYTES", 0)
    model, looked = models.mlp(), []
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.random((1, 64), dtype=np.float32)} for _ in range(8)]
    taps = {"first": ("x", 64, activations.matrix_rows), "second": ("r", 48, activations.matrix_rows)}
    see = activations._of_group
    monkeypatch.setattr(activations, "_of_group", lambda *given, **more: looked.append(1) or see(*given, **more))
    kept = activations.Kept(Memo(tmp_path / "memo"), "a pass")
    once, again = (activations.moments(model, taps, feeds, tmp_path, 60, kept) for _ in range(2))
    assert len(looked) == 1 and once.keys() == again.keys() == taps.keys()
    for key, one in once.items():
        assert (one.gram == again[key].gram).all() and (one.total == again[key].total).all()
        assert one.count == again[key].count == 8
    activations.moments(model, taps, feeds, tmp_path, 60, activations.Kept(Memo(tmp_path / "memo"), "another"))
    activations.moments(models.mlp(hidden=48, classes=7), taps, feeds, tmp_path, 60, kept)
    assert len(looked) == 3
