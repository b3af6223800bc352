"""Tiny ONNX models which the engine's tests are made of. Weights come from a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
ASSETS = Path(__file__).parents[4] / "shared" / "assets"


def assets() -> Path:
    """The folder of public test models beside the project; the test skips where it is missing."""
    if not ASSETS.is_dir():
        pytest.skip("the shared test models (../shared/assets) are not on this machine")
    return ASSETS


def _weights(rng: np.random.Generator, name: str, *shape: int) -> TensorProto:
    scale = 1 / np.sqrt(np.prod(shape[1:]) if len(shape) > 2 else shape[0])
    return numpy_helper.from_array((rng.standard_normal(shape) * scale).astype(np.float32), name)


def _value(name: str, shape: list, kind: int = FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, weights, opset: int = 17, ir: int = 8) -> ModelProto:
    made = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, outputs, weights),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir,
    )
    onnx.checker.check_model(made)
    return made


def mlp(inputs: int = 64, hidden: int = 48, classes: int = 10, opset: int = 17) -> ModelProto:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["m"]),
        helper.make_node("Add", ["m", "b2"], ["logits"]),
    ]
    weights = [
        _weights(rng, "w1", inputs, hidden),
        _weights(rng, "b1", hidden),
        _weights(rng, "w2", hidden, classes),
        _weights(rng, "b2", classes),
    ]
    return model(nodes, [_value("x", ["batch", inputs])], [_value("logits", ["batch", classes])], weights, opset)


def cnn(opset: int = 17) -> ModelProto:
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Conv", ["x", "k1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "k2"], ["c2"], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["logits"]),
    ]
    weights = [_weights(rng, "k1", 16, 3, 3, 3), _weights(rng, "k2", 10, 16, 3, 3)]
    return model(nodes, [_value("x", ["batch", 3, 16, 16])], [_value("logits", ["batch", 10])], weights, opset)


def lstm_with_state() -> ModelProto:
    """x [1, 1, 16] and state [2, 1, 32] → y and stateN: the state must be carried by the caller."""
    rng = np.random.default_rng(2)
    nodes = [
        helper.make_node("Split", ["state", "ones"], ["h", "c"], axis=0),
        helper.make_node("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y4", "hn", "cn"], hidden_size=32),
        helper.make_node("Concat", ["hn", "cn"], ["stateN"], axis=0),
        helper.make_node("Squeeze", ["hn", "zero"], ["hs"]),
        helper.make_node("MatMul", ["hs", "v"], ["y"]),
    ]
    weights = [
        _weights(rng, "w", 1, 128, 16), _weights(rng, "r", 1, 128, 32), _weights(rng, "b", 1, 256),
        _weights(rng, "v", 32, 8),
        numpy_helper.from_array(np.asarray([1, 1]), "ones"), numpy_helper.from_array(np.asarray([0]), "zero"),
    ]  # fmt: skip
    inputs = [_value("x", [1, 1, 16]), _value("state", [2, 1, 32])]
    return model(nodes, inputs, [_value("y", [1, 8]), _value("stateN", [2, 1, 32])], weights)


def gru() -> ModelProto:
    """Nearly all weights in a GRU, which onnxruntime has no 8-bit kernel for."""
    rng = np.random.default_rng(6)
    nodes = [
        helper.make_node("GRU", ["x", "w", "r"], ["", "hn"], hidden_size=32),
        helper.make_node("Squeeze", ["hn", "zero"], ["hs"]),
        helper.make_node("MatMul", ["hs", "v"], ["y"]),
    ]
    weights = [
        _weights(rng, "w", 1, 96, 16), _weights(rng, "r", 1, 96, 32), _weights(rng, "v", 32, 8),
        numpy_helper.from_array(np.asarray([0]), "zero"),
    ]  # fmt: skip
    return model(nodes, [_value("x", [8, 1, 16])], [_value("y", [1, 8])], weights)


def embedding(rows: int = 200, width: int = 64) -> ModelProto:
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["e"]),
        helper.make_node("MatMul", ["e", "w"], ["hidden"]),
    ]
    weights = [_weights(rng, "table", rows, width), _weights(rng, "w", width, 32)]
    inputs = [_value("input_ids", ["batch", "sequence"], TensorProto.INT64)]
    return model(nodes, inputs, [_value("hidden", ["batch", "sequence", 32])], weights)


def branching() -> ModelProto:
    """All weights in Constant nodes of If branches, the same ones in both: the top graph has no initializer."""
    rng = np.random.default_rng(4)
    weight = _weights(rng, "value", 32, 32)

    def branch(prefix: str):
        nodes = [
            helper.make_node("Constant", [], [prefix + "w"], value=weight),
            helper.make_node("MatMul", ["x", prefix + "w"], [prefix + "y"]),
        ]
        return helper.make_graph(nodes, prefix, [], [_value(prefix + "y", [1, 32])])

    nodes = [helper.make_node("If", ["flag"], ["y"], then_branch=branch("a"), else_branch=branch("b"))]
    inputs = [_value("x", [1, 32]), _value("flag", [], TensorProto.BOOL)]
    return model(nodes, inputs, [_value("y", [1, 32])], [])


def saved(made: ModelProto, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.SerializeToString(deterministic=True))
    return path


def run(made: ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    opened = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return opened.run(None, feed)
