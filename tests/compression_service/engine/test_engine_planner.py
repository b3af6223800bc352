"""What is tried for a model, in which order, and what is dropped with which reason."""

from __future__ import annotations

import engine_models as models
import pytest

from compression_service.engine import planner
from compression_service.engine.recipes import RECIPES


def plan(made, **wishes):
    return planner.plan({"model": made}, RECIPES, wishes)


def names(found):
    return [one["name"] for one in found if one["applies"]]


def reason(found, name):
    return next(one["reason"] for one in found if one["name"] == name)


def test_the_baseline_and_the_int8_that_fits_the_graph_come_first():
    assert names(plan(models.mlp()))[:2] == ["onnx", "int8-dynamic"]
    assert names(plan(models.cnn()))[:2] == ["onnx", "int8-static"]


@pytest.mark.parametrize(
    ("goal", "third"),
    [("size", "int4-weights-128"), ("latency", "prune-neurons-25+int8"), ("fidelity", "int8-weights")],
)
def test_a_goal_brings_its_recipes_forward(goal, third):
    assert names(plan(models.mlp(), goal=goal))[2] == third


def test_pinned_recipes_come_early_and_are_never_dropped():
    found = plan(models.mlp(), pin=["prune-50"], allowance_s=0.1)
    assert names(found) == ["onnx", "prune-50"]
    assert "processor time" in reason(found, "fp16") and "Pin it" in reason(found, "fp16")


def test_excluded_recipes_say_so_and_the_baseline_stays():
    found = plan(models.mlp(), exclude=["onnx", "fp16"])
    assert "fp16" not in names(found) and reason(found, "fp16") == "Excluded by the card." and "onnx" in names(found)


def test_recipes_which_could_not_pay_off_are_not_tried():
    """Nearly all weights are in convolutions: making the rest smaller changes nothing."""
    made = models.cnn()
    rng = models.np.random.default_rng(0)
    made.graph.initializer.append(models._weights(rng, "k3", 10, 10, 40, 40))
    made.graph.initializer.append(models._weights(rng, "w", 10, 120))
    made.graph.node.insert(3, models.helper.make_node("Conv", ["c2", "k3"], ["c3"], pads=[20, 20, 19, 19]))
    made.graph.node[4].input[0] = "c3"
    made.graph.node.append(models.helper.make_node("MatMul", ["logits", "w"], ["far"]))
    made.graph.output.append(models._value("far", ["batch", 120]))
    found = plan(made)
    assert "Only 1% of the weights" in reason(found, "int4-weights")
    assert "int4-weights" in names(plan(made, pin=["int4-weights"]))


def test_what_came_out_decides_what_is_still_tried():
    assert planner.no_longer_worth("prune-neurons-50+int8", {"prune-neurons-25+int8": 0.94}).startswith(
        "prune-neurons-25+int8 agrees with its source only to 94.0%"
    )
    assert planner.no_longer_worth("prune-neurons-50+int8", {"prune-neurons-25+int8": 0.97}) is None
    assert "nothing left to mend" in planner.no_longer_worth("mixed-4-8", {"int4-weights": 0.9991})
    assert planner.no_longer_worth("mixed-4-8", {}) is None
    known = {one.name for one in RECIPES}
    assert {rule.recipe for rule in planner.RULES} | {rule.other for rule in planner.RULES} <= known
    assert {name for wanted in planner.FIRST_BY_GOAL.values() for name in wanted} <= known


def test_every_rule_looks_back_never_forward():
    """A recipe can only be judged by one which was made before it."""
    for made in (models.mlp(), models.cnn(), models.embedding()):
        order = [one["name"] for one in plan(made)]
        for rule in planner.RULES:
            assert order.index(rule.other) < order.index(rule.recipe), rule
