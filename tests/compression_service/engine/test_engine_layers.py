"""Pruning of layers: a residual branch which is nearly linear gives way to one matrix."""

from __future__ import annotations

import engine_models as models
import numpy as np
import pytest
from onnx import helper, numpy_helper

from compression_service.engine import graph
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes import prune_layers
from compression_service.engine.passes.base import PassContext

WIDTH, HIDDEN = 8, 64


def residual(branches: int, curved: set[int], spatial: bool = False):
    """y = x + W2·tanh(W1·x), so often; tanh of small numbers is linear, in `curved` branches it is not."""
    rng = np.random.default_rng(1)
    nodes, weights, value = [helper.make_node("Tanh", ["x"], ["s0"])], [], "s0"
    for i in range(branches):
        scale = 3.0 if i in curved else 0.02
        first, second = rng.standard_normal((WIDTH, HIDDEN)) * scale, rng.standard_normal((HIDDEN, WIDTH)) / scale / 8
        if spatial:
            first, second = first.T[:, :, None, None], second.T[:, :, None, None]
        weights += [
            numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name)
            for array, name in ((first, f"a{i}"), (second, f"b{i}"))
        ]
        kind = "Conv" if spatial else "MatMul"
        nodes += [
            helper.make_node(kind, [value, f"a{i}"], [f"h{i}"]), helper.make_node("Tanh", [f"h{i}"], [f"t{i}"]),
            helper.make_node(kind, [f"t{i}", f"b{i}"], [f"f{i}"]),
            helper.make_node("Add", [value, f"f{i}"] if i % 2 else [f"f{i}", value], [f"s{i + 1}"]),
        ]  # fmt: skip
        value = f"s{i + 1}"
    nodes.append(helper.make_node("Identity", [value], ["y"]))
    shape = [1, WIDTH, 6, 6] if spatial else [1, 12, WIDTH]
    return models.model(nodes, [models._value("x", shape)], [models._value("y", shape)], weights), shape


def rows(shape, count=40, seed=0):
    rng = np.random.default_rng(seed)
    return [{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(count)]


@pytest.mark.parametrize("spatial", [False, True])
def test_the_linear_branches_go_and_the_answers_stay(tmp_path, spatial):
    given, shape = residual(4, curved={1, 3}, spatial=spatial)
    outcome = prune_layers.apply(given, {"share": 0.5}, PassContext(rows(shape), work=tmp_path))
    assert graph.operators(outcome.model)["Tanh"] == 3 and "2 of 4" in outcome.changed
    assert [one["error"] < 1e-3 for one in outcome.layers] == [True, True]
    for row in rows(shape, 5, seed=9):
        expected, found = models.run(given, row)[0], models.run(outcome.model, row)[0]
        assert np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected)


def test_a_share_smaller_than_any_branch_is_said(tmp_path):
    given, shape = residual(4, curved=set())
    with pytest.raises(NotApplicableError, match="smallest residual branch"):
        prune_layers.apply(given, {"share": 0.1}, PassContext(rows(shape), work=tmp_path))


def test_what_has_no_branches_or_is_read_elsewhere_is_refused(tmp_path):
    assert "There are 0 residual branches" in prune_layers.verdict(models.mlp())
    given, _ = residual(2, curved=set())
    given.graph.output.append(models._value("t0", [1, 12, HIDDEN]))  # somebody reads the inside of a branch
    assert "There is 1 residual branch" in prune_layers.verdict(given)


def test_without_calibration_it_does_not_apply(tmp_path):
    given, _ = residual(2, curved=set())
    with pytest.raises(NotApplicableError, match="calibration"):
        prune_layers.apply(given, {}, PassContext([], work=tmp_path))


def test_a_sum_which_broadcasts_is_left_alone(tmp_path):
    given, shape = residual(3, curved=set())
    given.graph.node[4].input[0], given.graph.node[4].input[1] = "f0", "s0"
    mean = helper.make_node("ReduceMean", ["f1"], ["f1_mean"], axes=[1], keepdims=1)
    nodes = list(given.graph.node)
    nodes[8].input[:] = ["s1", "f1_mean"]
    del given.graph.node[:]
    given.graph.node.extend([*nodes[:8], mean, *nodes[8:]])
    models.run(given, rows(shape, 1)[0])
    outcome = prune_layers.apply(given, {"share": 1.0}, PassContext(rows(shape), work=tmp_path))
    assert "2 of" in outcome.changed
    models.run(outcome.model, rows(shape, 1)[0])
