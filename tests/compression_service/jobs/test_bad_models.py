"""Bad models through the whole way: the reason stands on the page, the worker is healthy, the next job is served."""

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression_service.jobs.models import Job
from compression_service.variants.models import SourceModel, Variant
from tests.compression_service.jobs.test_family import network, quick, run_all  # noqa: F401
from tests.factories import card_for_recipes, make_repository, push


def model_of(nodes, given, made, weights=()) -> bytes:
    graph = helper.make_graph(nodes, "g", given, made, list(weights))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def floats(name, *shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def a_map_in() -> bytes:
    kind = onnx.TypeProto()
    kind.map_type.key_type = TensorProto.STRING
    kind.map_type.value_type.tensor_type.elem_type = TensorProto.FLOAT
    node = helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", string_vocabulary=["a", "b"])
    return model_of([node], [helper.make_value_info("x", kind)], [floats("y", 1, 2)])


def endless() -> bytes:
    """A Loop of 2⁴⁰ rounds over a product with weights which recipes like."""
    rounds = helper.make_tensor_value_info("round", TensorProto.INT64, [])
    go, on = (helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "on"))
    body = helper.make_graph(
        [helper.make_node("Add", ["before", "one"], ["after"]), helper.make_node("Identity", ["go"], ["on"])],
        "body", [rounds, go, floats("before", "n", 32)], [on, floats("after", "n", 32)],
        [numpy_helper.from_array(numpy_ones(), "one")],
    )  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Loop", ["rounds", "true", "p"], ["y"], body=body),
    ]  # fmt: skip
    weights = [
        numpy_helper.from_array(numpy_ones(16, 32), "w"),
        helper.make_tensor("rounds", TensorProto.INT64, [], [2**40]),
        helper.make_tensor("true", TensorProto.BOOL, [], [True]),
    ]
    return model_of(nodes, [floats("x", "n", 16)], [floats("y", "n", 32)], weights)


def numpy_ones(*shape):
    import numpy as np

    return np.ones(shape, np.float32)


RELU = helper.make_node("Relu", ["x"], ["y"])
REFUSED = {
    "a cycle": (
        [helper.make_node("Add", ["x", "y"], ["a"]), helper.make_node("Relu", ["a"], ["y"])],
        "the graph has a cycle",
    ),
    "a missing tensor": (
        [helper.make_node("MatMul", ["x", "lost"], ["y"])],
        "a node reads the tensor &#x27;lost&#x27;",
    ),
    "an unknown operator": ([helper.make_node("Frobnicate", ["x"], ["y"])], "it uses the operator Frobnicate"),
    "an empty model": ([], "holds an empty graph"),
}


@pytest.mark.django_db(transaction=True)
def test_bad_graphs_say_why_and_the_next_model_is_served(quick, alice, visitor):  # noqa: F811
    for number, (nodes, words) in enumerate(REFUSED.values()):
        content = model_of(nodes, [floats("x", "n", 4)], [floats("y" if nodes else "x", "n", 4)])
        push(make_repository(alice, f"bad-{number}"), alice, {"model.onnx": content})
        run_all()
        page = visitor.get(f"/alice/bad-{number}").content.decode()
        assert "No variants were made." in page and words in page, (words, SourceModel.objects.latest("pk").reason)
    assert set(Job.objects.values_list("state", flat=True)) == {"failed"}
    push(make_repository(alice, "good"), alice, {"model.onnx": network(), "README.md": card_for_recipes("fp16")})
    run_all()
    assert SourceModel.objects.latest("pk").status == "ready" and Variant.objects.filter(status="ready").count() >= 2


@pytest.mark.django_db(transaction=True)
def test_a_map_as_input_is_kept_and_the_page_says_why_it_was_not_measured(quick, alice, visitor):  # noqa: F811
    push(make_repository(alice, "m"), alice, {"model.onnx": a_map_in(), "README.md": card_for_recipes()})
    run_all()
    page = visitor.get("/alice/m").content.decode()
    assert "Not measured: " in page and "of the kind map" in page
    assert visitor.get("/alice/m/variants/onnx").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_model_which_loops_for_ever_costs_its_limit_only(quick, alice, visitor, settings):  # noqa: F811
    settings.JOB_SECONDS = 12
    push(make_repository(alice, "m"), alice, {"model.onnx": endless(), "README.md": card_for_recipes("fp16")})
    run_all()
    fp16 = Variant.objects.get(name="fp16")
    assert fp16.status == "failed" and fp16.reason == "The work took longer than the 12 s which a job may take."
    page = visitor.get("/alice/m").content.decode()
    assert "Not measured: The work took longer than the 12 s" in page and fp16.reason in page
    settings.JOB_SECONDS = 600
    push(
        make_repository(alice, "next"),
        alice,
        {"model.onnx": model_of([RELU], [floats("x", "n", 4)], [floats("y", "n", 4)])},
    )
    run_all()
    assert SourceModel.objects.latest("pk").status == "ready"
