"""Graphs which no runtime takes are refused with a reason; odd inputs and fixed axes are taken."""

from __future__ import annotations

import engine_models as models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression_service.engine import sayings
from compression_service.engine.convert.act import convert
from compression_service.engine.errors import RefusedError
from compression_service.engine.inputs import Request
from compression_service.engine.make import make

FLOAT = TensorProto.FLOAT
ML = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]


def value(name, kind=FLOAT, shape=("n", 64)):
    return helper.make_tensor_value_info(name, kind, list(shape))


def graph_of(nodes, given, made, weights=(), opsets=None):
    graph = helper.make_graph(nodes, "g", given, made, list(weights))
    return helper.make_model(graph, opset_imports=opsets or ML, ir_version=8)


def node(kind, given, made, **attributes):
    return helper.make_node(kind, given, made, **attributes)


def weights(rows=64, columns=32):
    rng = np.random.default_rng(0)
    return numpy_helper.from_array(rng.normal(size=(rows, columns)).astype(np.float32), "w")


def product(kind, batch="n"):
    """A matrix product after a cast from `kind`."""
    nodes = [node("Cast", ["x"], ["f"], to=FLOAT), node("MatMul", ["f", "w"], ["y"])]
    return graph_of(nodes, [value("x", kind, (batch, 64))], [value("y", shape=(batch, 32))], [weights()])


def classifier_of_maps():
    """What scikit-learn's converter makes: a sequence of maps beside the label."""
    maps = onnx.TypeProto()
    maps.sequence_type.elem_type.map_type.key_type = TensorProto.INT64
    maps.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = FLOAT
    nodes = [
        node("MatMul", ["x", "w"], ["p"]), node("Softmax", ["p"], ["s"]),
        node("ZipMap", ["s"], ["y"], domain="ai.onnx.ml", classlabels_int64s=list(range(32))),
    ]  # fmt: skip
    return graph_of(nodes, [value("x")], [helper.make_value_info("y", maps)], [weights()])


def words_in():
    nodes = [
        node("LabelEncoder", ["x"], ["l"], domain="ai.onnx.ml", keys_strings=["a", "b"], values_floats=[0.0, 1.0]),
        node("MatMul", ["l", "w"], ["y"]),
    ]
    given, made = value("x", TensorProto.STRING, ("n", 2)), value("y", shape=("n", 300))
    return graph_of(nodes, [given], [made], [weights(2, 300)])


def a_map_in():
    kind = onnx.TypeProto()
    kind.map_type.key_type = TensorProto.STRING
    kind.map_type.value_type.tensor_type.elem_type = FLOAT
    vectorizer = node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", string_vocabulary=["a", "b"])
    return graph_of([vectorizer], [helper.make_value_info("x", kind)], [value("y", shape=(1, 2))])


def nodes(*described):
    return graph_of([node(*one) for one in described], [value("x")], [value("y")])


def custom():
    frob = node("Frob", ["x"], ["y"], domain="com.acme")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.acme", 1)]
    return graph_of([frob], [value("x")], [value("y")], opsets=opsets)


BAD = {
    "cycle": (lambda: nodes(("Add", ["x", "y"], ["a"]), ("Relu", ["a"], ["y"])), "the graph has a cycle"),
    "reads itself": (lambda: nodes(("Add", ["x", "y"], ["y"])), "the graph has a cycle"),
    "missing tensor": (lambda: nodes(("MatMul", ["x", "nowhere"], ["y"])), "reads the tensor 'nowhere', which nothing"),
    "missing output": (lambda: nodes(("Relu", ["x"], ["other"])), "its output 'y' is made by no node"),
    "unknown operator": (lambda: nodes(("Frobnicate", ["x"], ["y"])), "it uses the operator Frobnicate, which version 17"),
    "custom operator": (custom, "it uses the operator Frob of com.acme, which onnxruntime does not have"),
    "empty graph": (lambda: graph_of([], [value("x")], [value("x")]), "holds an empty graph"),
    "no outputs": (lambda: graph_of([node("Relu", ["x"], ["y"])], [value("x")], []), "has no outputs"),
    "no graph": (lambda: onnx.ModelProto(ir_version=8), "holds no graph; push the whole ONNX file"),
    "types that do not meet": (lambda: nodes(("Add", ["x", "x"], ["a"]), ("And", ["a", "a"], ["y"])), "Type Error"),
    "shapes that do not meet": (
        lambda: graph_of([node("MatMul", ["x", "w"], ["y"])], [value("x", shape=("n", 7))], [value("y")], [weights()]),
        "Incompatible dimensions",
    ),
    "complex numbers": (
        lambda: graph_of(
            [node("Identity", ["x"], ["y"])], [value("x", TensorProto.COMPLEX64)], [value("y", TensorProto.COMPLEX64)]
        ),
        "complex64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_graph_is_refused_with_its_reason(tmp_path, kind):
    made, words = BAD[kind]
    models.saved(made(), tmp_path / "source" / "model.onnx")
    with pytest.raises(RefusedError, match=words) as refusal:
        convert(tmp_path / "source", tmp_path / "out", tmp_path / "work")
    assert "model.onnx" in refusal.value.reason and "onnxruntime_src" not in refusal.value.reason


def test_a_file_of_no_bytes_is_refused(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "model.onnx").write_bytes(b"")
    with pytest.raises(RefusedError, match="holds no graph"):
        convert(tmp_path / "source", tmp_path / "out", tmp_path / "work")


TAKEN = {
    "batch of 1": lambda: product(FLOAT, 1),
    "batch of 8": lambda: product(FLOAT, 8),
    "int8": lambda: product(TensorProto.INT8),
    "bool": lambda: product(TensorProto.BOOL),
    "float64": lambda: product(TensorProto.DOUBLE),
    "strings": words_in,
    "maps out": classifier_of_maps,
}


@pytest.mark.parametrize("kind", TAKEN)
def test_odd_inputs_and_fixed_axes_become_variants(tmp_path, kind):
    models.saved(TAKEN[kind](), tmp_path / "source" / "model.onnx")
    convert(tmp_path / "source", tmp_path / "out", tmp_path / "work")
    made = make("fp16", tmp_path / "out", tmp_path / "variant", Request(seconds_cap=3), tmp_path / "work")
    assert made["fidelity"] > 0.99 and made["fidelity_inputs"]["count"] > 0


def test_a_map_as_input_is_said_by_name(tmp_path):
    from compression_service.engine import inputs

    path = models.saved(a_map_in(), tmp_path / "source" / "model.onnx")
    converted = convert(tmp_path / "source", tmp_path / "out", tmp_path / "work")
    assert [one["name"] for one in converted["recipes"] if one["applies"]] == ["onnx"]
    with pytest.raises(RefusedError, match="input x of model is of the kind map"):
        inputs.prepare({"model": (a_map_in(), path)}, Request(), tmp_path / "work")


def test_paths_of_the_runtimes_own_sources_are_left_out():
    said = "/onnxruntime_src/onnxruntime/core/graph/graph.cc:16 void onnxruntime::Graph::F() This is an invalid model."
    assert sayings.in_words(RuntimeError(said)) == "This is an invalid model."
