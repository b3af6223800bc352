"""Tables: products with one-hot matrices made look-ups, and tables which take in what treats their rows alone.

JAX and TensorFlow write embeddings as a one-hot matrix times a table; looked up, the same numbers need neither that
matrix in memory nor the product. What follows a look-up number by number (a bias, an activation) gives the same when
it is done to the table once. Sources: ONNX operators OneHot and Gather; constant folding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compression_service.engine import graph
from compression_service.engine.passes.base import fresh_name, store
from compression_service.engine.passes.patterns import Pattern, Shapes
from compression_service.engine.passes.regions import UNARY

CLIP_OPSET = 12  # from here on Clip takes integers
SQUEEZE_INPUT_OPSET = 13
INTEGERS = (TensorProto.INT32, TensorProto.INT64)
LARGEST_TABLE = 16 * 1024 * 1024  # numbers; a larger one is hardly ever followed by a constant


def lookup(node: NodeProto, pattern: Pattern, shapes: Shapes, names: set[str], opset: int) -> list[NodeProto] | None:
    """Nodes which look up rows of a table, for its product with a one-hot matrix; outside of it a row of zeros."""
    if node.op_type != "MatMul" or node.domain not in graph.MAIN_DOMAINS or opset < CLIP_OPSET:
        return None
    table = pattern.constant(node.input[1])
    if table is None or table.ndim != 2 or table.dtype != np.float32:
        return None
    rows = len(table)
    made: list[NodeProto] = []

    def numbers(values: Any, kind: Any = np.int64) -> str:
        return store(pattern.scope, np.asarray(values, kind), f"{node.output[0]}_at", names)

    def step(kind: str, inputs: list[str], **attributes: Any) -> str:
        made.append(
            helper.make_node(kind, inputs, [fresh_name(names, f"{node.output[0]}_{kind.lower()}")], **attributes)
        )
        return made[-1].output[0]

    found = _compared(node.input[0], rows, pattern, shapes) or _one_hot(node.input[0], rows, pattern, shapes)
    if found is None:
        return None
    indices, kind, wraps = found
    if wraps:  # OneHot counts negative indices from the end
        negative = step("Less", [indices, numbers(0, kind)])
        indices = step("Where", [negative, step("Add", [indices, numbers(rows, kind)]), indices])
    else:
        column = step("Slice", [indices, numbers([0]), numbers([1]), numbers([-1])])
        given = [numbers([-1])] if opset >= SQUEEZE_INPUT_OPSET else []
        indices = step("Squeeze", [column, *given], **({} if given else {"axes": [-1]}))
    within = step("Clip", [indices, numbers(-1, kind), numbers(rows, kind)])
    extended = np.concatenate([table, np.zeros((1, table.shape[1]), table.dtype)])
    stored = store(pattern.scope, extended, f"{node.input[1]}_rows", names)
    return [*made, helper.make_node("Gather", [stored, within], list(node.output), axis=0, name=node.name)]


def _compared(name: str, rows: int, pattern: Pattern, shapes: Shapes) -> tuple[str, Any, bool] | None:
    """(indices with a last axis in which all are equal, their type, False) of Cast(Equal(indices, 0 … rows - 1))."""
    cast = pattern.maker(name, "Cast")
    equal = pattern.maker(cast.input[0], "Equal") if cast is not None else None
    for one, other in (equal.input, tuple(reversed(equal.input))) if equal is not None else ():
        counted = pattern.constant(other)
        if counted is None or counted.shape[-1:] != (rows,) or not np.array_equal(counted.ravel(), np.arange(rows)):
            continue
        expand = pattern.maker(one, "Expand")
        kind, dims = shapes.get(expand.input[0] if expand is not None else one, (0, []))
        if kind in INTEGERS and len(dims) >= counted.ndim and dims[-1] == 1:
            return one, helper.tensor_dtype_to_np_dtype(kind), False
    return None


def _one_hot(name: str, rows: int, pattern: Pattern, shapes: Shapes) -> tuple[str, Any, bool] | None:
    """(indices, their type, True) of OneHot(indices, rows, [0, 1]) along the last axis."""
    cast = pattern.maker(name, "Cast")
    node = pattern.maker(cast.input[0] if cast is not None else name, "OneHot")
    if node is None:
        return None
    depth, values = pattern.constant(node.input[1]), pattern.constant(node.input[2])
    kind, dims = shapes.get(node.input[0], (0, []))
    if depth is None or values is None or int(depth.ravel()[0]) != rows or values.ravel().tolist() != [0, 1]:
        return None
    if kind not in INTEGERS or graph.attribute(node, "axis", -1) not in (-1, len(dims)):
        return None
    return node.input[0], helper.tensor_dtype_to_np_dtype(kind), True


def absorb(model: ModelProto, names: set[str]) -> int:
    """Let tables of look-ups in the main graph take in what follows number by number; returns how many did.

    Followed is a value with one reader: activations, and sums and products with a constant for each column.
    """
    scope = next(iter(graph.scopes(model.graph)))
    pattern, uses = Pattern(scope), graph.names_used(model)
    outputs = {value.name for value in model.graph.output}
    count = 0
    for node in list(model.graph.node):
        table = scope.find(node.input[0]) if node.op_type == "Gather" else None
        if table is None or graph.attribute(node, "axis", 0) != 0 or len(table.dims) != 2 or uses[table.name] != 1:
            continue
        if table.data_type != TensorProto.FLOAT or graph.elements(table) > LARGEST_TABLE:
            continue
        followers = _followers(node, pattern, uses, outputs, table.dims[1])
        if not followers:
            continue
        rows = _done(numpy_helper.to_array(table), node.output[0], followers, pattern, model)
        node.input[0] = store(scope, rows, f"{table.name}_done", names)
        last = followers[-1].output[0]
        followers[-1].output[0] = fresh_name(names, f"{last}_replaced")
        node.output[0] = last
        count += 1
    return count


def _followers(node: NodeProto, pattern: Pattern, uses: Any, outputs: set[str], columns: int) -> list[NodeProto]:
    found: list[NodeProto] = []
    value = node.output[0]
    while uses[value] == 1 and value not in outputs and len(pattern.reading.get(value, ())) == 1:
        reader = pattern.reading[value][0]
        others = [name for name in reader.input if name != value]
        if reader.op_type in UNARY - {"Cast", "Dropout", "Clip"} and not others:
            pass
        elif reader.op_type in ("Add", "Mul", "Sub", "Div") and len(others) == 1:
            constant = pattern.constant(others[0])
            if constant is None or constant.ndim > 3 or constant.size not in (1, columns):
                break
            if (constant.ndim and constant.size != constant.shape[-1]) or constant.dtype != np.float32:
                break
        else:
            break
        found.append(reader)
        value = reader.output[0]
    return found


def _done(table: np.ndarray, name: str, followers: list[NodeProto], pattern: Pattern, model: ModelProto) -> np.ndarray:
    """What the nodes make of the rows of the table."""
    constants = {}
    for one in followers:
        for given in one.input:
            constant = pattern.constant(given)
            if constant is not None:
                constants[given] = numpy_helper.from_array(constant.reshape(-1), given)
    made = followers[-1].output[0]
    value, result = (helper.make_tensor_value_info(one, TensorProto.FLOAT, table.shape) for one in (name, made))
    small = helper.make_graph(followers, "rows", [value], [result], list(constants.values()))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    whole = helper.make_model(small, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {name: table})[0])
