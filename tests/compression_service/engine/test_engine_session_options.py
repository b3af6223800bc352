"""Session options as part of a variant: proven by trial, recorded, and set by whoever measures it."""

from __future__ import annotations

import engine_models as models
import numpy as np
import onnxruntime
import pytest

from compression_service.engine import make, runner
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.inputs import Request
from compression_service.engine.measure import options
from compression_service.engine.measuring import measure
from compression_service.engine.passes import session_options
from compression_service.engine.passes.base import PassContext

KEPT = {"enable_cpu_mem_arena": False, "session.disable_prepacking": "1"}
RECIPE = {
    "name": "frugal", "version": "1", "title": "In little memory", "suffix": "_frugal", "why": "A test.",
    "steps": [[["external_data", {}]], [["session_options", {}]]],
}  # fmt: skip


@pytest.fixture
def weighed(monkeypatch):
    """Peak bytes and milliseconds by the options which are tried, in place of real trials."""
    figures = {}
    monkeypatch.setattr(
        session_options, "_weighed",
        lambda wanted, context: dict(zip(("peak_bytes", "run_ms"), figures.get(str(wanted), (100e6, 1.0)), strict=True)),
    )  # fmt: skip
    monkeypatch.setattr(session_options, "SMALLEST_BYTES", 1000)
    return figures


def context(folder):
    return PassContext(calibration=[{"x": np.zeros((1, 64), np.float32)}], work=folder)


def test_the_options_which_save_most_are_kept(tmp_path, weighed):
    weighed[str({"enable_mem_pattern": False})] = (90e6, 1.0)
    weighed[str(KEPT)] = (80e6, 1.4)
    weighed[str({"enable_cpu_mem_arena": False})] = (60e6, 1.6)  # too slow
    made = session_options.apply(models.mlp(), {}, context(tmp_path))
    assert made.session_options == made.params["kept"] == KEPT and made.external
    assert "20% less memory at the peak, +40% processor time" in made.changed


def test_options_which_save_nothing_are_no_variant(tmp_path, weighed):
    weighed[str(KEPT)] = (98e6, 1.0)
    with pytest.raises(NotApplicableError, match=r"No session option saves 3%.*100\.0 MB as it is, 98\.0 MB at best"):
        session_options.apply(models.mlp(), {}, context(tmp_path))


def test_refusals(tmp_path, weighed):
    with pytest.raises(NotApplicableError, match="optimized_model_filepath"):
        session_options.apply(models.mlp(), {"tried": ({"optimized_model_filepath": "x"},)}, context(tmp_path))
    with pytest.raises(NotApplicableError, match="calibration inputs"):
        session_options.apply(models.mlp(), {}, PassContext(work=tmp_path))
    weighed[str({})] = (None, 1.0)
    with pytest.raises(NotApplicableError, match="does not tell the peak memory"):
        session_options.apply(models.mlp(), {}, context(tmp_path))


def test_small_networks_are_left_alone():
    assert "Session options pay from" in session_options.verdict(models.mlp())
    assert session_options.verdict(models.mlp(hidden=8192)) is None


def test_a_real_trial_tells_memory_and_time(tmp_path):
    models.saved(models.mlp(hidden=4096), tmp_path / "weighed.onnx")
    runner.save_feeds([{"x": np.zeros((1, 64), np.float32)}], tmp_path / "weighed-in.npz")
    found = session_options._weighed(KEPT, PassContext(work=tmp_path))
    assert found["peak_bytes"] > 20e6 and found["run_ms"] > 0


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, ""), (KEPT, ""), ([], "object"), ({"enable_mem_pattern": 0}, "true or false"),
        ({"session.disable_prepacking": True}, '"0" or "1"'), ({"optimized_model_filepath": "/x"}, "known are"),
        ({"session.load_custom_op": "1"}, "known are"), ({1: 2}, "known are"),
    ],
)  # fmt: skip
def test_only_what_saves_memory_is_an_option(wanted, words):
    assert words in options.problem(wanted) and bool(words) == bool(options.problem(wanted))
    if words:
        with pytest.raises(ValueError, match=words):
            options.apply(onnxruntime.SessionOptions(), wanted)


def test_options_are_set_on_the_runtime():
    told = onnxruntime.SessionOptions()
    options.apply(told, KEPT)
    assert told.enable_cpu_mem_arena is False and told.enable_mem_pattern is True
    assert told.get_session_config_entry("session.disable_prepacking") == "1"


def test_a_variant_carries_its_options_and_is_measured_with_them(tmp_path, weighed):
    weighed[str(KEPT)] = (80e6, 1.0)
    models.saved(models.mlp(hidden=1024), tmp_path / "baseline" / "onnx" / "model.onnx")
    made = make.make(RECIPE, tmp_path / "baseline", tmp_path / "out", Request(), tmp_path / "work")
    assert made["components"] == [{"name": "model", "path": "onnx/model_frugal.onnx", "session_options": KEPT}]
    assert made["fidelity"] == pytest.approx(1)
    task = {
        "source": {"root": str(tmp_path / "baseline"), "components": [{"name": "model", "path": "onnx/model.onnx"}]},
        "variants": [{"name": "frugal", "root": str(tmp_path / "out"), "components": made["components"]}],
        "seconds": 0.05, "threads": [1],
    }  # fmt: skip
    records = {one["variant"]: one for one in measure(task, Request(), tmp_path / "measuring")["records"]}
    assert records["frugal"]["session_options"]["components"] == [KEPT]
    assert "components" not in records["onnx"]["session_options"]


def test_a_record_with_options_which_nobody_knows_is_an_error(tmp_path):
    models.saved(models.mlp(), tmp_path / "model.onnx")
    component = {"name": "model", "path": "model.onnx"}
    odd = component | {"session_options": {"optimized_model_filepath": str(tmp_path / "written.onnx")}}
    task = {
        "source": {"root": str(tmp_path), "components": [component]}, "seconds": 0.05, "threads": [1],
        "variants": [{"name": "odd", "root": str(tmp_path), "components": [odd]}],
    }  # fmt: skip
    records = {one["variant"]: one for one in measure(task, Request(), tmp_path / "measuring")["records"]}
    assert "is not a session option of variants" in records["odd"]["error"] and not (tmp_path / "written.onnx").exists()
