"""A model which never ends costs its limit, not the worker; and what the runtime says is told in words."""

from __future__ import annotations

import time

import engine_models as models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression_service.engine import inputs, runner, sayings
from compression_service.engine.errors import RefusedError
from compression_service.engine.measure import session, windows


def endless():
    """A Loop of 2^40 rounds: it loads at once and runs for weeks."""
    scalar = [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
    ]
    carried = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("before", "after")]
    on = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
    nodes = [helper.make_node("Add", ["before", "one"], ["after"]), helper.make_node("Identity", ["go"], ["on"])]
    one = numpy_helper.from_array(np.float32(1), "one")
    body = helper.make_graph(nodes, "body", [*scalar, carried[0]], [on, carried[1]], [one])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    weights = [numpy_helper.from_array(np.int64(2**40), "rounds"), numpy_helper.from_array(np.bool_(True), "true")]
    return models.model([helper.make_node("Loop", ["rounds", "true", "x"], ["y"], body=body)], [x], [y], weights)


@pytest.fixture
def short_patience(monkeypatch):
    monkeypatch.setattr(runner, "PATIENCE_S", 2.0)
    monkeypatch.setattr(windows, "PATIENCE_S", 2.0)


def test_a_model_which_never_ends_is_refused_with_a_sentence(tmp_path, short_patience):
    path = tmp_path / "model.onnx"
    onnx.save(endless(), path)
    began = time.monotonic()
    with pytest.raises(RefusedError, match="it had not ended after 2 s and was stopped"):
        inputs.prepare({"model": (endless(), path)}, inputs.Request(), tmp_path / "work")
    assert time.monotonic() - began < 30


def test_a_window_which_never_ends_is_stopped(tmp_path, short_patience):
    path = tmp_path / "model.onnx"
    onnx.save(endless(), path)
    runner.save_feeds([{"x": np.zeros((1, 4), np.float32)}], tmp_path / "feeds-0.npz")
    (tmp_path / "carry-0.json").write_text("{}")
    subject = session.Subject("onnx", tmp_path, [{"name": "model", "path": "model.onnx"}], [], [path])
    found = session._Session(tmp_path, 0.2, None).window(subject, threads=1, cold=False)
    assert isinstance(found, str)
    assert "had not ended" in found


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("[ONNXRuntimeError] : 1 : FAIL : Load model from out/a b.onnx failed:Fatal error: x:Op is unknown", "Fatal"),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Expand: bfc_arena.cc:360 AllocateRawInternal(size_t)",
            "it needs more memory",
        ),
        ("std::bad_alloc", "it needs more memory"),
        ("", "RuntimeError"),
    ],
)
def test_what_the_runtime_says_is_told_in_words(said, told):
    assert sayings.in_words(RuntimeError(said)).startswith(told)
